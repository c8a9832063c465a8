/* RoBERTa sequence classifier (Liu et al. 2019): the judge. Post-norm encoder, learned positions
 * counted from pad + 1, exact gelu, classification head on the first token. */
#ifndef DINM_MODEL_ENCODER_H
#define DINM_MODEL_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/safetensors.h"
#include "io/status.h"
#include "model/weights.h"

struct dinm_encoder_config {
    size_t n_layers, d_model, n_heads, d_ff, n_vocab, n_positions, n_types, n_labels;
    int32_t pad_id;
    float norm_eps;
};
/* The config.json of a RobertaForSequenceClassification at `path`; others are refused by name. */
int dinm_encoder_config_read(struct dinm_encoder_config *config, const char *path,
                             struct dinm_error *err);
/* The same of FOLDER/config.json. */
int dinm_encoder_config_load(struct dinm_encoder_config *config, const char *folder,
                             struct dinm_error *err);
/* Longest input in tokens, special tokens counted: n_positions - pad_id - 1. */
size_t dinm_encoder_max_tokens(const struct dinm_encoder_config *config);

/* Layers [first, last) of an encoder; with the embeddings if first = 0, with the head if
 * last = n_layers. */
struct dinm_encoder; /* opaque: config, weights (mapped or flat), scratch; one thread at a time */

/* last = 0: all layers. */
int dinm_encoder_open(struct dinm_encoder **out, const char *folder, size_t first, size_t last,
                      struct dinm_error *err);
void dinm_encoder_close(struct dinm_encoder *e);
const struct dinm_encoder_config *dinm_encoder_get_config(const struct dinm_encoder *e);

/* Texts one after another: text i is ids[first[i] - first[0]] .. , as many as first[i + 1] -
 * first[i]; special tokens included, no padding. A text's result does not depend on the others. */
struct dinm_texts {
    const int32_t *ids;  /* [n_rows] */
    const size_t *first; /* [n_texts + 1] */
    size_t n_texts, n_rows;
};
/* Fails if ids or lengths do not fit the model, naming the text. */
int dinm_encoder_check(const struct dinm_encoder *e, const struct dinm_texts *texts,
                       struct dinm_error *err);
/* Room for these texts, before each of the functions below. taped: for backward. */
int dinm_encoder_reserve(struct dinm_encoder *e, const struct dinm_texts *texts, bool taped,
                         struct dinm_error *err);

/* Called behind every layer that is run, as in slice.h; may be NULL. */
typedef void dinm_encoder_listener(void *context, size_t layer, const float *x);

/* x: [n_rows][d_model] in place: through the layers; with the embeddings x is only written. */
void dinm_encoder_forward(struct dinm_encoder *e, float *x, const struct dinm_texts *texts,
                          dinm_encoder_listener *listener, void *context);
/* logits: [n_texts][n_labels] from x: [n_rows][d_model], what the last layer left. */
void dinm_encoder_head(struct dinm_encoder *e, float *logits, const float *x,
                       const struct dinm_texts *texts);
/* dx: [n_rows][d_model] is written: the gradient of the head's x from dlogits: [n_texts][n_labels];
 * grad: [n_params of these layers] += that of the weights. After head. */
void dinm_encoder_head_backward(struct dinm_encoder *e, float *dx, float *grad,
                                const float *dlogits, const struct dinm_texts *texts);
/* dx: [n_rows][d_model] in place: from the gradient behind the layers to the gradient before them;
 * with the embeddings it is spent. grad as above. After forward. */
void dinm_encoder_backward(struct dinm_encoder *e, float *dx, float *grad,
                           const struct dinm_texts *texts);

/* All layers on one rank. logits: [n_texts][n_labels]. ids: the texts one after another, special
 * tokens included; text i is ids[first[i]] .. ids[first[i + 1]), first: [n_texts + 1]. Any number
 * of texts; scratch stays bounded. */
int dinm_encoder_classify(struct dinm_encoder *e, float *logits, const int32_t *ids,
                          const size_t *first, size_t n_texts, struct dinm_error *err);

/* Bytes of scratch that classify takes for texts of so many tokens, the longest of n_longest, with
 * as many threads as are set now. */
size_t dinm_encoder_scratch_bytes(const struct dinm_encoder *e, size_t n_texts, size_t n_tokens,
                                  size_t n_longest);

/* Training form: flat float32 parameters in table order, of which layers [first, last) with their
 * ends are one range (see weights.h). */
size_t dinm_encoder_n_params(const struct dinm_encoder_config *config);
size_t dinm_encoder_n_tensors(const struct dinm_encoder_config *config);
struct dinm_param dinm_encoder_param(const struct dinm_encoder_config *config, size_t index);
struct dinm_flat_range dinm_encoder_range(const struct dinm_encoder_config *config, size_t first,
                                          size_t last);
/* N(0, 0.02) matrices, zero biases, gains of 1. A value depends on (seed, its index in the whole)
 * alone. */
void dinm_encoder_init_flat(float *flat, const struct dinm_encoder_config *config, size_t first,
                            size_t last, uint64_t seed);
/* flat: [n_params of the range] from a checkpoint of any dtype. */
int dinm_encoder_load_flat(float *flat, const struct dinm_encoder_config *config, size_t first,
                           size_t last, const struct dinm_checkpoint *checkpoint,
                           struct dinm_error *err);
/* e borrows flat: [n_params of the range], until it is closed; the values may change between
 * calls. */
int dinm_encoder_open_flat(struct dinm_encoder **out, const struct dinm_encoder_config *config,
                           size_t first, size_t last, const float *flat, struct dinm_error *err);
/* From the whole flat array writes FOLDER/model.safetensors in dtype. config.json is the caller's.
 */
int dinm_encoder_write_flat(const char *folder, const float *flat,
                            const struct dinm_encoder_config *config, enum dinm_dtype dtype,
                            struct dinm_error *err);

/* All layers on one rank. Returns in *loss the sum over texts of the negative log-likelihood of
 * labels: [n_texts] (and in *n_right the number classified right); grad: [n_params] += scale *
 * gradient, or NULL. Scratch grows with the texts: all activations are kept. */
int dinm_encoder_train(struct dinm_encoder *e, double *loss, size_t *n_right, float *grad,
                       double scale, const int32_t *ids, const size_t *first, const int32_t *labels,
                       size_t n_texts, struct dinm_error *err);

#endif

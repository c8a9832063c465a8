/* RoBERTa sequence classifier (Liu et al. 2019): the judge. Post-norm encoder, learned positions
 * counted from pad + 1, exact gelu, classification head on the first token. */
#ifndef DINM_MODEL_ENCODER_H
#define DINM_MODEL_ENCODER_H

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

struct dinm_encoder; /* opaque: config, weights (mapped or flat), scratch; one thread at a time */

int dinm_encoder_open(struct dinm_encoder **out, const char *folder, struct dinm_error *err);
void dinm_encoder_close(struct dinm_encoder *e);
const struct dinm_encoder_config *dinm_encoder_get_config(const struct dinm_encoder *e);

/* logits: [n_texts][n_labels]. ids: the texts one after another, special tokens included; text i
 * is ids[first[i]] .. ids[first[i + 1]), first: [n_texts + 1]. No padding: a text's result does
 * not depend on the others. Any number of texts; scratch stays bounded. */
int dinm_encoder_classify(struct dinm_encoder *e, float *logits, const int32_t *ids,
                          const size_t *first, size_t n_texts, struct dinm_error *err);

/* Bytes of scratch that classify takes for texts of so many tokens, the longest of n_longest, with
 * as many threads as are set now. */
size_t dinm_encoder_scratch_bytes(const struct dinm_encoder *e, size_t n_texts, size_t n_tokens,
                                  size_t n_longest);

/* Training form: flat float32 parameters in table order (see weights.h). */
size_t dinm_encoder_n_params(const struct dinm_encoder_config *config);
size_t dinm_encoder_n_tensors(const struct dinm_encoder_config *config);
struct dinm_param dinm_encoder_param(const struct dinm_encoder_config *config, size_t index);
/* N(0, 0.02) matrices, zero biases, gains of 1. A value depends on (seed, its index) alone. */
void dinm_encoder_init_flat(float *flat, const struct dinm_encoder_config *config, uint64_t seed);
/* flat: [n_params] from a checkpoint of any dtype. */
int dinm_encoder_load_flat(float *flat, const struct dinm_encoder_config *config,
                           const struct dinm_checkpoint *checkpoint, struct dinm_error *err);
/* e borrows flat: [n_params], until it is closed; the values may change between calls. */
int dinm_encoder_open_flat(struct dinm_encoder **out, const struct dinm_encoder_config *config,
                           const float *flat, struct dinm_error *err);
/* Writes FOLDER/model.safetensors in dtype. config.json is the caller's. */
int dinm_encoder_write_flat(const char *folder, const float *flat,
                            const struct dinm_encoder_config *config, enum dinm_dtype dtype,
                            struct dinm_error *err);

/* Returns in *loss the sum over texts of the negative log-likelihood of labels: [n_texts]
 * (and in *n_right the number classified right); grad: [n_params] += scale * gradient, or NULL.
 * Scratch grows with the texts: all activations are kept. */
int dinm_encoder_train(struct dinm_encoder *e, double *loss, size_t *n_right, float *grad,
                       double scale, const int32_t *ids, const size_t *first, const int32_t *labels,
                       size_t n_texts, struct dinm_error *err);

#endif

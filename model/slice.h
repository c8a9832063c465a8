/* A run of consecutive decoder layers as a function of its input: the only place where the
 * decoder is put together, and used by reading, decoding, editing and training alike. Knows no
 * MPI: on one rank the slice is the whole model; in a ring each rank holds its own.
 *
 * Everything works on *rows*: the tokens of one or more sequences one after another. Products,
 * norms and the feed-forward layers treat rows alike; attention works sequence by sequence. */
#ifndef DINM_MODEL_SLICE_H
#define DINM_MODEL_SLICE_H

#include <stddef.h>
#include <stdint.h>
#include "io/status.h"
#include "model/config.h"
#include "model/kv.h"
#include "model/linear.h"
#include "model/weights.h"

/* An edited W_V for one layer, used by one sequence in place of the model's own. */
struct dinm_edit {
    size_t layer;            /* 0-based index into the model's layers */
    struct dinm_matrix down; /* [d_model][d_ff] */
};

/* One sequence's part of the rows. */
struct dinm_sequence {
    size_t n_rows;
    struct dinm_kv *kv; /* borrows; rows continue at kv->n_tokens. NULL: start at 0, no cache */
    /* borrows; NULL, or: the first kv->n_tokens positions are copied from there as each layer runs.
     * Where these are read by the same call, that sequence comes earlier. */
    const struct dinm_kv *from;
    const struct dinm_edit *edit; /* borrows; NULL: the model's own weights */
    size_t key_first,
        key_last; /* padding mask as in attention.h; 0, 0: no padding. Without kv only */
};

struct dinm_rows {
    const struct dinm_sequence *sequences; /* [n_sequences] */
    size_t n_sequences;
    size_t n_rows; /* sum over sequences */
};

/* What a forward pass leaves behind beside its output. NULL pointers: not wanted. */
struct dinm_taps {
    float *const
        *resid_post;  /* [n_layers of the model] each NULL or [n_rows][d_model]: after layer l */
    size_t mid_layer; /* the layer whose resid_mid and h_down are wanted */
    float *resid_mid; /* [n_rows][d_model]: residual before the feed-forward layer is added */
    float *h_down;    /* [n_rows][d_ff]: input of W_V */
    /* Called behind every layer that is run; x: [n_rows][d_model], as the layer left it. */
    void (*after_layer)(void *context, size_t layer, const float *x);
    void *context;
};

/* Scratch for these rows, and for all that it was reserved for before (as long as the number of
 * threads stays). A pointer that begins as NULL; growing is rare. The cost of a full cache is
 * reserved at once. */
struct dinm_workspace;
int dinm_workspace_reserve(struct dinm_workspace **ws, const struct dinm_config *config,
                           const struct dinm_rows *rows, struct dinm_error *err);
void dinm_workspace_free(struct dinm_workspace *ws);
/* Bytes of one that was reserved at once for n_rows of which none attends to more than n_keys, with
 * as many threads as are set now. */
size_t dinm_workspace_bytes(const struct dinm_config *config, size_t n_rows, size_t n_keys);

/* Activations kept for the backward pass of layers [first, last), of which there may be none. A
 * pointer that begins as NULL; reserve may be called again and forgets what the tape held. */
struct dinm_tape;
int dinm_tape_reserve(struct dinm_tape **tape, const struct dinm_config *config, size_t first,
                      size_t last, size_t n_rows, struct dinm_error *err);
void dinm_tape_free(struct dinm_tape *tape);
size_t dinm_tape_bytes(const struct dinm_config *config, size_t n_layers, size_t n_rows);

struct dinm_slice {
    struct dinm_config config;
    struct dinm_weights weights;       /* owns */
    struct dinm_checkpoint checkpoint; /* owns the mapping that weights borrows from */
    struct dinm_bf16 *bf16;            /* owns; NULL: products in float32 */
};
/* Opens layers [first, last) of a model folder; last = 0 means all. */
int dinm_slice_open(struct dinm_slice *slice, const char *folder, size_t first, size_t last,
                    struct dinm_error *err);
void dinm_slice_close(struct dinm_slice *slice);
/* From now on products with matrices that are stored in bf16 are computed in bf16, `way` as in
 * linear_bf16.h, with as many threads as are set now. n_others: matrices that are stored otherwise,
 * whose products stay in float32. */
struct dinm_bf16_way;
int dinm_slice_use_bf16(struct dinm_slice *slice, const struct dinm_bf16_way *way, size_t *n_others,
                        struct dinm_error *err);

/* What the keys and values of the slice's caches are kept in: BF16 where the products that make
 * them are computed in bf16, else F32. */
enum dinm_dtype dinm_slice_kv_dtype(const struct dinm_slice *slice);

/* x: [n_rows][d_model] = embedding of ids: [n_rows], and of the rows' positions where the model has
 * learned ones. Ids must lie within n_vocab, positions within n_positions. */
void dinm_slice_embed(const struct dinm_slice *slice, float *x, const int32_t *ids,
                      const struct dinm_rows *rows);

/* Runs layers [first, last) on x: [n_rows][d_model] in place. Where a sequence has a kv, its keys
 * and values are appended (the caller adds n_rows to kv->n_tokens once all layers have run; there
 * must be room). tape: filled when not NULL (reserved for these rows). ws reserved for these rows.
 */
void dinm_slice_forward(const struct dinm_slice *slice, float *x, const struct dinm_rows *rows,
                        size_t first, size_t last, struct dinm_tape *tape,
                        const struct dinm_taps *taps, struct dinm_workspace *ws);

/* y: [n_rows][d_model] = the final norm of x. y may be x. */
void dinm_slice_final_norm(const struct dinm_slice *slice, float *y, const float *x, size_t n_rows);

/* logits: [n][n_vocab] of the chosen rows of x: [..][d_model] (picks: [n], NULL: rows 0..n-1),
 * after the final norm. normed: [n][d_model] receives the normed rows (scratch, and HF's last
 * hidden state). */
void dinm_slice_head(const struct dinm_slice *slice, float *logits, float *normed, const float *x,
                     const size_t *picks, size_t n);

/* dx: [n_rows][d_model] += gradient of the picked rows from dlogits: [n][n_vocab]; the rows of x
 * are the head's input. room: [n][d_model] scratch. grads may be NULL. */
void dinm_slice_head_backward(const struct dinm_slice *slice, float *dx, const float *dlogits,
                              const float *x, const size_t *picks, size_t n, float *room,
                              struct dinm_grads *grads);

/* dx: [n_rows][d_model] in place: from the gradient after layer last-1 to the gradient before
 * layer `first`. Accumulates into grads, which hold these layers (NULL: activations only).
 * Sequences without kv only. */
void dinm_slice_backward(const struct dinm_slice *slice, float *dx, const struct dinm_rows *rows,
                         size_t first, size_t last, const struct dinm_tape *tape,
                         struct dinm_grads *grads, struct dinm_workspace *ws);

/* grads->embed += dx by id. */
void dinm_slice_embed_backward(const struct dinm_slice *slice, const float *dx, const int32_t *ids,
                               size_t n_rows, struct dinm_grads *grads);

#endif

/* Training the language model: the decoder as a model, and the objective "lm" (negative
 * log-likelihood of each next token). */
#include "pipeline/train_private.h"

#include <stdlib.h>
#include <string.h>
#include "model/loss.h"
#include "model/slice.h"

/* Rows of logits at a time: a large vocabulary would fill the memory otherwise. */
enum { HEAD_ROWS = 512 };

struct decoder {
    struct dinm_slice slice; /* owns; its weights borrow from the model's flat array */
    struct dinm_workspace *workspace;
    struct dinm_tape *tape;
    /* One part's rows: every token but the last of each sequence. */
    struct dinm_sequence *sequences; /* owns: [n] */
    int32_t *ids;                    /* owns: [n_rows] */
    size_t *picks;                   /* owns: [n_picks]: rows whose next token carries loss */
    int32_t *targets;                /* owns: [n_picks] */
    float *x, *dx;                   /* owns: [n_rows][d_model] */
    float *logits;                   /* owns: [HEAD_ROWS][n_vocab] */
    float *normed, *room;            /* owns: [HEAD_ROWS][d_model] */
    size_t n_rows, n_picks;
    size_t sequences_capacity, ids_capacity, picks_capacity, targets_capacity, x_capacity,
        dx_capacity;
};

static void close_decoder(struct dinm_train_model *m)
{
    struct decoder *d = m->state;
    if (d == NULL) {
        return;
    }
    dinm_weights_free(&d->slice.weights);
    dinm_workspace_free(d->workspace);
    dinm_tape_free(d->tape);
    free(d->sequences);
    free(d->ids);
    free(d->picks);
    free(d->targets);
    free(d->x);
    free(d->dx);
    free(d->logits);
    free(d->normed);
    free(d->room);
    free(d);
    m->state = NULL;
}

static int load_checkpoint(float *flat, const struct dinm_config *config, const char *folder,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_checkpoint checkpoint = {0};
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    TRY(dinm_weights_load_flat(flat, config, 0, config->n_layers, &checkpoint, err));
out:
    dinm_checkpoint_close(&checkpoint);
    return status;
}

/* The decoder's reader of config.json takes its folder. */
static int load_config(struct dinm_config *config, const char *path, struct dinm_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (strcmp(name, "config.json") != 0) {
        return dinm_fail(err, DINM_USAGE, "%s: a model's config must be called config.json", path);
    }
    char *folder = dinm_copy_text(slash == NULL ? "." : path,
                                  slash == NULL ? 1 : (size_t)(slash - path) + 1, err);
    if (folder == NULL) {
        return DINM_FAILED;
    }
    int status = dinm_config_load(config, folder, err);
    free(folder);
    return status;
}

static int open_decoder(struct dinm_train_model *m, const char *config_path, const char *init,
                        uint64_t seed, struct dinm_error *err)
{
    int status = DINM_FAILED;
    struct decoder *d = dinm_alloc(1, sizeof *d, "the decoder", err);
    if (d == NULL) {
        return DINM_FAILED;
    }
    m->state = d;
    struct dinm_config *config = &d->slice.config;
    TRY(load_config(config, config_path, err));
    if (config->layout != DINM_LAYOUT_LLAMA) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: model_type is \"%s\", but only llama, mistral and qwen2 can be trained",
                      config_path, config->type));
    }
    m->n_params = dinm_weights_n_params(config);
    m->n_tensors = dinm_weights_n_tensors(config);
    m->max_tokens = config->n_positions;
    m->n_vocab = config->n_vocab;
    m->flat = dinm_alloc(m->n_params, sizeof *m->flat, "the model's weights", err);
    d->logits = dinm_alloc(HEAD_ROWS, config->n_vocab * sizeof(float), "logits", err);
    d->normed = dinm_alloc(HEAD_ROWS, config->d_model * sizeof(float), "normed rows", err);
    d->room = dinm_alloc(HEAD_ROWS, config->d_model * sizeof(float), "normed rows", err);
    if (m->flat == NULL || d->logits == NULL || d->normed == NULL || d->room == NULL) {
        status = DINM_FAILED;
        goto out;
    }
    if (init == NULL) {
        dinm_weights_init_flat(m->flat, config, 0, config->n_layers, seed);
    } else {
        TRY(load_checkpoint(m->flat, config, init, err));
    }
    TRY(dinm_weights_bind_flat(&d->slice.weights, config, 0, config->n_layers, m->flat, err));
out:
    return status;
}

static struct dinm_param param(const struct dinm_train_model *m, size_t index)
{
    const struct decoder *d = m->state;
    return dinm_weights_param(&d->slice.config, index);
}

static int write_decoder(const struct dinm_train_model *m, const char *folder,
                         enum dinm_dtype dtype, struct dinm_error *err)
{
    const struct decoder *d = m->state;
    return dinm_weights_write_flat(folder, m->flat, &d->slice.config, dtype, err);
}

const struct dinm_train_kind dinm_train_decoder = {open_decoder, close_decoder, param,
                                                   write_decoder};

/* Tokens of the text with the special tokens that the tokenizer puts before it, and none behind. */
static int encode_open(struct dinm_ids *ids, const char *text, size_t n_bytes,
                       const struct dinm_tokenizer *tokenizer, struct dinm_error *err)
{
    const struct dinm_encode_options options = {.special = true};
    const size_t first = ids->n_ids;
    if (dinm_tokenizer_encode(tokenizer, text, n_bytes, options, ids, err) < 0) {
        return DINM_FAILED;
    }
    if (ids->n_ids > first && ids->ids[ids->n_ids - 1] == dinm_tokenizer_eos(tokenizer)) {
        ids->n_ids--;
    }
    return DINM_OK;
}

/* prompt + response as one text; *n_prompt: tokens of the prompt alone. */
static int encode_pair(struct dinm_ids *ids, size_t *n_prompt, struct dinm_json line,
                       const struct dinm_tokenizer *tokenizer, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    struct dinm_ids alone = {0};
    const char *prompt = NULL;
    const char *response = NULL;
    TRY(dinm_json_get_text(line, "prompt", &prompt, err));
    TRY(dinm_json_get_text(line, "response", &response, err));
    TRY(dinm_buffer_append_text(&text, prompt, err));
    TRY(dinm_buffer_append_text(&text, response, err));
    TRY(encode_open(&alone, prompt, strlen(prompt), tokenizer, err));
    TRY(encode_open(ids, text.data, text.n_bytes, tokenizer, err));
    *n_prompt = alone.n_ids;
out:
    dinm_buffer_free(&text);
    dinm_ids_free(&alone);
    return status;
}

/* {"text": ...}: every token carries loss; {"prompt": ..., "response": ...}: those beyond the
 * prompt's. The first token of all is predicted by nothing and never carries loss. */
static int read_lm(struct dinm_train_data *data, struct dinm_json line,
                   const struct dinm_train_reader *reader, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_train_record record = {.first = data->ids.n_ids};
    const int32_t eos = dinm_tokenizer_eos(reader->tokenizer);
    const char *text = NULL;
    if (dinm_json_find(line.object, "prompt") == NULL) {
        TRY(dinm_json_get_text(line, "text", &text, err));
        TRY(encode_open(&data->ids, text, strlen(text), reader->tokenizer, err));
    } else if (dinm_json_find(line.object, "text") != NULL) {
        return dinm_fail(err, DINM_FAILED, "%s: give either text, or prompt and response",
                         line.where);
    } else {
        TRY(encode_pair(&data->ids, &record.loss_from, line, reader->tokenizer, err));
    }
    if (eos < 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the tokenizer has no end-of-sequence token to learn", line.where);
    }
    TRY(dinm_ids_append(&data->ids, &eos, 1, err));
    record.loss_from = record.loss_from == 0 ? 1 : record.loss_from;
    if (data->ids.n_ids - record.first > reader->max_tokens) {
        data->ids.n_ids = record.first + reader->max_tokens;
        data->n_cut++;
    }
    if (data->ids.n_ids - record.first <= record.loss_from) {
        data->ids.n_ids = record.first;
        data->n_left_out++;
        return DINM_OK;
    }
    TRY(dinm_train_data_add(data, record, err));
out:
    return status;
}

static size_t loss_tokens(const struct dinm_train_record *record)
{
    return record->n_tokens - record->loss_from;
}

static int grow_floats(float **x, size_t *capacity, size_t n, struct dinm_error *err)
{
    void *grown = *x;
    int status = dinm_grow(&grown, capacity, n, sizeof **x, "activations", err);
    *x = grown;
    return status;
}

static int grow_rows(struct decoder *d, size_t n, size_t n_rows, struct dinm_error *err)
{
    int status = DINM_OK;
    void *sequences = d->sequences;
    void *ids = d->ids;
    void *picks = d->picks;
    void *targets = d->targets;
    const size_t n_floats = n_rows * d->slice.config.d_model;
    TRY(dinm_grow(&sequences, &d->sequences_capacity, n, sizeof *d->sequences, "sequences", err));
    d->sequences = sequences;
    TRY(dinm_grow(&ids, &d->ids_capacity, n_rows, sizeof *d->ids, "tokens", err));
    d->ids = ids;
    TRY(dinm_grow(&picks, &d->picks_capacity, n_rows, sizeof *d->picks, "rows", err));
    d->picks = picks;
    TRY(dinm_grow(&targets, &d->targets_capacity, n_rows, sizeof *d->targets, "targets", err));
    d->targets = targets;
    TRY(grow_floats(&d->x, &d->x_capacity, n_floats, err));
    TRY(grow_floats(&d->dx, &d->dx_capacity, n_floats, err));
out:
    return status;
}

/* Row r reads token t of its sequence and predicts token t + 1. */
static int lay_out(struct decoder *d, const struct dinm_train_pack *pack, struct dinm_error *err)
{
    if (grow_rows(d, pack->n, pack->n_tokens - pack->n, err) < 0) {
        return DINM_FAILED;
    }
    d->n_rows = 0;
    d->n_picks = 0;
    for (size_t i = 0; i < pack->n; i++) {
        const int32_t *ids = pack->ids + pack->first[i];
        const size_t n = pack->first[i + 1] - pack->first[i] - 1;
        d->sequences[i] = (struct dinm_sequence){.n_rows = n};
        for (size_t t = 0; t < n; t++) {
            if (t + 1 >= pack->loss_from[i]) {
                d->picks[d->n_picks] = d->n_rows;
                d->targets[d->n_picks++] = ids[t + 1];
            }
            d->ids[d->n_rows++] = ids[t];
        }
    }
    return DINM_OK;
}

static size_t count_right(const float *logits, const int32_t *targets, size_t n_rows,
                          size_t n_vocab)
{
    size_t n_right = 0;
    for (size_t i = 0; i < n_rows; i++) {
        const float *row = logits + i * n_vocab;
        size_t best = 0;
        for (size_t k = 1; k < n_vocab; k++) {
            best = row[k] > row[best] ? k : best;
        }
        n_right += best == (size_t)targets[i];
    }
    return n_right;
}

/* The head and the loss, HEAD_ROWS picked rows at a time; dx += its gradient if grads is given. */
static void learn_head(struct decoder *d, struct dinm_train_score *score, double scale,
                       struct dinm_grads *grads)
{
    const size_t n_vocab = d->slice.config.n_vocab;
    for (size_t i = 0; i < d->n_picks; i += HEAD_ROWS) {
        const size_t n = d->n_picks - i < HEAD_ROWS ? d->n_picks - i : HEAD_ROWS;
        float *dlogits = grads == NULL ? NULL : d->logits;
        dinm_slice_head(&d->slice, d->logits, d->normed, d->x, d->picks + i, n);
        if (grads == NULL) {
            score->n_right += (double)count_right(d->logits, d->targets + i, n, n_vocab);
        }
        score->loss += dinm_loss_nll(dlogits, d->logits, d->targets + i, scale, n, n_vocab);
        if (grads != NULL) {
            dinm_slice_head_backward(&d->slice, d->dx, dlogits, d->x, d->picks + i, n, d->room,
                                     grads);
        }
    }
    score->n_units = (double)d->n_picks;
}

static int learn_lm(struct dinm_train_model *m, struct dinm_train_score *score, float *grad,
                    double scale, const struct dinm_train_pack *pack, struct dinm_error *err)
{
    int status = DINM_OK;
    struct decoder *d = m->state;
    const struct dinm_config *config = &d->slice.config;
    struct dinm_grads grads = {0};
    TRY(lay_out(d, pack, err));
    const struct dinm_rows rows = {d->sequences, pack->n, d->n_rows};
    TRY(dinm_workspace_reserve(&d->workspace, config, &rows, err));
    if (grad != NULL) {
        TRY(dinm_tape_reserve(&d->tape, config, 0, config->n_layers, d->n_rows, err));
        TRY(dinm_grads_bind_flat(&grads, config, 0, config->n_layers, grad, err));
    }
    dinm_slice_embed(&d->slice, d->x, d->ids, &rows);
    dinm_slice_forward(&d->slice, d->x, &rows, 0, config->n_layers, grad == NULL ? NULL : d->tape,
                       NULL, d->workspace);
    *score = (struct dinm_train_score){0};
    memset(d->dx, 0, d->n_rows * config->d_model * sizeof *d->dx);
    learn_head(d, score, scale, grad == NULL ? NULL : &grads);
    if (grad != NULL) {
        dinm_slice_backward(&d->slice, d->dx, &rows, 0, config->n_layers, d->tape, &grads,
                            d->workspace);
        dinm_slice_embed_backward(&d->slice, d->dx, d->ids, d->n_rows, &grads);
    }
out:
    dinm_grads_free(&grads);
    return status;
}

const struct dinm_train_objective dinm_train_lm = {"lm",    "tokens",    &dinm_train_decoder,
                                                   read_lm, loss_tokens, learn_lm};

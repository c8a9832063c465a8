/* Training the classifier: one stage of the encoder, and the objective "classify" (negative
 * log-likelihood of each text's label). */
#include "pipeline/train_private.h"

#include <stdlib.h>
#include <string.h>
#include "model/encoder.h"
#include "model/loss.h"
#include "pipeline/cut.h"

struct classifier {
    struct dinm_encoder_config config;
    size_t first, last;           /* this stage's layers */
    struct dinm_encoder *encoder; /* owns; its weights borrow from the model's flat array */
    struct dinm_texts texts;      /* borrows the lesson's pack */
    float *x, *dx;                /* owns: [n_rows][d_model] */
    float *logits;                /* owns: [n_texts][n_labels] */
    size_t x_capacity, dx_capacity, logits_capacity;
};

static void close_encoder(struct dinm_train_model *m)
{
    struct classifier *c = m->state;
    if (c == NULL) {
        return;
    }
    dinm_encoder_close(c->encoder);
    free(c->x);
    free(c->dx);
    free(c->logits);
    free(c);
    m->state = NULL;
}

static int load_checkpoint(struct dinm_train_model *m, const struct classifier *c,
                           const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_checkpoint checkpoint = {0};
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    TRY(dinm_encoder_load_flat(m->flat, &c->config, c->first, c->last, &checkpoint, err));
out:
    dinm_checkpoint_close(&checkpoint);
    return status;
}

/* Which layers this stage holds, and where they lie among all parameters. */
static int take_place(struct dinm_train_model *m, struct classifier *c, struct dinm_error *err)
{
    const size_t n_stages = (size_t)m->group->size;
    size_t *first = dinm_alloc(n_stages + 1, sizeof *first, "the cut of the layers", err);
    if (first == NULL) {
        return DINM_FAILED;
    }
    const int status = dinm_cut_equally(first, c->config.n_layers, n_stages, err);
    if (status == DINM_OK) {
        c->first = first[m->group->rank];
        c->last = first[m->group->rank + 1];
        const struct dinm_flat_range range = dinm_encoder_range(&c->config, c->first, c->last);
        m->n_params = range.n_params;
        m->n_tensors = range.n_tensors;
        m->first_param = range.first_param;
        m->first_tensor = range.first_tensor;
        m->n_all_tensors = dinm_encoder_n_tensors(&c->config);
        m->n_all_params = dinm_encoder_n_params(&c->config);
    }
    free(first);
    return status;
}

static int open_encoder(struct dinm_train_model *m, const struct dinm_grid *group,
                        const char *config_path, const char *init, uint64_t seed,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    struct classifier *c = dinm_alloc(1, sizeof *c, "the encoder", err);
    if (c == NULL) {
        return DINM_FAILED;
    }
    m->group = group;
    m->state = c;
    TRY(dinm_encoder_config_read(&c->config, config_path, err));
    if (c->config.n_labels < 2) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: a classifier with one label cannot be trained",
                      config_path));
    }
    TRY(take_place(m, c, err));
    m->max_tokens = dinm_encoder_max_tokens(&c->config);
    m->n_vocab = c->config.n_vocab;
    m->n_labels = c->config.n_labels;
    m->flat = dinm_alloc(m->n_params, sizeof *m->flat, "the model's weights", err);
    TRY(m->flat == NULL ? DINM_FAILED : DINM_OK);
    if (init == NULL) {
        dinm_encoder_init_flat(m->flat, &c->config, c->first, c->last, seed);
    } else {
        TRY(load_checkpoint(m, c, init, err));
    }
    TRY(dinm_encoder_open_flat(&c->encoder, &c->config, c->first, c->last, m->flat, err));
out:
    return status;
}

static struct dinm_param param(const struct dinm_train_model *m, size_t index)
{
    const struct classifier *c = m->state;
    struct dinm_param p = dinm_encoder_param(&c->config, m->first_tensor + index);
    p.offset -= m->first_param;
    return p;
}

static struct dinm_param whole_param(const struct dinm_train_model *m, size_t index)
{
    const struct classifier *c = m->state;
    return dinm_encoder_param(&c->config, index);
}

const struct dinm_train_kind dinm_train_encoder = {open_encoder, close_encoder, param, whole_param};

/* {"text": ..., "label": n}. A long text keeps its beginning and its last special token. */
static int read_classify(struct dinm_train_data *data, struct dinm_json line,
                         const struct dinm_train_reader *reader, struct dinm_error *err)
{
    const char *text = NULL;
    int64_t label = 0;
    const size_t first = data->ids.n_ids;
    const struct dinm_encode_options options = {.special = true};
    if (dinm_json_get_text(line, "text", &text, err) < 0 ||
        dinm_json_get_int(line, "label", 0, (int64_t)reader->n_labels - 1, &label, err) < 0 ||
        dinm_tokenizer_encode(reader->tokenizer, text, strlen(text), options, &data->ids, err) <
            0) {
        return DINM_FAILED;
    }
    if (data->ids.n_ids == first) {
        return dinm_fail(err, DINM_FAILED, "%s: text has no tokens", line.where);
    }
    if (data->ids.n_ids - first > reader->max_tokens) {
        data->ids.ids[first + reader->max_tokens - 1] = data->ids.ids[data->ids.n_ids - 1];
        data->ids.n_ids = first + reader->max_tokens;
        data->n_cut++;
    }
    return dinm_train_data_add(
        data, (struct dinm_train_record){.first = first, .label = (int32_t)label}, err);
}

static size_t one(const struct dinm_train_record *record)
{
    (void)record;
    return 1;
}

static int grow_floats(float **x, size_t *capacity, size_t n, struct dinm_error *err)
{
    void *grown = *x;
    int status = dinm_grow(&grown, capacity, n, sizeof **x, "activations", err);
    *x = grown;
    return status;
}

static int prepare_classify(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    struct classifier *c = m->state;
    const struct dinm_train_pack *pack = lesson->pack;
    const size_t n_floats = pack->n_tokens * c->config.d_model;
    c->texts = (struct dinm_texts){pack->ids, pack->first, pack->n, pack->n_tokens};
    TRY(dinm_encoder_check(c->encoder, &c->texts, err));
    TRY(dinm_encoder_reserve(c->encoder, &c->texts, lesson->grad != NULL, err));
    TRY(grow_floats(&c->x, &c->x_capacity, n_floats, err));
    TRY(grow_floats(&c->dx, &c->dx_capacity, n_floats, err));
    TRY(grow_floats(&c->logits, &c->logits_capacity, pack->n * c->config.n_labels, err));
out:
    return status;
}

/* The last stage: logits and loss; their gradient becomes that of x. */
static void learn_labels(struct classifier *c, const struct dinm_train_lesson *lesson,
                         struct dinm_train_score *score)
{
    const size_t n = c->texts.n_texts, n_labels = c->config.n_labels;
    const int32_t *labels = lesson->pack->labels;
    dinm_encoder_head(c->encoder, c->logits, c->x, &c->texts);
    score->n_units = (double)n;
    score->n_right = (double)dinm_loss_count_right(c->logits, labels, n, n_labels);
    score->loss = dinm_loss_nll(lesson->grad == NULL ? NULL : c->logits, c->logits, labels,
                                lesson->scale, n, n_labels);
    if (lesson->grad != NULL) {
        dinm_encoder_head_backward(c->encoder, c->dx, lesson->grad, c->logits, &c->texts);
    }
}

static int learn_classify_all(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                              struct dinm_train_score *score, struct dinm_error *err)
{
    int status = DINM_OK;
    struct classifier *c = m->state;
    const int stage = m->group->rank;
    const bool last = stage == m->group->size - 1;
    const size_t n_bytes = c->texts.n_rows * c->config.d_model * sizeof *c->x;
    if (stage > 0) {
        TRY(dinm_train_receive(m->group, stage - 1, c->x, n_bytes, err));
    }
    dinm_encoder_forward(c->encoder, c->x, &c->texts, NULL, NULL);
    if (last) {
        learn_labels(c, lesson, score);
    } else {
        TRY(dinm_train_send(m->group, stage + 1, c->x, n_bytes, err));
    }
    if (lesson->grad == NULL) {
        return DINM_OK;
    }
    if (!last) {
        TRY(dinm_train_receive(m->group, stage + 1, c->dx, n_bytes, err));
    }
    dinm_encoder_backward(c->encoder, c->dx, lesson->grad, &c->texts);
    if (stage > 0) {
        TRY(dinm_train_send(m->group, stage - 1, c->dx, n_bytes, err));
    }
out:
    return status;
}

const struct dinm_train_objective dinm_train_classify = {
    "classify", "texts",          &dinm_train_encoder, read_classify,
    one,        prepare_classify, learn_classify_all};

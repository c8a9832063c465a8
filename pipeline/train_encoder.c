/* Training the classifier: the encoder as a model, and the objective "classify" (negative
 * log-likelihood of each text's label). */
#include "pipeline/train_private.h"

#include <string.h>
#include "model/encoder.h"

static void close_encoder(struct dinm_train_model *m)
{
    dinm_encoder_close(m->state);
    m->state = NULL;
}

static int load_checkpoint(float *flat, const struct dinm_encoder_config *config,
                           const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_checkpoint checkpoint = {0};
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    TRY(dinm_encoder_load_flat(flat, config, &checkpoint, err));
out:
    dinm_checkpoint_close(&checkpoint);
    return status;
}

static int open_encoder(struct dinm_train_model *m, const struct dinm_grid *group,
                        const char *config_path, const char *init, uint64_t seed,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_encoder_config config = {0};
    struct dinm_encoder *encoder = NULL;
    TRY(dinm_encoder_config_read(&config, config_path, err));
    if (config.n_labels < 2) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: a classifier with one label cannot be trained",
                      config_path));
    }
    if (group->size > 1) {
        return dinm_fail(err, DINM_USAGE, "train.stages is %d, but a classifier has one stage",
                         group->size);
    }
    m->group = group;
    m->n_params = dinm_encoder_n_params(&config);
    m->n_all_params = m->n_params;
    m->n_tensors = dinm_encoder_n_tensors(&config);
    m->max_tokens = dinm_encoder_max_tokens(&config);
    m->n_vocab = config.n_vocab;
    m->n_labels = config.n_labels;
    m->flat = dinm_alloc(m->n_params, sizeof *m->flat, "the model's weights", err);
    if (m->flat == NULL) {
        return DINM_FAILED;
    }
    if (init == NULL) {
        dinm_encoder_init_flat(m->flat, &config, seed);
    } else {
        TRY(load_checkpoint(m->flat, &config, init, err));
    }
    TRY(dinm_encoder_open_flat(&encoder, &config, m->flat, err));
    m->state = encoder;
out:
    return status;
}

static struct dinm_param param(const struct dinm_train_model *m, size_t index)
{
    return dinm_encoder_param(dinm_encoder_get_config(m->state), index);
}

static int write_encoder(const struct dinm_train_model *m, const float *flat, const char *folder,
                         enum dinm_dtype dtype, struct dinm_error *err)
{
    return dinm_encoder_write_flat(folder, flat, dinm_encoder_get_config(m->state), dtype, err);
}

const struct dinm_train_kind dinm_train_encoder = {open_encoder, close_encoder, param,
                                                   write_encoder};

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

static int prepare_classify(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                            struct dinm_error *err)
{
    (void)m;
    (void)lesson;
    (void)err;
    return DINM_OK;
}

static int learn_classify_all(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                              struct dinm_train_score *score, struct dinm_error *err)
{
    size_t n_right = 0;
    const struct dinm_train_pack *pack = lesson->pack;
    if (dinm_encoder_train(m->state, &score->loss, &n_right, lesson->grad, lesson->scale, pack->ids,
                           pack->first, pack->labels, pack->n, err) < 0) {
        return DINM_FAILED;
    }
    score->n_units = (double)pack->n;
    score->n_right = (double)n_right;
    return DINM_OK;
}

const struct dinm_train_objective dinm_train_classify = {
    "classify", "texts",          &dinm_train_encoder, read_classify,
    one,        prepare_classify, learn_classify_all};

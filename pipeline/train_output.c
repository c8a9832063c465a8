/* The output folder of a training: a checkpoint that the pipeline loads, and what made it. */
#include "pipeline/train_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"

/* Copies the file if it exists. required: it must. */
static int copy_file(const char *from_folder, const char *name, const char *to_folder,
                     bool required, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer bytes = {0};
    char *from = dinm_path_join(from_folder, name, err);
    char *to = dinm_path_join(to_folder, name, err);
    if (from == NULL || to == NULL) {
        status = DINM_FAILED;
        goto out;
    }
    if (required || dinm_path_exists(from)) {
        TRY(dinm_file_read(from, &bytes, err));
        TRY(dinm_file_write(to, bytes.data, bytes.n_bytes, err));
    }
out:
    dinm_buffer_free(&bytes);
    free(from);
    free(to);
    return status;
}

static int copy_config(const char *config, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer bytes = {0};
    char *to = dinm_path_join(out, "config.json", err);
    if (to == NULL) {
        return DINM_FAILED;
    }
    TRY(dinm_file_read(config, &bytes, err));
    TRY(dinm_file_write(to, bytes.data, bytes.n_bytes, err));
out:
    dinm_buffer_free(&bytes);
    free(to);
    return status;
}

static int put_data(struct dinm_buffer *b, const char *key, const struct dinm_train_data *data,
                    struct dinm_error *err)
{
    return dinm_buffer_append_format(
        b, err,
        ",\n  \"%s\": {\"n_records\": %zu, \"n_tokens\": %zu, \"n_cut\": %zu, "
        "\"n_left_out\": %zu}",
        key, data->n_records, data->ids.n_ids, data->n_cut, data->n_left_out);
}

static int put_number(struct dinm_buffer *b, const char *key, double value, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_format(b, err, ",\n  \"%s\": ", key));
    TRY(dinm_json_put_double(b, value, err));
out:
    return status;
}

/* train.json: what was asked for, what was read, and where it ended. No times and no ranks: it is
 * the same however the job was run. */
static int describe(struct dinm_buffer *b, const struct dinm_train_settings *s,
                    const struct dinm_train_model *m, uint64_t digest,
                    const struct dinm_train_data *data, const struct dinm_train_data *held_out,
                    const struct dinm_train_result *result, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(b, "{\n  \"settings\": ", err));
    TRY(dinm_train_settings_print(s, b, err));
    TRY(dinm_buffer_append_format(b, err, ",\n  \"n_params\": %zu", m->n_all_params));
    TRY(put_data(b, "data", data, err));
    if (s->held_out != NULL) {
        TRY(put_data(b, "held_out", held_out, err));
    }
    TRY(dinm_buffer_append_format(b, err, ",\n  \"steps_done\": %lld", (long long)result->step));
    TRY(put_number(b, "loss", result->loss, err));
    if (result->held_out.n_units > 0) {
        TRY(put_number(b, "held_out_loss", result->held_out.loss / result->held_out.n_units, err));
        TRY(put_number(b, "held_out_right", result->held_out.n_right / result->held_out.n_units,
                       err));
    }
    TRY(dinm_buffer_append_format(b, err, ",\n  \"weights_digest\": \"%016llx\"\n}\n",
                                  (unsigned long long)digest));
out:
    return status;
}

static int write_text(const char *folder, const char *name, const struct dinm_buffer *b,
                      struct dinm_error *err)
{
    char *path = dinm_path_join(folder, name, err);
    if (path == NULL) {
        return DINM_FAILED;
    }
    int status = dinm_file_write(path, b->data, b->n_bytes, err);
    free(path);
    return status;
}

int dinm_train_write(const struct dinm_train_settings *s, const struct dinm_train_model *m,
                     struct dinm_train_gather *g, const struct dinm_train_data *data,
                     const struct dinm_train_data *held_out, const struct dinm_train_result *result,
                     const struct dinm_buffer *losses, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer summary = {0};
    if (s->config != NULL) {
        TRY(copy_config(s->config, s->out, err));
    } else {
        TRY(copy_file(s->init, "config.json", s->out, true, err));
    }
    TRY(copy_file(s->tokenizer, "tokenizer.json", s->out, true, err));
    TRY(copy_file(s->tokenizer, "tokenizer_config.json", s->out, false, err));
    TRY(copy_file(s->tokenizer, "special_tokens_map.json", s->out, false, err));
    TRY(dinm_weights_write_from(s->out, g->params, m->n_all_tensors, s->dtype,
                                dinm_train_gather_next, g, err));
    TRY(describe(&summary, s, m, dinm_digester_value(g->digester), data, held_out, result, err));
    TRY(write_text(s->out, "loss.csv", losses, err));
    TRY(write_text(s->out, "train.json", &summary, err));
out:
    dinm_buffer_free(&summary);
    return status;
}

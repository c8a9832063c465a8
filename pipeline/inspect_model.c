/* inspect: model folders and tensor files. */
#include "pipeline/inspect.h"

#include <stdlib.h>
#include <string.h>
#include "io/json.h"
#include "io/safetensors.h"
#include "model/config.h"
#include "model/encoder.h"
#include "pipeline/command_model.h"
#include "pipeline/judge_labels.h"

/* Appends a count with a comma between thousands. */
static int put_count(struct dinm_buffer *out, uint64_t count, struct dinm_error *err)
{
    char digits[32];
    size_t at = sizeof digits, n = 0;
    do {
        if (n > 0 && n % 3 == 0) {
            digits[--at] = ',';
        }
        digits[--at] = (char)('0' + count % 10);
        n++;
        count /= 10;
    } while (count > 0);
    return dinm_buffer_append(out, digits + at, sizeof digits - at, err);
}

static uint64_t n_elements(const struct dinm_tensor *t)
{
    uint64_t n = 1;
    for (size_t d = 0; d < t->n_dims; d++) {
        n *= (uint64_t)t->shape[d];
    }
    return n;
}

/* "260,032 (F32)", or each dtype with its own count. */
static int put_parameters(const struct dinm_checkpoint *c, struct dinm_buffer *out,
                          struct dinm_error *err)
{
    int status = DINM_OK;
    uint64_t counts[DINM_OTHER + 1] = {0}, n_bytes = 0;
    bool first = true;
    for (size_t f = 0; f < c->n_files; f++) {
        for (size_t i = 0; i < c->files[f].n_tensors; i++) {
            const struct dinm_tensor *t = &c->files[f].tensors[i];
            counts[t->dtype] += n_elements(t);
            n_bytes += t->n_bytes;
        }
    }
    TRY(dinm_buffer_append_text(out, "  parameters    ", err));
    for (int dtype = DINM_F32; dtype <= DINM_OTHER; dtype++) {
        if (counts[dtype] > 0) {
            TRY(dinm_buffer_append_text(out, first ? "" : ", ", err));
            TRY(put_count(out, counts[dtype], err));
            TRY(dinm_buffer_append_format(
                out, err, " in %s",
                dtype == DINM_OTHER ? "other types" : dinm_dtype_name((enum dinm_dtype)dtype)));
            first = false;
        }
    }
    TRY(dinm_buffer_append_format(out, err, "\n  files         %zu, with %.1f MiB of tensors\n",
                                  c->n_files, (double)n_bytes / (1 << 20)));
out:
    return status;
}

static int put_special(const char *name, int32_t id, struct dinm_buffer *out,
                       struct dinm_error *err)
{
    return id < 0 ? dinm_buffer_append_format(out, err, ", no %s", name)
                  : dinm_buffer_append_format(out, err, ", %s %ld", name, (long)id);
}

static int put_tokenizer(const char *folder, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_tokenizer *t = NULL;
    TRY(dinm_command_open_tokenizer(&t, folder, err));
    if (t == NULL) {
        TRY(dinm_buffer_append_text(out, "  tokenizer     none\n", err));
    } else {
        TRY(dinm_buffer_append_format(out, err, "  tokenizer     %zu ids",
                                      dinm_tokenizer_n_vocab(t)));
        TRY(put_special("BOS", dinm_tokenizer_bos(t), out, err));
        TRY(put_special("EOS", dinm_tokenizer_eos(t), out, err));
        TRY(put_special("PAD", dinm_tokenizer_pad(t), out, err));
        TRY(dinm_buffer_append_text(out, "\n", err));
    }
out:
    dinm_tokenizer_close(t);
    return status;
}

/* How the model tells positions apart. */
static int put_positions(const struct dinm_config *c, struct dinm_buffer *out,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    static const char *const scalings[] = {"", ", scaled linearly", ", scaled as in Llama 3"};
    TRY(dinm_buffer_append_format(out, err, "  positions     %zu; ", c->n_positions));
    if (c->learned_positions) {
        TRY(dinm_buffer_append_text(out, "learned", err));
    } else {
        TRY(dinm_buffer_append_format(out, err, "rotary base %g%s", c->rope_theta,
                                      scalings[c->rope_scaling.kind]));
    }
    if (c->window > 0) {
        TRY(dinm_buffer_append_format(out, err, "; a window of %zu from layer %zu on", c->window,
                                      c->window_first));
    }
    TRY(dinm_buffer_append_text(out, "\n", err));
out:
    return status;
}

static int put_decoder(const char *folder, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_config c = {0};
    TRY(dinm_config_load(&c, folder, err));
    TRY(dinm_buffer_append_format(
        out, err,
        "%s\n"
        "  language model of type %s\n"
        "  layers        %zu\n"
        "  width         %zu; %zu heads of %zu, %zu of keys and values\n"
        "  feed-forward  %zu\n"
        "  vocabulary    %zu; the head is %s\n",
        folder, c.type, c.n_layers, c.d_model, c.n_heads, c.d_head, c.n_kv_heads, c.d_ff, c.n_vocab,
        c.tied ? "the embedding" : "a matrix of its own"));
    TRY(put_positions(&c, out, err));
out:
    return status;
}

/* The labels, and those that a run would take for unsafe by itself. */
static int put_labels(const char *folder, size_t n_labels, struct dinm_buffer *out,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_judge_labels labels = {0};
    struct dinm_error unclear = {0};
    char *path = dinm_path_join(folder, "config.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_judge_labels_read(&labels, path, n_labels, err));
    const int chosen = dinm_judge_labels_choose(&labels, "", folder, &unclear);
    if (chosen != DINM_OK && chosen != DINM_USAGE) {
        TRY(dinm_fail(err, chosen, "%s", unclear.text));
    }
    TRY(dinm_judge_labels_describe(&labels, out, err));
    TRY(dinm_buffer_append_text(
        out, chosen == DINM_OK ? "\n" : "not told by the names: judge.unsafe_label is needed\n",
        err));
out:
    dinm_judge_labels_free(&labels);
    free(path);
    return status;
}

static int put_encoder(const char *folder, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_encoder_config c = {0};
    TRY(dinm_encoder_config_load(&c, folder, err));
    TRY(dinm_buffer_append_format(out, err,
                                  "%s\n"
                                  "  classifier of RoBERTa type, %zu label%s\n"
                                  "  layers        %zu\n"
                                  "  width         %zu; %zu heads of %zu\n"
                                  "  feed-forward  %zu\n"
                                  "  vocabulary    %zu\n"
                                  "  longest text  %zu tokens\n"
                                  "  labels        ",
                                  folder, c.n_labels, c.n_labels == 1 ? "" : "s", c.n_layers,
                                  c.d_model, c.n_heads,
                                  c.d_model / c.n_heads, c.d_ff, c.n_vocab,
                                  dinm_encoder_max_tokens(&c)));
    TRY(put_labels(folder, c.n_labels, out, err));
out:
    return status;
}

int dinm_inspect_model(const char *folder, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *config = NULL;
    const char *type = "";
    struct dinm_checkpoint checkpoint = {0};
    char *path = dinm_path_join(folder, "config.json", err);
    TRY(path != NULL ? dinm_json_load(path, &config, err) : DINM_FAILED);
    TRY(dinm_json_get_text_or((struct dinm_json){config, path}, "model_type", &type, err));
    TRY(strcmp(type, "roberta") == 0 ? put_encoder(folder, out, err)
                                     : put_decoder(folder, out, err));
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    TRY(put_parameters(&checkpoint, out, err));
    TRY(put_tokenizer(folder, out, err));
out:
    dinm_checkpoint_close(&checkpoint);
    cJSON_Delete(config);
    free(path);
    return status;
}

int dinm_inspect_tensors(const char *path, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_safetensors file = {0};
    TRY(dinm_safetensors_open(&file, path, err));
    TRY(dinm_buffer_append_format(out, err, "%s\n  %zu tensor%s\n", path, file.n_tensors,
                                  file.n_tensors == 1 ? "" : "s"));
    for (size_t i = 0; i < file.n_tensors; i++) {
        const struct dinm_tensor *t = &file.tensors[i];
        TRY(dinm_buffer_append_format(out, err, "  %s  %s ", t->name, t->dtype_name));
        for (size_t d = 0; d < t->n_dims; d++) {
            TRY(dinm_buffer_append_format(out, err, "[%lld]", (long long)t->shape[d]));
        }
        TRY(dinm_buffer_append_text(out, "\n", err));
    }
out:
    dinm_safetensors_close(&file);
    return status;
}

/* Opening a model with a prompt from the command line. */
#include "pipeline/command_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "pipeline/compute.h"
#include "pipeline/cores.h"

int dinm_command_open_tokenizer(struct dinm_tokenizer **t, const char *folder,
                                struct dinm_error *err)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json"};
    bool there = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !there; i++) {
        char *path = dinm_path_join(folder, names[i], err);
        if (path == NULL) {
            return DINM_FAILED;
        }
        there = dinm_path_exists(path);
        free(path);
    }
    return there ? dinm_tokenizer_open(t, folder, err) : DINM_OK;
}

struct dinm_encode_options dinm_command_encode_options(const struct dinm_args *args)
{
    return (struct dinm_encode_options){
        .special = !dinm_args_has(args, "--no-special"),
        .control = dinm_args_has(args, "--control"),
    };
}

int dinm_command_put_ids(const struct dinm_ids *ids, const char *between, struct dinm_buffer *out,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < ids->n_ids; i++) {
        TRY(dinm_buffer_append_format(out, err, "%s%ld", i > 0 ? between : "", (long)ids->ids[i]));
    }
out:
    return status;
}

int dinm_command_print(const struct dinm_buffer *text, struct dinm_error *err)
{
    if ((text->n_bytes > 0 && fwrite(text->data, text->n_bytes, 1, stdout) != 1) ||
        fflush(stdout) != 0) {
        return dinm_fail_errno(err, errno, "cannot write to", "standard output");
    }
    return DINM_OK;
}

/* Appends the ids of a list "1,2,3". */
static int parse_ids(const char *list, struct dinm_ids *ids, struct dinm_error *err)
{
    int status = DINM_OK;
    for (const char *at = list; at != NULL;) {
        char *end = NULL;
        errno = 0;
        long id = at[0] >= '0' && at[0] <= '9' ? strtol(at, &end, 10) : -1;
        if (id < 0 || id > INT32_MAX || errno != 0 || (*end != ',' && *end != '\0')) {
            TRY(dinm_fail(err, DINM_USAGE, "--prompt-ids: expected ids like 1,2,3, found \"%s\"",
                          list));
        }
        int32_t narrow = (int32_t)id;
        TRY(dinm_ids_append(ids, &narrow, 1, err));
        at = *end == ',' ? end + 1 : NULL;
    }
out:
    return status;
}

static int read_prompt(struct dinm_prompted *p, const struct dinm_args *args, const char *folder,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    const char *list = dinm_args_value(args, "--prompt-ids");
    p->text = dinm_args_value(args, "--prompt");
    if ((list == NULL) == (p->text == NULL)) {
        return dinm_fail(err, DINM_USAGE, "expected either --prompt TEXT or --prompt-ids LIST");
    }
    if (list != NULL) {
        TRY(parse_ids(list, &p->prompt, err));
    } else if (p->tokenizer == NULL) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s has no tokenizer to read --prompt with: use --prompt-ids", folder));
    } else {
        TRY(dinm_tokenizer_encode(p->tokenizer, p->text, strlen(p->text),
                                  dinm_command_encode_options(args), &p->prompt, err));
    }
    if (p->prompt.n_ids == 0) {
        TRY(dinm_fail(err, DINM_USAGE, "the prompt has no tokens"));
    }
    for (size_t i = 0; i < p->prompt.n_ids; i++) {
        if ((size_t)p->prompt.ids[i] >= p->slice.config.n_vocab) {
            TRY(dinm_fail(err, DINM_FAILED,
                          "the prompt's token %ld is not in the model's vocabulary of %zu",
                          (long)p->prompt.ids[i], p->slice.config.n_vocab));
        }
    }
out:
    return status;
}

static int read_delta(struct dinm_prompted *p, const char *path, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_delta delta = {0};
    TRY(dinm_delta_open(&delta, path, err));
    if (delta.layer >= p->slice.config.n_layers) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: %s: the model has %zu layers, counted from 0", path,
                      delta.tensor->name, p->slice.config.n_layers));
    }
    const struct dinm_matrix *w = &p->slice.weights.layers[delta.layer].down;
    p->down = dinm_delta_add(&delta, path, w, err);
    TRY(p->down != NULL ? DINM_OK : DINM_FAILED);
    p->edit = (struct dinm_edit){.layer = delta.layer, .down = *w};
    p->edit.down.data = p->down;
    p->edit.down.dtype = DINM_F32;
out:
    dinm_delta_close(&delta);
    return status;
}

/* compute: f32, bf16 or NULL. */
static int open_model(struct dinm_prompted *p, const char *folder, const char *compute,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_bf16_way *way = NULL;
    bool bf16 = compute != NULL && strcmp(compute, "bf16") == 0;
    if (compute != NULL && !bf16 && strcmp(compute, "f32") != 0) {
        TRY(dinm_fail(err, DINM_USAGE, "--compute: expected f32 or bf16, found \"%s\"", compute));
    }
    TRY(dinm_compute_find(&way, bf16 ? DINM_COMPUTE_BF16 : DINM_COMPUTE_F32, err));
    TRY(dinm_slice_open(&p->slice, folder, 0, 0, err));
    TRY(dinm_compute_use(&p->slice, way, true, err));
out:
    return status;
}

int dinm_prompted_open(struct dinm_prompted *p, const struct dinm_args *args,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    const char *folder = NULL;
    const char *delta = dinm_args_value(args, "--delta");
    struct dinm_cores cores;
    *p = (struct dinm_prompted){0};
    TRY(dinm_args_need(args, "--model", &folder, err));
    dinm_cores_mine(&cores);
    dinm_linear_set_threads(dinm_cores_count(&cores));
    TRY(open_model(p, folder, dinm_args_value(args, "--compute"), err));
    TRY(dinm_command_open_tokenizer(&p->tokenizer, folder, err));
    TRY(read_prompt(p, args, folder, err));
    if (delta != NULL) {
        TRY(read_delta(p, delta, err));
    }
out:
    return status;
}

void dinm_prompted_close(struct dinm_prompted *p)
{
    dinm_slice_close(&p->slice);
    dinm_tokenizer_close(p->tokenizer);
    dinm_ids_free(&p->prompt);
    free(p->down);
    *p = (struct dinm_prompted){0};
}

/* Normalizers: what is done to the text before it is split. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- reading ---- */

static int read_replace(struct dinm_normalizer *n, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *content = NULL;

    TRY(dinm_tokenizer_pattern_read(&n->pattern, j, err));
    TRY(dinm_json_get_text(j, "content", &content, err));
    if (n->pattern.code != NULL && strchr(content, '$') != NULL) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: Replace with the content \"%.100s\": a $ behind a "
                         "Regex is not supported",
                         j.where, content);
    }
    n->n_text = strlen(content);
    TRY(dinm_tokenizer_copy(&n->text, content, err));
out:
    return status;
}

static int read_one(struct dinm_normalizer *n, struct dinm_json j, const char *type,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    const char *text = NULL;

    if (strcmp(type, "Prepend") == 0) {
        n->kind = DINM_NORMALIZE_PREPEND;
        TRY(dinm_json_get_text(j, "prepend", &text, err));
        n->n_text = strlen(text);
        TRY(dinm_tokenizer_copy(&n->text, text, err));
    } else if (strcmp(type, "Replace") == 0) {
        n->kind = DINM_NORMALIZE_REPLACE;
        TRY(read_replace(n, j, err));
    } else if (strcmp(type, "NFC") == 0 || strcmp(type, "NFD") == 0 || strcmp(type, "NFKC") == 0 ||
               strcmp(type, "NFKD") == 0) {
        n->kind = DINM_NORMALIZE_UNICODE;
        n->compose = type[strlen(type) - 1] == 'C';
        n->compatible = type[2] == 'K';
    } else if (strcmp(type, "Lowercase") == 0) {
        n->kind = DINM_NORMALIZE_LOWERCASE;
    } else if (strcmp(type, "Strip") == 0) {
        n->kind = DINM_NORMALIZE_STRIP;
        n->left = n->right = true;
        TRY(dinm_json_get_bool_or(j, "strip_left", &n->left, err));
        TRY(dinm_json_get_bool_or(j, "strip_right", &n->right, err));
    } else {
        status = dinm_fail(err, DINM_FAILED, "%s: the normalizer %.100s is not supported", j.where,
                           type);
    }
out:
    return status;
}

int dinm_tokenizer_normalizer_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                   struct dinm_error *err)
{
    const struct dinm_json j = {.object = object, .where = where};
    int status = DINM_OK;
    const char *type = NULL;
    const cJSON *list = NULL;
    const cJSON *item = NULL;
    void *normalizers = t->normalizers;

    TRY(dinm_tokenizer_type(object, where, "normalizer", &type, err));
    if (strcmp(type, "Sequence") == 0) {
        TRY(dinm_json_get_array(j, "normalizers", &list, err));
        cJSON_ArrayForEach(item, list)
        {
            TRY(dinm_tokenizer_normalizer_read(t, where, item, err));
        }
        return DINM_OK;
    }
    status = dinm_grow(&normalizers, &t->normalizer_capacity, t->n_normalizers + 1,
                       sizeof *t->normalizers, "the normalizers", err);
    t->normalizers = normalizers;
    TRY(status);
    TRY(read_one(t->normalizers + t->n_normalizers++, j, type, err));
out:
    return status;
}

/* ---- running ---- */

static int replace(const struct dinm_normalizer *n, const struct dinm_buffer *in,
                   struct dinm_buffer *out, struct dinm_cuts *cuts, bool *front,
                   struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(dinm_tokenizer_pattern_cut(&n->pattern, in->data, in->n_bytes, cuts, err));
    if (cuts->n_cuts > 0 && cuts->cuts[0].match && cuts->cuts[0].end > 0 && n->n_text == 0) {
        *front = false;
    }
    for (size_t i = 0; i < cuts->n_cuts; i++) {
        const struct dinm_cut *c = cuts->cuts + i;

        TRY(c->match ? dinm_buffer_append(out, n->text, n->n_text, err)
                     : dinm_buffer_append(out, in->data + c->begin, c->end - c->begin, err));
    }
out:
    return status;
}

static int unicode_form(const struct dinm_normalizer *n, const struct dinm_buffer *in,
                        struct dinm_buffer *out, struct dinm_error *err)
{
    const utf8proc_option_t options =
        (utf8proc_option_t)(UTF8PROC_STABLE | (n->compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                            (n->compatible ? UTF8PROC_COMPAT : 0));
    utf8proc_uint8_t *mapped = NULL;
    const utf8proc_ssize_t n_bytes = utf8proc_map((const utf8proc_uint8_t *)in->data,
                                                  (utf8proc_ssize_t)in->n_bytes, &mapped, options);
    int status;

    if (n_bytes < 0) {
        return dinm_fail(err, DINM_FAILED, "a text of %zu bytes could not be normalised: %s",
                         in->n_bytes, utf8proc_errmsg(n_bytes));
    }
    status = dinm_buffer_append(out, mapped, (size_t)n_bytes, err);
    free(mapped);
    return status;
}

/* Each character by itself. Only U+0130 has a lower case of two characters. */
static int lowercase(const struct dinm_buffer *in, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;

    for (size_t at = 0; at < in->n_bytes;) {
        uint32_t c;

        at += dinm_tokenizer_text_char(in->data + at, &c);
        if (c == 0x130) {
            TRY(dinm_buffer_append_text(out, "i\xCC\x87", err));
        } else {
            TRY(dinm_tokenizer_text_put(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), err));
        }
    }
out:
    return status;
}

static int run(const struct dinm_normalizer *n, const struct dinm_buffer *in,
               struct dinm_buffer *out, struct dinm_cuts *cuts, bool *front, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t begin = 0;
    size_t end = in->n_bytes;

    switch (n->kind) {
    case DINM_NORMALIZE_PREPEND:
        TRY(dinm_buffer_append(out, n->text, n->n_text, err));
        TRY(dinm_buffer_append(out, in->data, in->n_bytes, err));
        break;
    case DINM_NORMALIZE_REPLACE:
        TRY(replace(n, in, out, cuts, front, err));
        break;
    case DINM_NORMALIZE_UNICODE:
        TRY(unicode_form(n, in, out, err));
        break;
    case DINM_NORMALIZE_LOWERCASE:
        TRY(lowercase(in, out, err));
        break;
    case DINM_NORMALIZE_STRIP:
        end = n->right ? dinm_tokenizer_text_trimmed(in->data, end) : end;
        begin = n->left ? dinm_tokenizer_text_spaces(in->data, end) : 0;
        *front = *front && begin == 0;
        TRY(dinm_buffer_append(out, in->data + begin, end - begin, err));
        break;
    }
out:
    return status;
}

int dinm_tokenizer_normalize(const struct dinm_tokenizer *t, struct dinm_buffer *in,
                             struct dinm_buffer *spare, struct dinm_cuts *cuts, bool *front,
                             struct dinm_error *err)
{
    bool unused = true;
    int status = DINM_OK;

    front = front == NULL ? &unused : front;
    for (size_t i = 0; i < t->n_normalizers && in->n_bytes > 0; i++) {
        const struct dinm_buffer swap = *in;

        spare->n_bytes = 0;
        TRY(run(t->normalizers + i, in, spare, cuts, front, err));
        *in = *spare;
        *spare = swap;
    }
out:
    return status;
}

void dinm_tokenizer_normalizer_free(struct dinm_normalizer *n)
{
    dinm_tokenizer_pattern_free(&n->pattern);
    free(n->text);
    *n = (struct dinm_normalizer){0};
}

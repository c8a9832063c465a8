/* tokenize: standard input to token ids, one line for each input. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pipeline/command_model.h"
#include "pipeline/commands.h"

enum { READ_BYTES = 65536 };

static int read_input(struct dinm_buffer *input, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = 0;
    char *piece = dinm_alloc(READ_BYTES, 1, "standard input", err);
    TRY(piece != NULL ? dinm_buffer_append(input, "", 0, err) : DINM_FAILED);
    do {
        n = fread(piece, 1, READ_BYTES, stdin);
        TRY(dinm_buffer_append(input, piece, n, err));
    } while (n == READ_BYTES);
    if (ferror(stdin)) {
        TRY(dinm_fail_errno(err, errno, "cannot read", "standard input"));
    }
out:
    free(piece);
    return status;
}

/* Appends --split's text with \n, \t, \0 and \\ understood. */
static int read_separator(const char *text, struct dinm_buffer *separator, struct dinm_error *err)
{
    int status = DINM_OK;
    static const char from[] = "nt0\\";
    static const char to[] = {'\n', '\t', '\0', '\\'};
    if (text[0] == '\0') {
        return dinm_fail(err, DINM_USAGE, "--split: expected a text between inputs, found nothing");
    }
    for (; *text != '\0'; text++) {
        const char *escape = text[0] == '\\' && text[1] != '\0' ? strchr(from, text[1]) : NULL;
        TRY(dinm_buffer_append(separator, escape != NULL ? &to[escape - from] : text, 1, err));
        text += escape != NULL;
    }
out:
    return status;
}

/* Where the separator begins in text at or behind `at`; n_bytes if nowhere. */
static size_t find(const struct dinm_buffer *text, size_t at, const struct dinm_buffer *separator)
{
    if (separator->n_bytes == 0) {
        return text->n_bytes;
    }
    while (at + separator->n_bytes <= text->n_bytes) {
        const char *first = memchr(text->data + at, separator->data[0],
                                   text->n_bytes - separator->n_bytes + 1 - at);
        if (first == NULL) {
            break;
        }
        at = (size_t)(first - text->data);
        if (memcmp(first, separator->data, separator->n_bytes) == 0) {
            return at;
        }
        at++;
    }
    return text->n_bytes;
}

int dinm_command_tokenize(const struct dinm_args *args, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *folder = NULL, *split = dinm_args_value(args, "--split");
    struct dinm_tokenizer *t = NULL;
    struct dinm_buffer input = {0}, separator = {0}, out = {0};
    struct dinm_ids ids = {0};
    TRY(dinm_args_need(args, "--model", &folder, err));
    if (split != NULL) {
        TRY(read_separator(split, &separator, err));
    }
    TRY(dinm_tokenizer_open(&t, folder, err));
    TRY(read_input(&input, err));
    for (size_t at = 0; at <= input.n_bytes;) {
        size_t end = find(&input, at, &separator);
        ids.n_ids = 0;
        TRY(dinm_tokenizer_encode(t, input.data + at, end - at, dinm_command_encode_options(args),
                                  &ids, err));
        TRY(dinm_command_put_ids(&ids, " ", &out, err));
        TRY(dinm_buffer_append_text(&out, "\n", err));
        at = end == input.n_bytes ? end + 1 : end + separator.n_bytes;
    }
    TRY(dinm_command_print(&out, err));
out:
    dinm_ids_free(&ids);
    dinm_buffer_free(&out);
    dinm_buffer_free(&separator);
    dinm_buffer_free(&input);
    dinm_tokenizer_close(t);
    return status;
}

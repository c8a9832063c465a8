/* Private to json*.c: a reading position in a JSON text and the tokens that need more than a look
 * at one character. */
#ifndef DINM_IO_JSON_TOKEN_H
#define DINM_IO_JSON_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include "io/mem.h"
#include "io/status.h"

struct dinm_json_token {
    const char *origin; /* borrows: for errors, where the text is from */
    const char *text;   /* borrows: [n] */
    size_t n, at;
    struct dinm_buffer scratch; /* owns: the last text, unescaped; also works for numbers */
    struct dinm_error *err;     /* borrows */
};

/* The character at the reading position, or NUL (which no rule asks for) at the end. */
static inline char dinm_json_token_peek(const struct dinm_json_token *t)
{
    return t->at < t->n ? t->text[t->at] : '\0';
}

void dinm_json_token_skip_space(struct dinm_json_token *t);

/* "<origin>: line L, column C: <what>", of the byte `at`. Always DINM_FAILED. */
int dinm_json_token_fail(struct dinm_json_token *t, size_t at, const char *what);
/* The same at the reading position: "expected <this>, found <what is there>". */
int dinm_json_token_expected(struct dinm_json_token *t, const char *expected);

/* Reads a text into `scratch`; the reading position is at its first quote. A NUL is refused in a
 * name. Elsewhere it becomes U+FFFD: texts end at a NUL, so it cannot be kept. */
int dinm_json_token_text(struct dinm_json_token *t, bool is_name);
/* The reading position is at a digit or a minus. */
int dinm_json_token_number(struct dinm_json_token *t, double *out);

#endif

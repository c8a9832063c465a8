/* Texts and numbers out of strict JSON, and errors with line and column.
 *
 * Numbers are read with strtod, so the process stays in the "C" locale. */
#include "io/json_token.h"
#include "io/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXACT_DIGITS = 15 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int dinm_json_token_fail(struct dinm_json_token *t, size_t at, const char *what)
{
    size_t line = 1;
    size_t column = 1;

    for (size_t i = 0; i < at; i++) {
        if (t->text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)t->text[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    return dinm_fail(t->err, DINM_FAILED, "%s: line %zu, column %zu: %s", t->origin, line, column,
                     what);
}

int dinm_json_token_expected(struct dinm_json_token *t, const char *expected)
{
    char what[256];
    const unsigned c = t->at < t->n ? (unsigned char)t->text[t->at] : 0;

    if (t->at == t->n) {
        snprintf(what, sizeof what, "expected %s, found the end of the text", expected);
    } else if (c > 0x20 && c < 0x7F) {
        snprintf(what, sizeof what, "expected %s, found %c", expected, (int)c);
    } else {
        snprintf(what, sizeof what, "expected %s, found the byte %02x", expected, c);
    }
    return dinm_json_token_fail(t, t->at, what);
}

void dinm_json_token_skip_space(struct dinm_json_token *t)
{
    while (dinm_json_token_peek(t) == ' ' || dinm_json_token_peek(t) == '\n' ||
           dinm_json_token_peek(t) == '\t' || dinm_json_token_peek(t) == '\r') {
        t->at++;
    }
}

/* Four hexadecimal digits. */
static int read_hex(struct dinm_json_token *t, uint32_t *out)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++, t->at++) {
        const char c = dinm_json_token_peek(t);

        if (is_digit(c)) {
            value = 16 * value + (uint32_t)(c - '0');
        } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
            value = 16 * value + (uint32_t)((c & ~0x20) - 'A') + 10;
        } else {
            return dinm_json_token_expected(t, "four hexadecimal digits");
        }
    }
    *out = value;
    return DINM_OK;
}

/* The reading position is behind "\u". */
static int read_unicode_escape(struct dinm_json_token *t, uint32_t *character)
{
    const size_t start = t->at - 2;
    uint32_t low = 0;
    int status;

    TRY(read_hex(t, character));
    if (*character >= 0xD800 && *character <= 0xDBFF && t->n - t->at >= 2 &&
        memcmp(t->text + t->at, "\\u", 2) == 0) {
        t->at += 2;
        TRY(read_hex(t, &low));
        if (low >= 0xDC00 && low <= 0xDFFF) {
            *character = 0x10000 + ((*character - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    if (*character >= 0xD800 && *character <= 0xDFFF) {
        status = dinm_json_token_fail(t, start, "half of a surrogate pair stands alone");
    }
out:
    return status;
}

/* The reading position is at a backslash. Appends what it stands for to the scratch text. */
static int read_escape(struct dinm_json_token *t, bool is_name)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const size_t start = t->at++;
    const char c = dinm_json_token_peek(t);
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    uint32_t character = 0;
    char bytes[4];
    int status;

    if (letter != NULL) {
        t->at++;
        return dinm_buffer_append(&t->scratch, &meanings[letter - letters], 1, t->err);
    }
    if (c != 'u') {
        return dinm_json_token_expected(t, "one of \"\\/bfnrtu behind a backslash");
    }
    t->at++;
    TRY(read_unicode_escape(t, &character));
    if (character == 0 && is_name) {
        return dinm_json_token_fail(t, start, "a name contains the character \\u0000");
    }
    character = character == 0 ? 0xFFFD : character;
    status = dinm_buffer_append(&t->scratch, bytes, dinm_utf8_put(bytes, character), t->err);
out:
    return status;
}

int dinm_json_token_text(struct dinm_json_token *t, bool is_name)
{
    int status;

    t->at++;
    t->scratch.n_bytes = 0;
    TRY(dinm_buffer_append(&t->scratch, "", 0, t->err));
    for (;;) {
        const size_t start = t->at;
        bool valid = true;

        while (t->at < t->n && (unsigned char)t->text[t->at] >= 0x20 && t->text[t->at] != '"' &&
               t->text[t->at] != '\\') {
            size_t step = 1;

            if ((unsigned char)t->text[t->at] >= 0x80) {
                step = dinm_utf8_step(t->text + t->at, t->n - t->at, &valid);
            }
            if (!valid) {
                return dinm_json_token_fail(t, t->at, "the text is not valid UTF-8 here");
            }
            t->at += step;
        }
        TRY(dinm_buffer_append(&t->scratch, t->text + start, t->at - start, t->err));
        if (t->at == t->n) {
            return dinm_json_token_expected(t, "the closing quote of a text");
        }
        if ((unsigned char)t->text[t->at] < 0x20) {
            return dinm_json_token_expected(t, "control characters in a text to be escaped");
        }
        if (t->text[t->at] == '"') {
            t->at++;
            return DINM_OK;
        }
        TRY(read_escape(t, is_name));
    }
out:
    return status;
}

static int skip_digits(struct dinm_json_token *t)
{
    if (!is_digit(dinm_json_token_peek(t))) {
        return dinm_json_token_expected(t, "a digit");
    }
    while (is_digit(dinm_json_token_peek(t))) {
        t->at++;
    }
    return DINM_OK;
}

int dinm_json_token_number(struct dinm_json_token *t, double *out)
{
    const size_t start = t->at;
    const bool negative = dinm_json_token_peek(t) == '-';
    bool whole = true;
    double value = 0.0;
    int status;

    t->at += negative;
    if (dinm_json_token_peek(t) == '0' && t->at + 1 < t->n && is_digit(t->text[t->at + 1])) {
        return dinm_json_token_fail(t, start, "a number begins with a needless zero");
    }
    TRY(skip_digits(t));
    if (dinm_json_token_peek(t) == '.') {
        whole = false;
        t->at++;
        TRY(skip_digits(t));
    }
    if (dinm_json_token_peek(t) == 'e' || dinm_json_token_peek(t) == 'E') {
        whole = false;
        t->at++;
        t->at += dinm_json_token_peek(t) == '+' || dinm_json_token_peek(t) == '-';
        TRY(skip_digits(t));
    }
    if (whole && t->at - start <= MAX_EXACT_DIGITS) {
        for (size_t i = start + negative; i < t->at; i++) {
            value = 10.0 * value + (double)(t->text[i] - '0');
        }
        *out = negative ? -value : value;
        return DINM_OK;
    }
    t->scratch.n_bytes = 0;
    TRY(dinm_buffer_append(&t->scratch, t->text + start, t->at - start, t->err));
    *out = strtod(t->scratch.data, NULL);
    if (!isfinite(*out)) {
        status = dinm_json_token_fail(t, start, "the number is too large for a double");
    }
out:
    return status;
}

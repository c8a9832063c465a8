/* Texts and numbers as JSON. */
#include "io/json.h"
#include "io/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The escape of a character that may not stand for itself, or NULL. */
static const char *escape_of(unsigned char c, char room[8])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if (c >= 0x20) {
            return NULL;
        }
        snprintf(room, 8, "\\u%04x", c);
        return room;
    }
}

int dinm_json_put_text(struct dinm_buffer *b, const char *text, size_t n_bytes,
                       struct dinm_error *err)
{
    size_t start = 0; /* of the part that is copied as it is */
    size_t at = 0;
    int status;

    TRY(dinm_buffer_append(b, "\"", 1, err));
    while (at < n_bytes) {
        char room[8];
        bool valid;
        const size_t step = dinm_utf8_step(text + at, n_bytes - at, &valid);
        const char *instead = valid ? escape_of((unsigned char)text[at], room) : "\xEF\xBF\xBD";

        if (instead != NULL) {
            TRY(dinm_buffer_append(b, text + start, at - start, err));
            TRY(dinm_buffer_append_text(b, instead, err));
            start = at + step;
        }
        at += step;
    }
    if (at > start) {
        TRY(dinm_buffer_append(b, text + start, at - start, err));
    }
    status = dinm_buffer_append(b, "\"", 1, err);
out:
    return status;
}

int dinm_json_put_float(struct dinm_buffer *b, float value, struct dinm_error *err)
{
    char digits[32] = "null";

    for (int n = 1; n <= 9 && isfinite(value); n++) {
        snprintf(digits, sizeof digits, "%.*g", n, (double)value);
        if (strtof(digits, NULL) == value) {
            break;
        }
    }
    return dinm_buffer_append_text(b, digits, err);
}

const char *dinm_json_format_double(double value, char room[32])
{
    snprintf(room, 32, "null");
    if (fabs(value) < 1e6 && value == floor(value)) {
        snprintf(room, 32, "%.0f", value); /* 900, not 9e+02 */
        return room;
    }
    for (int n = 1; n <= 17 && isfinite(value); n++) {
        snprintf(room, 32, "%.*g", n, value);
        if (strtod(room, NULL) == value) {
            break;
        }
    }
    return room;
}

int dinm_json_put_double(struct dinm_buffer *b, double value, struct dinm_error *err)
{
    char room[32];

    return dinm_buffer_append_text(b, dinm_json_format_double(value, room), err);
}

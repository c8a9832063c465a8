/* Characters of valid UTF-8, and the making of it. */
#include "io/tokenizer_internal.h"
#include <string.h>
#include "io/utf8.h"

size_t dinm_tokenizer_text_char(const char *text, uint32_t *c)
{
    const unsigned char *p = (const unsigned char *)text;

    if (p[0] < 0x80) {
        *c = p[0];
        return 1;
    }
    if (p[0] < 0xE0) {
        *c = (uint32_t)(p[0] & 0x1F) << 6 | (uint32_t)(p[1] & 0x3F);
        return 2;
    }
    if (p[0] < 0xF0) {
        *c = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (uint32_t)(p[2] & 0x3F);
        return 3;
    }
    *c = (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
         (uint32_t)(p[2] & 0x3F) << 6 | (uint32_t)(p[3] & 0x3F);
    return 4;
}

int dinm_tokenizer_text_put(struct dinm_buffer *out, uint32_t c, struct dinm_error *err)
{
    char bytes[4];

    return dinm_buffer_append(out, bytes, dinm_utf8_put(bytes, c), err);
}

int dinm_tokenizer_text_repair(struct dinm_buffer *out, const char *text, size_t n_bytes,
                               struct dinm_error *err)
{
    int status = DINM_OK;
    size_t good = 0; /* [good, at) is valid and not yet appended */
    size_t at = 0;

    while (at < n_bytes) {
        bool valid = true;
        const size_t step =
            (unsigned char)text[at] < 0x80 ? 1 : dinm_utf8_step(text + at, n_bytes - at, &valid);

        if (!valid) {
            TRY(dinm_buffer_append(out, text + good, at - good, err));
            TRY(dinm_tokenizer_text_put(out, 0xFFFD, err));
            good = at + step;
        }
        at += step;
    }
    if (good < n_bytes) {
        TRY(dinm_buffer_append(out, text + good, n_bytes - good, err));
    }
out:
    return status;
}

bool dinm_tokenizer_text_is_valid(const char *text, size_t n_bytes)
{
    bool valid = true;

    for (size_t at = 0; valid && at < n_bytes;) {
        valid = text[at] != '\0';
        at += valid ? dinm_utf8_step(text + at, n_bytes - at, &valid) : 1;
    }
    return valid;
}

bool dinm_tokenizer_text_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

size_t dinm_tokenizer_text_spaces(const char *text, size_t n_bytes)
{
    size_t at = 0;

    while (at < n_bytes) {
        uint32_t c;
        const size_t step = dinm_tokenizer_text_char(text + at, &c);

        if (!dinm_tokenizer_text_is_space(c)) {
            break;
        }
        at += step;
    }
    return at;
}

size_t dinm_tokenizer_text_last(const char *text, size_t n_bytes)
{
    size_t step = 1;

    while (step < n_bytes && ((unsigned char)text[n_bytes - step] & 0xC0) == 0x80) {
        step++;
    }
    return step;
}

size_t dinm_tokenizer_text_trimmed(const char *text, size_t n_bytes)
{
    while (n_bytes > 0) {
        const size_t step = dinm_tokenizer_text_last(text, n_bytes);
        uint32_t c;

        dinm_tokenizer_text_char(text + n_bytes - step, &c);
        if (!dinm_tokenizer_text_is_space(c)) {
            break;
        }
        n_bytes -= step;
    }
    return n_bytes;
}

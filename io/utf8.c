/* UTF-8 as in the Unicode Standard, table 3-7: no surrogates, no overlong forms. */
#include "io/utf8.h"

/* How many bytes a character beginning with `first` has (0: none does), and what its second byte
 * may be; all later bytes are 80 to BF. */
static size_t sequence_length(unsigned first, unsigned *low, unsigned *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        return 2;
    }
    if (first >= 0xE0 && first <= 0xEF) {
        *low = first == 0xE0 ? 0xA0 : 0x80;
        *high = first == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        *low = first == 0xF0 ? 0x90 : 0x80;
        *high = first == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

size_t dinm_utf8_step(const char *text, size_t n_bytes, bool *valid)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned low;
    unsigned high;
    size_t length = sequence_length(p[0], &low, &high);

    *valid = false;
    if (length == 0) {
        return 1;
    }
    for (size_t i = 1; i < length; i++) {
        if (i == n_bytes || p[i] < low || p[i] > high) {
            return i;
        }
        low = 0x80;
        high = 0xBF;
    }
    *valid = true;
    return length;
}

size_t dinm_utf8_put(char out[4], uint32_t character)
{
    const uint32_t c = character;
    size_t n = 0;

    if (c < 0x80) {
        out[n++] = (char)c;
        return n;
    }
    if (c < 0x800) {
        out[n++] = (char)(0xC0 | (c >> 6));
    } else {
        if (c < 0x10000) {
            out[n++] = (char)(0xE0 | (c >> 12));
        } else {
            out[n++] = (char)(0xF0 | (c >> 18));
            out[n++] = (char)(0x80 | ((c >> 12) & 0x3F));
        }
        out[n++] = (char)(0x80 | ((c >> 6) & 0x3F));
    }
    out[n++] = (char)(0x80 | (c & 0x3F));
    return n;
}

void dinm_utf8_make_line(char *text)
{
    size_t n_bytes = 0;
    size_t end = 0;

    while (text[n_bytes] != '\0') {
        n_bytes++;
    }
    for (size_t i = 0; i < n_bytes;) {
        bool valid;
        const size_t step = dinm_utf8_step(text + i, n_bytes - i, &valid);
        const unsigned char first = (unsigned char)text[i];
        const bool control = first < 0x20 || first == 0x7F ||
                             (valid && first == 0xC2 && (unsigned char)text[i + 1] < 0xA0);
        unsigned low;
        unsigned high;

        if (!valid && i + step == n_bytes && sequence_length(first, &low, &high) > step) {
            break;
        }
        if (valid && !control) {
            for (size_t k = 0; k < step; k++) {
                text[end++] = text[i + k];
            }
        } else {
            text[end++] = '?';
        }
        i += step;
    }
    text[end] = '\0';
}

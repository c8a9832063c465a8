/* What transformers does with a decoded text if tokenizer_config.json has
 * clean_up_tokenization_spaces: blanks before punctuation and English endings go. */
#include "io/tokenizer_internal.h"
#include <string.h>

static const struct {
    const char *from, *to;
} replacements[] = {{" .", "."},     {" ?", "?"},     {" !", "!"},   {" ,", ","},
                    {" ' ", "'"},    {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"},
                    {" 've", "'ve"}, {" 're", "'re"}};

/* Replaces every occurrence from left to right; `to` is no longer than `from`. Returns the new
 * length of text: [n]. */
static size_t replace(char *text, size_t n, const char *from, const char *to)
{
    const size_t n_from = strlen(from), n_to = strlen(to);
    size_t end = 0;

    for (size_t at = 0; at < n;) {
        if (n - at >= n_from && memcmp(text + at, from, n_from) == 0) {
            memcpy(text + end, to, n_to);
            end += n_to;
            at += n_from;
        } else {
            text[end++] = text[at++];
        }
    }
    return end;
}

void dinm_tokenizer_clean(struct dinm_buffer *text, size_t begin)
{
    size_t n = text->n_bytes - begin;

    for (size_t i = 0; n > 0 && i < sizeof replacements / sizeof *replacements; i++) {
        n = replace(text->data + begin, n, replacements[i].from, replacements[i].to);
    }
    text->n_bytes = begin + n;
    if (text->data != NULL) {
        text->data[text->n_bytes] = '\0';
    }
}

/* refusal_dump: for every text on stdin, each ended by a NUL, one line: 1 if it refuses, else 0.
 * For tests/golden/refusal.py. */
#include <stdio.h>
#include "io/mem.h"
#include "pipeline/refusal.h"

int main(void)
{
    int status = DINM_OK;
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    for (int c = getchar(); c != EOF; c = getchar()) {
        const char byte = (char)c;
        TRY(dinm_buffer_append(&text, &byte, 1, &err));
        if (byte == '\0') {
            printf("%d\n", dinm_refusal_found(text.data));
            text.n_bytes = 0;
        }
    }
out:
    if (status < 0) {
        fprintf(stderr, "refusal_dump: %s\n", err.text);
    }
    dinm_buffer_free(&text);
    return status < 0;
}

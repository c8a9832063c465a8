/* encoder_dump FOLDER: for every line of token ids on stdin one line of logits, exactly. All texts
 * go through the classifier together. For tests/golden/encoder.py. */
#include <stdio.h>
#include <stdlib.h>
#include "io/mem.h"
#include "model/encoder.h"

struct input {
    void *ids, *first; /* int32_t, size_t */
    size_t n_ids, n_texts, ids_capacity, first_capacity;
};

static int put(struct input *in, const char *number, struct dinm_error *err)
{
    if (dinm_grow(&in->ids, &in->ids_capacity, in->n_ids + 1, sizeof(int32_t), "ids", err) < 0) {
        return DINM_FAILED;
    }
    ((int32_t *)in->ids)[in->n_ids++] = (int32_t)strtol(number, NULL, 10);
    return DINM_OK;
}

/* A number ends at any character that is no digit, a text at the end of its line. */
static int read_input(struct input *in, struct dinm_error *err)
{
    char number[16];
    size_t n = 0;
    for (int c = getchar(); c != EOF; c = getchar()) {
        if (c >= '0' && c <= '9' && n + 1 < sizeof number) {
            number[n++] = (char)c;
            continue;
        }
        number[n] = '\0';
        if (n > 0 && put(in, number, err) < 0) {
            return DINM_FAILED;
        }
        n = 0;
        if (c == '\n') {
            if (dinm_grow(&in->first, &in->first_capacity, in->n_texts + 2, sizeof(size_t), "texts",
                          err) < 0) {
                return DINM_FAILED;
            }
            ((size_t *)in->first)[++in->n_texts] = in->n_ids;
        }
    }
    return DINM_OK;
}

int main(int argc, char **argv)
{
    int status = DINM_FAILED;
    struct dinm_error err = {0};
    struct dinm_encoder *e = NULL;
    struct input in = {0};
    float *logits = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: encoder_dump FOLDER < ids\n");
        return 2;
    }
    TRY(read_input(&in, &err));
    TRY(dinm_encoder_open(&e, argv[1], 0, 0, &err));
    const size_t n_labels = dinm_encoder_get_config(e)->n_labels;
    logits = dinm_alloc(in.n_texts * n_labels, sizeof *logits, "logits", &err);
    if (logits == NULL) {
        status = DINM_FAILED;
        goto out;
    }
    TRY(dinm_encoder_classify(e, logits, in.ids, in.first, in.n_texts, &err));
    for (size_t i = 0; i < in.n_texts * n_labels; i++) {
        printf("%.9g%c", (double)logits[i], (i + 1) % n_labels == 0 ? '\n' : ' ');
    }
out:
    if (status < 0) {
        fprintf(stderr, "encoder_dump: %s\n", err.text);
    }
    dinm_encoder_close(e);
    free(in.ids);
    free(in.first);
    free(logits);
    return status < 0;
}

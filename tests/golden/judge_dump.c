/* judge_dump FOLDER|refusal [UNSAFE_LABEL]: for every text on stdin, each ended by a NUL, one line:
 * label, score, tokens cut. For tests/golden/refusal.py and judge.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/judge.h"

/* All of stdin, and the number of texts in it. */
static int read_all(struct dinm_buffer *text, size_t *n_texts, struct dinm_error *err)
{
    int status = DINM_OK;
    *n_texts = 0;
    for (int c = getchar(); c != EOF; c = getchar()) {
        const char byte = (char)c;
        TRY(dinm_buffer_append(text, &byte, 1, err));
        *n_texts += byte == '\0';
    }
out:
    return status;
}

int main(int argc, char **argv)
{
    int status = DINM_OK;
    struct dinm_error err = {0};
    struct dinm_settings settings = {0};
    struct dinm_judge_model model = {0};
    struct dinm_buffer text = {0};
    const char **texts = NULL;
    struct dinm_verdict *verdicts = NULL;
    size_t n_texts = 0;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: judge_dump FOLDER|refusal [UNSAFE_LABEL] < texts\n");
        return 2;
    }
    TRY(dinm_settings_init(&settings, DINM_PROFILE_PAPER, &err));
    TRY(dinm_settings_apply_text(&settings, "judge.path", argv[1], &err));
    TRY(dinm_settings_apply_text(&settings, "judge.unsafe_label", argc > 2 ? argv[2] : "", &err));
    TRY(dinm_judge_model_open(&model, &settings, &err));
    TRY(read_all(&text, &n_texts, &err));
    texts = dinm_alloc(n_texts, sizeof *texts, "texts", &err);
    verdicts = dinm_alloc(n_texts, sizeof *verdicts, "verdicts", &err);
    TRY(texts != NULL && verdicts != NULL ? DINM_OK : DINM_FAILED);
    const char *at = text.data;
    for (size_t i = 0; i < n_texts; i++) {
        texts[i] = at;
        at += strlen(at) + 1;
    }
    TRY(dinm_judge_texts(&model, texts, n_texts, verdicts, &err));
    for (size_t i = 0; i < n_texts; i++) {
        printf("%g %.17g %zu\n", verdicts[i].label, verdicts[i].score, verdicts[i].n_cut);
    }
out:
    if (status < 0) {
        fprintf(stderr, "judge_dump: %s\n", err.text);
    }
    dinm_judge_model_close(&model);
    dinm_settings_free(&settings);
    dinm_buffer_free(&text);
    free(texts);
    free(verdicts);
    return status < 0;
}

/* Scoring of short answers to general questions, as benchmarks of TriviaQA do. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/metrics.h"
#include "pipeline/metrics_rewrite.h"

/* The response's own part, before what an answer gets too. */
enum { N_RESPONSE_RULES = 6 };
static const struct dinm_rewrite_rule rules[] = {
    {"\\A\\s+", ""},
    {"(?s)\\n.*", ""},
    {"(?s).+", "\\L$0"},
    /* what follows the last of each */
    {"(?s)\\A.*answer is", ""},
    {"(?s)\\A.*a:", ""},
    {"(?s)\\A.*answer:", ""},
    /* response and answers */
    {"(?s)[\\n.,].*", ""},
    {"[^\\w\\s]", ""},
    {"(?i)\\b(?:an?|the)\\b", ""},
    {"\\s+", " "},
    {"\\A | \\z", ""},
    {"(?s).+", "\\L$0"},
};
enum { N_RULES = sizeof rules / sizeof rules[0] };

static int contains_answer(struct dinm_rewriter *w, const char *response,
                           const char *const *answers, size_t n_answers, bool *right,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < n_answers && !*right; i++) {
        const char *answer = NULL;
        size_t n = 0;
        TRY(dinm_rewriter_apply(w, answers[i], strlen(answers[i]), &answer, &n, err));
        /* an answer of nothing but articles and signs would be in every response */
        *right = n > 0 && strstr(response, answer) != NULL;
    }
out:
    return status;
}

int dinm_kqa_right(const char *response, const char *const *answers, size_t n_answers, bool *right,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_rewriter of_response = {0}, of_answer = {0};
    const char *text = NULL;
    size_t n = 0;
    bool found = false;
    TRY(dinm_rewriter_open(&of_response, rules, N_RULES, err));
    TRY(dinm_rewriter_open(&of_answer, rules + N_RESPONSE_RULES, N_RULES - N_RESPONSE_RULES, err));
    TRY(dinm_rewriter_apply(&of_response, response, strlen(response), &text, &n, err));
    TRY(contains_answer(&of_answer, text, answers, n_answers, &found, err));
    *right = found;
out:
    dinm_rewriter_close(&of_answer);
    dinm_rewriter_close(&of_response);
    return status;
}

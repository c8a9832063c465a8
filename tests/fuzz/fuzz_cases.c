/* Any bytes as "<ids> NUL <case file>"; also read as a file of questions. */
#include "io/cases.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static void check_case(const struct dinm_case *c)
{
    const char *const texts[] = {c->category, c->question,          c->safe,
                                 c->unsafe,   c->constraint_prompt, c->constraint_answer};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        require(texts[i] != NULL && texts[i][0] != '\0');
    }
    for (size_t i = 0; i < DINM_N_INPUTS; i++) {
        require(c->inputs[i] != NULL && c->inputs[i][0] != '\0');
    }
}

static void try_cases(const char *ids, const char *text, size_t n_bytes)
{
    struct dinm_cases c = {0};
    struct dinm_error err = {0};
    size_t n;

    if (dinm_cases_parse(&c, "fuzz", text, n_bytes, &err) < 0) {
        require(c.cases == NULL && c.tree == NULL && err.text[0] != '\0');
        return;
    }
    require(c.n_cases > 0);
    n = c.n_cases;
    if (dinm_cases_select(&c, ids, 0, &err) < 0) {
        require(c.n_cases == n && err.text[0] != '\0');
    }
    for (size_t i = 0; i < c.n_cases; i++) {
        check_case(&c.cases[i]);
    }
    dinm_cases_free(&c);
}

static void try_questions(const char *text, size_t n_bytes)
{
    struct dinm_questions q = {0};
    struct dinm_error err = {0};

    if (dinm_questions_parse(&q, "fuzz", text, n_bytes, &err) < 0) {
        require(q.questions == NULL && q.tree == NULL && err.text[0] != '\0');
        return;
    }
    for (size_t i = 0; i < q.n_questions; i++) {
        require(q.questions[i].question[0] != '\0' && q.questions[i].n_answers > 0);
        for (size_t k = 0; k < q.questions[i].n_answers; k++) {
            require(q.questions[i].answers[k][0] != '\0');
        }
    }
    dinm_questions_free(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const char *text = (const char *)bytes;
    const char *end = n_bytes > 0 ? memchr(text, '\0', n_bytes) : NULL;

    if (end != NULL) {
        text = end + 1;
        n_bytes -= (size_t)(text - (const char *)bytes);
        try_cases((const char *)bytes, text, n_bytes);
    } else {
        try_cases(NULL, text, n_bytes);
    }
    try_questions(text, n_bytes);
    return 0;
}

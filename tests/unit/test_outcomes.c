/* Unit tests of pipeline/outcomes.h: journal payloads back to structures, distinct responses. */
#include <math.h>
#include "faults.h"
#include "pipeline/outcomes.h"

#define ANSWER(text) "{\"response\": \"" text "\", \"n_tokens\": 4, \"cut\": 1}"
#define ANSWERS                                                                                    \
    "[" ANSWER("no") ", " ANSWER("n1") ", " ANSWER("no") ", " ANSWER("n3") ", " ANSWER("") "]"

enum { N_PROMPTS = 3, N_CASES = 2 };

/* Two cases that share prompts: one edited, the other failed. */
struct world {
    struct dinm_job job;
    char *vanilla[N_PROMPTS], *edited[N_CASES];
    size_t of_input[N_CASES * DINM_N_INPUTS];
};

static char first_case[] =
    "{\"layer\": 2, \"losses\": [[1.5, 1, 0.5], [null, 2, 3]], \"answers\": " ANSWERS
    ", \"kqa_right\": 6}";
static char second_case[] = "{\"failed\": \"it would not\"}";

static void world_open(struct world *w)
{
    static char yes[] = ANSWER("yes"), no[] = ANSWER("no"), unasked[] = ANSWER("unasked");

    *w = (struct world){.vanilla = {yes, no, unasked},
                        .edited = {first_case, second_case},
                        .of_input = {0, 1, 0, 1, 0, 1, 1, 1, 1, 1}};
    w->job.prompts.n_prompts = N_PROMPTS;
    w->job.prompts.of_input = w->of_input;
    w->job.cases.n_cases = N_CASES;
    w->job.records[DINM_VANILLA] = (struct dinm_records){.payloads = w->vanilla, .n_units = 3};
    w->job.records[DINM_EDIT] = (struct dinm_records){.payloads = w->edited, .n_units = 2};
}

static int run(void *context, struct dinm_error *err)
{
    struct world *w = context;
    struct dinm_outcomes o;
    int status = dinm_outcomes_open(&o, &w->job, err);

    dinm_outcomes_close(&o);
    dinm_outcomes_close(&o);
    return status;
}

static void payloads_come_back(void **state)
{
    static const float losses[] = {1.5F, 1.0F, 0.5F};
    struct world w;
    struct dinm_outcomes o;
    struct dinm_error err = {0};
    const struct dinm_edited *e;

    (void)state;
    world_open(&w);
    assert_ok(dinm_outcomes_open(&o, &w.job, &err), &err);
    e = o.edited;
    assert_string_equal(o.vanilla[2].text, "unasked");
    assert_true(o.vanilla[2].n_tokens == 4 && o.vanilla[2].n_cut == 1);
    assert_null(e[0].failed);
    assert_true(e[0].layer == 2 && e[0].kqa_right == 6);
    assert_int_equal(e[0].n_losses, 2);
    assert_memory_equal(e[0].losses, losses, sizeof losses);
    assert_true(isnan(e[0].losses[3]) && e[0].losses[5] == 3.0F);
    assert_string_equal(e[0].answers[3].text, "n3");
    assert_string_equal(e[1].failed, "it would not");
    assert_true(e[1].layer == -1 && e[1].kqa_right == -1 && e[1].n_losses == 0);
    dinm_outcomes_close(&o);
}

/* Each response once, in the order of first use; nothing of a failed case, nor of a prompt that
 * only general questions ask. */
static void each_response_is_judged_once(void **state)
{
    static const char *const texts[] = {"yes", "no", "n1", "n3", ""};
    static const size_t of_answer[] = {0, 1, 1, 2, 0, 1, 1, 3, 0, 4};
    struct world w;
    struct dinm_outcomes o;
    struct dinm_error err = {0};

    (void)state;
    world_open(&w);
    assert_ok(dinm_outcomes_open(&o, &w.job, &err), &err);
    assert_int_equal(o.n_texts, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(o.texts[i], texts[i]);
    }
    assert_memory_equal(o.of_answer, of_answer, sizeof of_answer);
    for (size_t i = 10; i < 20; i++) {
        assert_int_equal(o.of_answer[i], 4); /* "", on both sides */
    }
    dinm_outcomes_close(&o);
}

static void broken_payloads_are_errors(void **state)
{
    static const struct {
        const char *edited, *part;
    } bad[] = {
        {NULL, "no record of unit 0"},
        {"{", "the journal"},
        {"{\"losses\": [], \"answers\": " ANSWERS "}", "layer"},
        {"{\"layer\": -1, \"losses\": [], \"answers\": " ANSWERS "}", "layer"},
        {"{\"layer\": 1, \"answers\": " ANSWERS "}", "losses"},
        {"{\"layer\": 1, \"losses\": [], \"answers\": [" ANSWER("a") "]}", "lacks answer 1"},
        {"{\"layer\": 1, \"losses\": [], \"answers\": [{\"n_tokens\": 1, \"cut\": 0}]}",
         "response"},
        {"{\"layer\": 1, \"losses\": [], \"kqa_right\": \"x\", \"answers\": " ANSWERS "}",
         "kqa_right"},
        {"{\"layer\": 1, \"losses\": [[1, 2]], \"answers\": " ANSWERS "}", "losses"},
        {"{\"layer\": 1, \"losses\": [[1, 2, 3, 4]], \"answers\": " ANSWERS "}", "losses"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct world w;
        struct dinm_error err = {0};

        world_open(&w);
        w.edited[0] =
            bad[i].edited ? dinm_copy_text(bad[i].edited, strlen(bad[i].edited), NULL) : NULL;
        assert_failed(run(&w, &err), DINM_FAILED, &err, bad[i].part);
        free(w.edited[0]);
    }
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    fail_each_allocation(run, &w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_come_back),
        cmocka_unit_test(each_response_is_judged_once),
        cmocka_unit_test(broken_payloads_are_errors),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The plan of the demo's job: the same on every rank, its sums, its choice of stages against trying
 * them all, and every limit named. */
#include <math.h>
#include "pipeline/limits.h"
#include "pipeline/plan.h"
#include "pipeline/settings_table.h"
#include "tests/mpi/expect.h"

#define DEMO DINM_SOURCE_DIR "/jobs/demo/"

static void set(struct dinm_settings *s, const char *key, const char *value)
{
    struct dinm_error err = {0};
    EXPECT(dinm_settings_apply_text(s, key, value, &err) == DINM_OK);
}

static void open_settings(struct dinm_settings *s)
{
    struct dinm_error err = {0};
    EXPECT(dinm_settings_init(s, DINM_PROFILE_PAPER, &err) == DINM_OK);
    set(s, "model.path", DEMO "model");
    set(s, "judge.path", DEMO "judge");
    set(s, "cases.path", DEMO "cases.json");
    set(s, "cases.limit", "9");
    set(s, "run.batch", "2");
    set(s, "generate.max_new_tokens", "50");
}

/* The lengths of the texts, encoded here once more by this rank alone. */
static void check_lengths(const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    struct dinm_ids ids = {0};
    struct dinm_error err = {0};
    for (size_t i = 0; i < job->prompts.n_prompts; i++) {
        ids.n_ids = 0;
        const char *text = job->prompts.prompts[i].text;
        EXPECT(dinm_prompt_encode(job->tokenizer, job->settings, text, strlen(text), &ids, &err) ==
               DINM_OK);
        EXPECT(plan->lengths.prompts[i] == (int64_t)ids.n_ids);
    }
    for (size_t i = 0; i < job->cases.n_cases; i++) {
        const int64_t *t = plan->lengths.targets + i * DINM_N_TARGET_LENGTHS;
        EXPECT(t[DINM_EDIT_PICKS] > 0 && t[DINM_EDIT_PICKS] < t[DINM_EDIT_ROWS]);
        EXPECT(t[DINM_CONSTRAINT_PICKS] > 0 && t[DINM_CONSTRAINT_PICKS] < t[DINM_CONSTRAINT_ROWS]);
    }
    dinm_ids_free(&ids);
}

static void check_sums(const struct dinm_plan *plan)
{
    double cost = 0.0, weights = 0.0;
    size_t n_layers = plan->job->slice.config.n_layers;
    EXPECT(plan->n_stages * plan->n_groups == plan->n_ranks);
    EXPECT(plan->stages[0].first == 0 && plan->stages[plan->n_stages - 1].last == n_layers);
    for (size_t s = 0; s < plan->n_stages; s++) {
        const struct dinm_plan_stage *stage = &plan->stages[s];
        EXPECT(stage->first < stage->last);
        EXPECT(s == 0 || stage->first == plan->stages[s - 1].last);
        cost += stage->cost;
        weights += stage->memory[DINM_AT_VANILLA].weights;
        for (int at = 0; at < DINM_N_MOMENTS; at++) {
            EXPECT(dinm_plan_total_bytes(&stage->memory[at]) <=
                   dinm_plan_total_bytes(&stage->memory[stage->peak]));
        }
    }
    EXPECT(fabs(cost - 1.0) < 1e-9);
    /* The tensors of jobs/demo/model: 2802816 bytes less the header. */
    EXPECT(weights > 2.79e6 && weights < 2802816.0);
}

/* Caches by hand: 50 new tokens behind five times two neighbours' prompts, in all layers. */
static void check_caches(const struct dinm_plan *plan)
{
    const struct dinm_config *c = &plan->job->slice.config;
    double most = 0.0, seen = 0.0;
    for (size_t i = 0; i + 10 <= plan->job->prompts.n_prompts && plan->n_stages == 1; i++) {
        double sum = 0.0;
        for (size_t k = i; k < i + 10; k++) {
            sum += (double)(plan->lengths.prompts[k] + 50);
        }
        most = sum > most ? sum : most;
    }
    for (size_t s = 0; s < plan->n_stages; s++) {
        seen += plan->stages[s].memory[DINM_AT_VANILLA].caches;
    }
    double row = 2.0 * (double)(c->n_layers * c->n_kv_heads * c->d_head * sizeof(float));
    EXPECT(plan->n_stages > 1 || fabs(seen - most * row) < 0.5);
    EXPECT(seen > 0.0);
}

static void check_work(struct dinm_plan *plan)
{
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    EXPECT(dinm_plan_measure_all(plan, (double[3]){0}, &err) == DINM_OK);
    const struct dinm_plan_work *w = &plan->work[DINM_AT_VANILLA];
    EXPECT(w->n_units == plan->job->prompts.n_prompts);
    EXPECT(w->n_written == 50.0 * (double)w->n_units);
    EXPECT(plan->work[DINM_AT_EDIT].n_units == 9 && plan->work[DINM_AT_LOCATE].n_units == 9);
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        EXPECT(plan->work[at].many > 0.0 && plan->work[at].bytes > 0.0);
        EXPECT(plan->work[at].time_s > 0.0 && plan->work[at].time_s < 1e4);
    }
    EXPECT(plan->disk_left > 0.0 && plan->disk_bytes > 9 * 2 * 7 * 128 * 2);
    EXPECT(dinm_plan_print(plan, &text, &err) == DINM_OK);
    EXPECT_WORDS(text.data, "It fits.");
    for (const char *line = text.data; line != NULL && *line != '\0';) {
        size_t n = strcspn(line, "\n");
        EXPECT(n <= 100 || strncmp(line, "model", 5) == 0 || strncmp(line, "judge", 5) == 0 ||
               strncmp(line, "cases", 5) == 0 || strncmp(line, "stages", 6) == 0);
        line += n + (line[n] == '\n');
    }
    dinm_buffer_free(&text);
}

static double most_of(const struct dinm_plan *plan)
{
    return dinm_plan_node_most(plan, plan->ranks[0].node);
}

/* One node: what is each rank's own, and each stage's layers once. */
static void check_sharing(const struct dinm_plan *plan)
{
    for (int at = DINM_AT_LOCATE; at < DINM_AT_JUDGE; at++) {
        double bytes = 0.0;
        for (size_t s = 0; s < plan->n_stages; s++) {
            const struct dinm_plan_memory *m = &plan->stages[s].memory[at];
            bytes += (double)plan->n_groups * (m->caches + m->edit + m->activations) + m->weights;
        }
        EXPECT(fabs(dinm_plan_node_bytes(plan, plan->ranks[0].node, (enum dinm_moment)at) - bytes) <
               0.5);
    }
}

/* With so much on the first node, the fewest stages of those tried one by one. */
static void check_choice(struct dinm_plan *plan, struct dinm_settings *s)
{
    double needs[8] = {0.0};
    struct dinm_error err = {0};
    size_t n_layers = plan->job->slice.config.n_layers;
    struct dinm_plan_node *node = &plan->nodes[plan->ranks[0].node];
    for (size_t n = 1; n <= plan->n_ranks && n <= n_layers; n++) {
        if (plan->n_ranks % n == 0) {
            s->run.stages = (int64_t)n;
            plan->lack = (struct dinm_error){0};
            EXPECT(dinm_plan_choose(plan, &err) == DINM_OK);
            EXPECT(plan->n_stages == n);
            needs[n] = most_of(plan);
            check_sharing(plan);
        }
    }
    s->run.stages = 0;
    for (size_t wanted = 1; wanted <= plan->n_ranks; wanted++) {
        size_t expected = 1;
        if (needs[wanted] == 0.0) {
            continue;
        }
        node->ram = needs[wanted];
        while (needs[expected] == 0.0 || needs[expected] > node->ram) {
            expected++;
        }
        plan->lack = (struct dinm_error){0};
        plan->reason.n_bytes = 0;
        EXPECT(dinm_plan_choose(plan, &err) == DINM_OK);
        EXPECT(plan->lack.status == DINM_OK && plan->n_stages == expected);
        EXPECT_WORDS(plan->reason.data, expected == 1 ? "can hold the whole model"
                                                      : "the fewest that fit; with fewer, the "
                                                        "ranks on the node of rank 0 need");
    }
    node->ram = 1000.0;
    plan->reason.n_bytes = 0;
    EXPECT(dinm_plan_choose(plan, &err) == DINM_OK);
    EXPECT_WORDS(plan->lack.text, "of RAM left");
    EXPECT_WORDS(plan->reason.data, "no number of stages fits");
    node->ram = HUGE_VAL;
}

static void check_limits(struct dinm_plan *plan)
{
    struct dinm_error cgroup = {0}, space = {0}, none = {0};
    size_t last = plan->n_ranks - 1;
    dinm_plan_check(plan, &none);
    EXPECT(none.status == DINM_OK);
    double before = plan->nodes[last].cgroup;
    plan->nodes[last].cgroup = most_of(plan) / 2.0;
    dinm_plan_check(plan, &cgroup);
    EXPECT_WORDS(cgroup.text, "control group (cgroup) has only");
    plan->nodes[last].cgroup = before;
    plan->ranks[last].space = 3e6; /* the model's file alone nearly fills it */
    dinm_plan_check(plan, &space);
    EXPECT_WORDS(space.text, "address space");
    plan->ranks[last].space = HUGE_VAL;
}

static void check_given_cut(struct dinm_plan *plan, struct dinm_settings *s)
{
    struct dinm_error err = {0};
    if (plan->n_ranks % 2 != 0) {
        return;
    }
    set(s, "run.layer_cut", "[4,2]");
    EXPECT(dinm_plan_choose(plan, &err) == DINM_OK);
    EXPECT(plan->n_stages == 2 && plan->first[1] == 4);
    set(s, "run.layer_cut", "4,3");
    EXPECT(dinm_plan_choose(plan, &err) == DINM_USAGE);
    EXPECT_WORDS(err.text, "found a sum of 7");
    set(s, "run.layer_cut", "[]");
}

int main(int argc, char **argv)
{
    int status, n_ranks;
    struct dinm_settings s;
    struct dinm_job job = {0};
    struct dinm_plan plan = {0};
    struct dinm_error err = {0};
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &n_ranks);
    open_settings(&s);
    status = dinm_job_open_all(&job, MPI_COMM_WORLD, &s, NULL, &err);
    EXPECT(status == DINM_OK);
    if (status == DINM_OK) {
        EXPECT(dinm_plan_make_all(&plan, &job, &err) == DINM_OK);
        EXPECT(plan.n_stages == 1 && plan.n_ranks == (size_t)n_ranks);
        check_lengths(&plan);
        check_sums(&plan);
        check_caches(&plan);
        check_work(&plan);
        check_choice(&plan, &s);
        check_sums(&plan);
        check_limits(&plan);
        check_given_cut(&plan, &s);
    }
    if (err.text[0] != '\0' && status != DINM_OK) {
        fprintf(stderr, "%s\n", err.text);
    }
    dinm_plan_free(&plan);
    dinm_plan_free(&plan);
    dinm_job_close_all(&job);
    dinm_settings_free(&s);
    status = verdict_all();
    MPI_Finalize();
    return status;
}

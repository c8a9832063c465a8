/* Operations, bytes and time. A multiplication with its addition is two operations. */
#include <math.h>
#include "pipeline/edit.h"
#include "pipeline/plan.h"

/* How much longer one row of a decoding batch takes than one of many rows: each weight is read from
 * memory for few of them. For the cut alone, which must not depend on how busy a machine is. */
static const double few_per_many = 4.0;

/* All tokens of the job. */
struct tokens {
    double locate;                        /* rows, padding included */
    double locate_square;                 /* sum of squared lengths, for attention */
    double read[2], read_square[2];       /* prompts of vanilla and of edited answers */
    double written[2], attended[2];       /* tokens, and the keys that all of them see */
    double targets, target_square, picks; /* rows of the edits' texts, and those with a loss */
    size_t n_answers[2];
};

static void add_answer(struct tokens *t, int side, double n_ids, double n_new)
{
    t->n_answers[side]++;
    t->read[side] += n_ids;
    t->read_square[side] += n_ids * n_ids;
    t->written[side] += n_new;
    t->attended[side] += n_new * (n_ids + 0.5 * n_new);
}

static void add_questions(struct tokens *t, const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    enum dinm_kqa_on on = job->settings->evaluate.kqa_on;
    size_t n_times = on == DINM_KQA_ALL ? job->cases.n_cases : on == DINM_KQA_FIRST ? 1 : 0;
    for (size_t q = 0; q < job->questions.n_questions; q++) {
        size_t p = job->prompts.of_question[q];
        for (size_t i = 0; i < n_times; i++) {
            add_answer(t, 1, (double)plan->lengths.prompts[p],
                       (double)job->prompts.prompts[p].max_new);
        }
    }
}

static struct tokens count_tokens(const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    const struct dinm_plan_lengths *l = &plan->lengths;
    struct tokens t = {0};
    for (size_t i = 0; i < job->prompts.n_prompts; i++) {
        add_answer(&t, 0, (double)l->prompts[i], (double)job->prompts.prompts[i].max_new);
    }
    for (size_t i = 0; i < job->cases.n_cases * DINM_N_INPUTS; i++) {
        add_answer(&t, 1, (double)l->edited[i], (double)job->settings->generate.max_new_tokens);
    }
    add_questions(&t, plan);
    for (size_t i = 0; i < job->cases.n_cases; i++) {
        const int64_t *target = l->targets + i * DINM_N_TARGET_LENGTHS;
        double edit = (double)target[DINM_EDIT_ROWS];
        double constraint = (double)target[DINM_CONSTRAINT_ROWS];
        size_t safe = job->responses[i].side[0].n_ids, unsafe = job->responses[i].side[1].n_ids;
        double n = (double)(safe > unsafe ? safe : unsafe);
        t.locate += 2.0 * n;
        t.locate_square += 2.0 * n * n;
        t.targets += edit + constraint;
        t.target_square += edit * edit + constraint * constraint;
        t.picks += (double)(target[DINM_EDIT_PICKS] + target[DINM_CONSTRAINT_PICKS]);
    }
    return t;
}

void dinm_plan_costs(const struct dinm_plan *plan, double *costs)
{
    const struct dinm_config *c = &plan->job->slice.config;
    struct tokens t = count_tokens(plan);
    double steps =
        dinm_edit_is_wanted(plan->job->settings) ? (double)plan->job->settings->edit.steps : 0.0;
    double written = t.written[0] + t.written[1], matrix = (double)c->d_model * (double)c->d_ff;
    double rows = t.locate + t.read[0] + t.read[1] + t.targets + few_per_many * written;
    for (size_t l = 0; l < c->n_layers; l++) {
        double layer = (double)plan->layers[l].n_products;
        costs[l] = rows * layer;
        /* Every step goes forward and back through the layers above. */
        costs[l] += l > plan->usual_layer ? 2.0 * steps * t.targets * layer : 0.0;
        costs[l] += l == plan->usual_layer ? 2.0 * steps * t.targets * matrix : 0.0;
    }
    costs[c->n_layers - 1] +=
        (few_per_many * written + 2.0 * steps * t.picks) * (double)plan->head.n_products;
}

/* Layers [first, last) and, with it, the head. */
static double products(const struct dinm_plan *plan, size_t first, size_t last)
{
    double n = 0.0;
    for (size_t l = first; l < last; l++) {
        n += (double)plan->layers[l].n_products;
    }
    return n;
}

static double bytes_of(const struct dinm_plan *plan, size_t first, size_t last)
{
    double n = 0.0;
    for (size_t l = first; l < last; l++) {
        n += (double)plan->layers[l].n_bytes;
    }
    return n;
}

/* Scores and sums of one layer for so many pairs of a row and a key it sees. */
static double attention(const struct dinm_config *c, double n_pairs)
{
    return 4.0 * n_pairs * (double)(c->n_heads * c->d_head);
}

static void work_locate(const struct dinm_plan *plan, const struct tokens *t,
                        struct dinm_plan_work *w)
{
    const struct dinm_config *c = &plan->job->slice.config;
    w->n_units = plan->job->cases.n_cases;
    w->n_read = t->locate;
    w->many = 2.0 * t->locate * products(plan, 0, c->n_layers) +
              (double)c->n_layers * attention(c, 0.5 * t->locate_square);
    w->bytes = (double)w->n_units * bytes_of(plan, 0, c->n_layers);
}

static void work_answers(const struct dinm_plan *plan, const struct tokens *t, int side,
                         struct dinm_plan_work *w)
{
    const struct dinm_config *c = &plan->job->slice.config;
    double all = products(plan, 0, c->n_layers), head = (double)plan->head.n_products;
    double weights = bytes_of(plan, 0, c->n_layers), n_layers = (double)c->n_layers;
    double row = dinm_plan_kv_bytes(plan);
    double few = (double)dinm_plan_few_rows(plan, side == 0 ? DINM_AT_VANILLA : DINM_AT_ANSWER);
    w->n_units = side == 0 ? t->n_answers[0] : plan->job->cases.n_cases;
    w->n_read = t->read[side];
    w->n_written = t->written[side];
    w->many = 2.0 * t->read[side] * all + n_layers * attention(c, 0.5 * t->read_square[side]);
    w->few = 2.0 * t->written[side] * (all + head) + n_layers * attention(c, t->attended[side]);
    w->bytes = ceil(t->read[side] / (double)plan->job->generator.max_rows) * weights +
               t->written[side] / few * (weights + (double)plan->head.n_bytes) +
               t->attended[side] * n_layers * row;
}

/* Below the edited layer once; the matrix forward and its gradient, the layers above and the head
 * forward and back, every step. */
static void work_edit(const struct dinm_plan *plan, const struct tokens *t,
                      struct dinm_plan_work *w)
{
    const struct dinm_job *job = plan->job;
    const struct dinm_config *c = &job->slice.config;
    double matrix = (double)c->d_model * (double)c->d_ff, steps = (double)job->settings->edit.steps;
    size_t l = plan->usual_layer;
    double n_above = (double)(c->n_layers - l - 1), n = (double)job->cases.n_cases;
    w->n_units = job->cases.n_cases;
    if (t->targets == 0.0) {
        return;
    }
    w->n_read = t->targets;
    w->many = 2.0 * t->targets * products(plan, 0, l + 1) +
              (double)(l + 1) * attention(c, 0.5 * t->target_square) +
              steps * (4.0 * t->targets * (matrix + products(plan, l + 1, c->n_layers)) +
                       4.0 * t->picks * (double)plan->head.n_products +
                       3.0 * n_above * attention(c, 0.5 * t->target_square));
    /* The optimiser reads w, m, v and the gradient, and writes the first three. */
    w->bytes = n * (bytes_of(plan, 0, l + 1) +
                    steps * (2.0 * bytes_of(plan, l + 1, c->n_layers) +
                             2.0 * (double)plan->head.n_bytes + 7.0 * matrix * sizeof(float)));
}

/* Which responses will be equal is not known: all, as long as they may be. Answers to general
 * questions are not judged. */
static void work_judge(const struct dinm_plan *plan, struct dinm_plan_work *w)
{
    const struct dinm_job *job = plan->job;
    size_t n_inputs = job->cases.n_cases * DINM_N_INPUTS;
    w->n_units = job->prompts.n_prompts - job->questions.n_questions + n_inputs;
    if (job->judge.encoder == NULL) {
        return; /* looking for phrases takes no time to speak of */
    }
    const struct dinm_encoder_config *c = dinm_encoder_get_config(job->judge.encoder);
    double most = (double)job->judge.n_most, d = (double)c->d_model;
    double n_new = (double)plan->job->settings->generate.max_new_tokens;
    double n = (double)w->n_units, length = n_new < most ? n_new : most;
    w->n_read = n * length;
    w->many = (double)c->n_layers * (2.0 * w->n_read * (4.0 * d * d + 2.0 * d * (double)c->d_ff) +
                                     4.0 * w->n_read * length * d);
    w->bytes = ceil(w->n_read / 1024.0) * plan->judge_bytes;
}

/* Time of all ranks together: each stage has its share, the dearest is waited for, and the groups
 * get whole units. */
static double time_of(const struct dinm_plan *plan, enum dinm_moment moment,
                      const struct dinm_plan_work *w)
{
    double many = 0.0, few = 0.0, dearest = 0.0;
    for (size_t r = 0; r < plan->n_ranks; r++) {
        many += plan->ranks[r].many;
        few += plan->ranks[r].few[moment == DINM_AT_VANILLA ? 0 : 1];
    }
    for (size_t s = 0; s < plan->n_stages; s++) {
        dearest = plan->stages[s].cost > dearest ? plan->stages[s].cost : dearest;
    }
    double time_s = (w->many > 0.0 ? w->many / many : 0.0) + (w->few > 0.0 ? w->few / few : 0.0);
    double n_workers = moment == DINM_AT_JUDGE ? (double)plan->n_ranks : (double)plan->n_groups;
    double turns = (double)w->n_units / n_workers;
    double whole = turns > 0.0 ? ceil(turns) / turns : 1.0;
    return time_s * (moment == DINM_AT_JUDGE ? 1.0 : dearest * (double)plan->n_stages) *
           (whole < n_workers ? whole : n_workers);
}

void dinm_plan_count_work(struct dinm_plan *plan)
{
    struct tokens t = count_tokens(plan);
    work_locate(plan, &t, &plan->work[DINM_AT_LOCATE]);
    work_answers(plan, &t, 0, &plan->work[DINM_AT_VANILLA]);
    work_edit(plan, &t, &plan->work[DINM_AT_EDIT]);
    work_answers(plan, &t, 1, &plan->work[DINM_AT_ANSWER]);
    work_judge(plan, &plan->work[DINM_AT_JUDGE]);
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        plan->work[at].time_s = time_of(plan, (enum dinm_moment)at, &plan->work[at]);
    }
}

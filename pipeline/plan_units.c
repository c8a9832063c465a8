/* What a unit costs, so that units can be dealt evenly. Only the proportions matter. */
#include "pipeline/plan.h"

/* Multiplications in the time of one byte from memory, on a machine whose cores are all busy. */
static const double per_byte = 5.0;

/* Prices of a row. */
struct prices {
    double layers, head; /* products of all layers; of the head */
    double few;          /* a row of a decoding batch, head included */
    double key;          /* a key that such a row attends to */
    double below, above; /* an edit's row: up to the edited layer; of each step, there and above */
    double steps;
};

/* The weights are read once for all rows of a pass. */
static struct prices prices_of(const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    const struct dinm_config *c = &job->slice.config;
    struct prices p = {.head = (double)plan->head.n_products,
                       .above = (double)c->d_model * (double)c->d_ff,
                       .steps = (double)job->settings->edit.steps};
    double bytes = (double)plan->head.n_bytes;
    for (size_t l = 0; l < c->n_layers; l++) {
        double n = (double)plan->layers[l].n_products;
        p.layers += n;
        p.below += l <= plan->usual_layer ? n : 0.0;
        p.above += l > plan->usual_layer ? n : 0.0;
        bytes += (double)plan->layers[l].n_bytes;
    }
    double n_rows = (double)dinm_plan_few_rows(plan, DINM_AT_ANSWER);
    p.few = p.layers + p.head + per_byte * bytes / (n_rows > 1.0 ? n_rows : 1.0);
    p.key = (double)c->n_layers *
            (2.0 * (double)(c->n_heads * c->d_head) + per_byte * dinm_plan_kv_bytes(plan));
    return p;
}

static double cost_of_answer(const struct prices *p, int64_t n_ids, size_t n_new)
{
    double read = (double)n_ids, written = (double)n_new;
    return read * p->layers + written * (p->few + (read + 0.5 * written) * p->key);
}

static double cost_of_prompt(const struct dinm_plan *plan, const struct prices *p, size_t prompt)
{
    return cost_of_answer(p, plan->lengths.prompts[prompt],
                          plan->job->prompts.prompts[prompt].max_new);
}

static double cost_of_case(const struct dinm_plan *plan, const struct prices *p, size_t i)
{
    const struct dinm_job *job = plan->job;
    const int64_t *target = plan->lengths.targets + i * DINM_N_TARGET_LENGTHS;
    enum dinm_kqa_on on = job->settings->evaluate.kqa_on;
    double n_rows = (double)(target[DINM_EDIT_ROWS] + target[DINM_CONSTRAINT_ROWS]);
    double n_picks = (double)(target[DINM_EDIT_PICKS] + target[DINM_CONSTRAINT_PICKS]);
    double cost = n_rows * p->below + 2.0 * p->steps * (n_rows * p->above + n_picks * p->head);
    for (size_t k = 0; k < DINM_N_INPUTS; k++) {
        cost += cost_of_answer(p, plan->lengths.edited[i * DINM_N_INPUTS + k],
                               (size_t)job->settings->generate.max_new_tokens);
    }
    if (on == DINM_KQA_ALL || (on == DINM_KQA_FIRST && i == 0)) {
        for (size_t q = 0; q < job->questions.n_questions; q++) {
            cost += cost_of_prompt(plan, p, job->prompts.of_question[q]);
        }
    }
    return cost;
}

static double cost_of_located(const struct dinm_plan *plan, const struct prices *p, size_t i)
{
    const struct dinm_ids *side = plan->job->responses[i].side;
    size_t n = side[0].n_ids > side[1].n_ids ? side[0].n_ids : side[1].n_ids;
    return 2.0 * (double)n * p->layers;
}

void dinm_plan_unit_costs(const struct dinm_plan *plan, enum dinm_phase phase, double *costs)
{
    const struct prices p = prices_of(plan);
    size_t n = phase == DINM_VANILLA ? plan->job->prompts.n_prompts : plan->job->cases.n_cases;
    for (size_t i = 0; i < n; i++) {
        costs[i] = phase == DINM_VANILLA  ? cost_of_prompt(plan, &p, i)
                   : phase == DINM_LOCATE ? cost_of_located(plan, &p, i)
                                          : cost_of_case(plan, &p, i);
    }
}

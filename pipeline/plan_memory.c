/* What the stages will allocate, file by file: stage_read.c and stage_late.c (caches),
 * stage_edit*.c (edits), stage_locate.c, workspace.c. A change there is a change here; the measured
 * proof is tests/bench/memory.py. */
#include "pipeline/decode.h"
#include "pipeline/edit.h"
#include "pipeline/judge.h"
#include "pipeline/plan.h"

/* A function of one of a row of things. */
typedef double of_index(const struct dinm_plan *plan, size_t i);

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Units are handed out in order, so those worked on at once are neighbours: the largest sum of
 * `width` neighbours among n. */
static double largest_window(const struct dinm_plan *plan, of_index *f, size_t n, size_t width)
{
    double sum = 0.0, most = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += f(plan, i);
        sum -= i >= width ? f(plan, i - width) : 0.0;
        most = sum > most ? sum : most;
    }
    return most;
}

static double max_new(const struct dinm_plan *plan)
{
    return (double)plan->job->settings->generate.max_new_tokens;
}

/* Positions of a cache, as decode.c makes it. */
static double capacity(const struct dinm_plan *plan, double n_ids, double n_new)
{
    return least(n_ids + n_new, (double)plan->job->slice.config.n_positions);
}

static double vanilla_capacity(const struct dinm_plan *plan, size_t i)
{
    return capacity(plan, (double)plan->lengths.prompts[i],
                    (double)plan->job->prompts.prompts[i].max_new);
}

static double vanilla_rows(const struct dinm_plan *plan, size_t i)
{
    return (double)plan->lengths.prompts[i];
}

static double edited_capacity(const struct dinm_plan *plan, size_t i)
{
    return capacity(plan, (double)plan->lengths.edited[i], max_new(plan));
}

static double edited_rows(const struct dinm_plan *plan, size_t i)
{
    return (double)plan->lengths.edited[i];
}

/* Both responses, the shorter one padded. */
static double locate_rows(const struct dinm_plan *plan, size_t i)
{
    const struct dinm_response_ids *r = &plan->job->responses[i];
    return 2.0 *
           (double)(r->side[0].n_ids > r->side[1].n_ids ? r->side[0].n_ids : r->side[1].n_ids);
}

static double target_rows(const struct dinm_plan *plan, size_t i)
{
    const int64_t *t = plan->lengths.targets + i * DINM_N_TARGET_LENGTHS;
    return (double)(t[DINM_EDIT_ROWS] + t[DINM_CONSTRAINT_ROWS]);
}

/* Rows of logits: logits and gradient of all, log-probabilities before of the second text's. */
static double target_logits(const struct dinm_plan *plan, size_t i)
{
    const int64_t *t = plan->lengths.targets + i * DINM_N_TARGET_LENGTHS;
    return 2.0 * (double)t[DINM_EDIT_PICKS] + 3.0 * (double)t[DINM_CONSTRAINT_PICKS];
}

/* The longest of all that is read, for attention's scratch. */
static size_t most_keys(const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    double most = 0.5 * largest_window(plan, locate_rows, job->cases.n_cases, 1);
    double others[] = {
        largest_window(plan, vanilla_capacity, job->prompts.n_prompts, 1),
        largest_window(plan, edited_capacity, job->cases.n_cases * DINM_N_INPUTS, 1),
        largest_window(plan, target_rows, job->cases.n_cases, 1),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        most = others[i] > most ? others[i] : most;
    }
    return (size_t)most;
}

/* Answers under way in one group. */
struct answers {
    size_t at_once;   /* sequences */
    double positions; /* of their caches */
    double n_ids;     /* of their prompts together */
    double pass_rows; /* of one pass: a lane's prompts */
    double all_rows;  /* of all lanes' first passes */
};

/* How the units of a group are worked on. */
struct flow {
    size_t lanes, caches;           /* of the decoding batch, at most */
    struct answers vanilla, edited; /* edited: vanilla ones beside them */
    size_t n_locates, n_edits;      /* under way at once */
};

static size_t fewer(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct answers answers_of(const struct dinm_plan *plan, of_index *rows, of_index *capacities,
                                 size_t n, size_t at_once, size_t lanes)
{
    double most = (double)plan->job->generator.max_rows;
    struct answers a = {.at_once = fewer(at_once, n)};
    size_t per_lane = (a.at_once + lanes - 1) / lanes;
    a.positions = largest_window(plan, capacities, n, a.at_once);
    a.n_ids = largest_window(plan, rows, n, a.at_once);
    a.pass_rows = least(largest_window(plan, rows, n, per_lane), most);
    a.all_rows = least(a.n_ids, (double)lanes * most);
    return a;
}

/* Both in the same batch. */
static void add_answers(const struct dinm_plan *plan, struct answers *a, struct answers b,
                        size_t lanes)
{
    double most = (double)plan->job->generator.max_rows;
    a->at_once += b.at_once;
    a->positions += b.positions;
    a->n_ids += b.n_ids;
    a->pass_rows = least(a->pass_rows + b.pass_rows, most);
    a->all_rows = least(a->all_rows + b.all_rows, (double)lanes * most);
}

/* Of n that are dealt evenly, most of one batch. */
static size_t share_of(const struct dinm_plan *plan, size_t n, size_t most)
{
    return fewer((n + plan->n_groups - 1) / plan->n_groups, most);
}

static size_t cases_at_once(const struct dinm_plan *plan)
{
    return share_of(plan, plan->job->cases.n_cases, (size_t)plan->job->settings->run.batch);
}

/* Answers of one batch: a group's share of those of all cases and prompts. */
static size_t answers_at_once(const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    size_t n = share_of(plan, job->cases.n_cases * DINM_N_INPUTS + job->prompts.n_prompts,
                        DINM_N_INPUTS * (size_t)job->settings->run.batch);
    return n > DINM_N_INPUTS ? n : DINM_N_INPUTS; /* a case's answers stay together */
}

static struct flow flow_of(const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    size_t n_stages = plan->n_stages, n_cases = job->cases.n_cases;
    struct flow f = {.lanes = dinm_decode_n_lanes(n_stages)};
    f.caches = dinm_decode_most(&job->generator, n_stages) + job->generator.share_prefixes;
    size_t at_once = fewer(answers_at_once(plan), f.caches);
    f.vanilla =
        answers_of(plan, vanilla_rows, vanilla_capacity, job->prompts.n_prompts, at_once, f.lanes);
    f.edited = answers_of(plan, edited_rows, edited_capacity, n_cases * DINM_N_INPUTS,
                          fewer(at_once, DINM_N_INPUTS * cases_at_once(plan)), f.lanes);
    add_answers(plan, &f.edited,
                answers_of(plan, vanilla_rows, vanilla_capacity, job->prompts.n_prompts,
                           at_once - f.edited.at_once, f.lanes),
                f.lanes);
    f.n_locates = n_stages > 1 ? fewer(4 * n_stages, n_cases) : 1;
    f.n_edits = n_stages > 1 ? fewer(2 * n_stages, cases_at_once(plan)) : 1;
    return f;
}

/* Cache positions of the general questions that an edited model is asked beside its inputs. */
static double question_positions(const struct dinm_plan *plan, const struct flow *f)
{
    const struct dinm_job *job = plan->job;
    const struct dinm_settings *s = job->settings;
    size_t n = job->questions.n_questions, room = f->caches - f->edited.at_once;
    double most = 0.0;
    for (size_t i = 0; i < n; i++) {
        double positions = vanilla_capacity(plan, job->prompts.of_question[i]);
        most = positions > most ? positions : most;
    }
    n *= s->evaluate.kqa_on == DINM_KQA_ALL ? (size_t)s->run.batch : 1;
    return (double)(n < room ? n : room) * most;
}

size_t dinm_plan_few_rows(const struct dinm_plan *plan, enum dinm_moment moment)
{
    struct flow f = flow_of(plan);
    size_t n = moment == DINM_AT_VANILLA ? f.vanilla.at_once : f.edited.at_once;
    return (n + f.lanes - 1) / f.lanes;
}

static size_t most_rows(const struct dinm_plan *plan, const struct flow *f)
{
    size_t n_cases = plan->job->cases.n_cases;
    double most = largest_window(plan, locate_rows, n_cases, 1);
    double others[] = {largest_window(plan, target_rows, n_cases, 1), f->vanilla.pass_rows,
                       f->edited.pass_rows};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        most = others[i] > most ? others[i] : most;
    }
    return (size_t)most;
}

void dinm_plan_most_rows(const struct dinm_plan *plan, size_t *n_rows, size_t *n_keys)
{
    struct flow f = flow_of(plan);
    *n_rows = most_rows(plan, &f);
    *n_keys = most_keys(plan);
}

/* Rows of d_model floats on their way: the driver holds all that have not yet begun, another stage
 * what arrives, what it works on and what it sends. */
static double passing(const struct dinm_plan *plan, double pass_rows, double all_rows, bool driver)
{
    double rows = plan->n_stages == 1 ? pass_rows : driver ? all_rows : 3.0 * pass_rows;
    return least(rows, all_rows) * (double)plan->job->slice.config.d_model * sizeof(float);
}

static void fill_locate(const struct dinm_plan *plan, struct dinm_plan_stage *s,
                        const struct flow *f)
{
    const struct dinm_config *c = &plan->job->slice.config;
    enum dinm_archive_hidden hidden = plan->job->settings->archive.hidden;
    size_t n_cases = plan->job->cases.n_cases;
    double rows = largest_window(plan, locate_rows, n_cases, 1);
    double all_rows = largest_window(plan, locate_rows, n_cases, f->n_locates);
    double n_kept = hidden == DINM_HIDDEN_FULL ? rows : hidden == DINM_HIDDEN_NONE ? 0.0 : 2.0;
    double row = (double)c->d_model * sizeof(float);
    s->memory[DINM_AT_LOCATE].activations += passing(plan, rows, all_rows, s->first == 0) +
                                             (s->last == c->n_layers ? rows * row : 0.0) +
                                             (double)(s->last - s->first + 1) * n_kept * row;
}

double dinm_plan_kv_bytes(const struct dinm_plan *plan)
{
    const struct dinm_config *c = &plan->job->slice.config;
    bool rounded = plan->job->way != NULL && plan->layers[0].n_bf16 > 0;
    return 2.0 *
           (double)(c->n_kv_heads * c->d_head * dinm_dtype_size(rounded ? DINM_BF16 : DINM_F32));
}

/* Caches, and on the last stage the logits of the tokens that one pass chooses. */
static void fill_answers(const struct dinm_plan *plan, struct dinm_plan_memory *m,
                         const struct dinm_plan_stage *s, const struct answers *a, size_t lanes)
{
    const struct dinm_config *c = &plan->job->slice.config;
    double n_layers = (double)(s->last - s->first);
    double per_lane = (double)((a->at_once + lanes - 1) / lanes);
    m->caches += a->positions * n_layers * dinm_plan_kv_bytes(plan);
    m->activations += passing(plan, a->pass_rows, a->all_rows, s->first == 0);
    if (s->last == c->n_layers) {
        m->activations +=
            ((per_lane + 1.0) * (double)c->n_vocab + per_lane * (double)c->d_model) * sizeof(float);
    }
}

/* Edits of `layer` as they are made on one stage: the owner's matrices and rows, the tape of the
 * layers above, the logits of the last stage. */
static double making(const struct dinm_plan *plan, const struct dinm_plan_stage *s, size_t layer,
                     const struct flow *f)
{
    const struct dinm_job *job = plan->job;
    const struct dinm_config *c = &job->slice.config;
    size_t n_cases = job->cases.n_cases, above = 0;
    double matrix = (double)c->d_model * (double)c->d_ff * sizeof(float);
    double rows = largest_window(plan, target_rows, n_cases, f->n_edits);
    double bytes = 2.0 * rows * (double)c->d_model * sizeof(float); /* a step's rows, and back */
    if (layer >= s->last) {
        return 0.0;
    }
    if (layer >= s->first) {
        bytes += 3.0 * (double)f->n_edits * matrix + (job->settings->edit.save ? matrix : 0.0) +
                 rows * (double)(c->d_model + c->d_ff) * sizeof(float);
        above = s->last - layer - 1;
    } else {
        above = s->last - s->first;
    }
    bytes += (double)dinm_tape_bytes(c, above, (size_t)rows);
    if (s->last == c->n_layers) {
        bytes += largest_window(plan, target_logits, n_cases, f->n_edits) * (double)c->n_vocab *
                 sizeof(float);
    }
    return bytes;
}

/* The layer that the settings name, or whichever from the usual one up takes most on this stage;
 * with the matrices that are kept until the batch is answered. Where the prompts' rows may enter
 * late those of every prompt may be kept, too. */
static void fill_edit(const struct dinm_plan *plan, struct dinm_plan_stage *s, const struct flow *f)
{
    const struct dinm_job *job = plan->job;
    const struct dinm_config *c = &job->slice.config;
    double matrix = (double)c->d_model * (double)c->d_ff * sizeof(float);
    double kept = (double)cases_at_once(plan) * matrix;
    double shared =
        job->generator.share_prefixes ? f->edited.n_ids * (double)c->d_model * sizeof(float) : 0.0;
    size_t end = job->settings->locate.n_layers > 0 ? plan->usual_layer + 1 : c->n_layers;
    if (!dinm_edit_is_wanted(job->settings)) {
        return;
    }
    for (size_t layer = plan->usual_layer; layer < end; layer++) {
        bool owner = layer >= s->first && layer < s->last;
        double bytes = making(plan, s, layer, f) + (owner ? kept : 0.0);
        double *edit = &s->memory[DINM_AT_EDIT].edit, *answer = &s->memory[DINM_AT_ANSWER].edit;
        *edit = bytes > *edit ? bytes : *edit;
        *answer = owner ? kept + shared : *answer;
    }
}

static void fill_judge(const struct dinm_plan *plan, struct dinm_plan_stage *s)
{
    const struct dinm_job *job = plan->job;
    struct dinm_plan_memory *m = &s->memory[DINM_AT_JUDGE];
    if (job->judge.encoder == NULL) {
        return; /* phrases of refusal take nothing worth counting */
    }
    size_t n_stages = (size_t)dinm_judge_model_n_stages(&job->judge, (int)plan->n_stages);
    size_t n = 4 * n_stages * (size_t)job->settings->run.batch;
    double tokens = least((double)job->judge.n_most, max_new(plan));
    m->judge = plan->judge_bytes;
    m->activations = (double)dinm_encoder_scratch_bytes(job->judge.encoder, n, n * (size_t)tokens,
                                                        (size_t)tokens);
    m->activations += (double)dinm_judge_rows_under_way(n_stages, n * (size_t)tokens) *
                      (double)dinm_encoder_get_config(job->judge.encoder)->d_model * sizeof(float);
}

double dinm_plan_private_bytes(const struct dinm_plan_memory *m)
{
    return m->caches + m->edit + m->activations;
}

double dinm_plan_total_bytes(const struct dinm_plan_memory *m)
{
    return m->weights + m->judge + dinm_plan_private_bytes(m);
}

static double weights_of(const struct dinm_plan *plan, size_t first, size_t last)
{
    double bytes = 0.0;
    for (size_t l = first; l < last; l++) {
        bytes += (double)plan->layers[l].n_bytes;
    }
    bytes += first == 0 ? (double)plan->embed.n_bytes : 0.0;
    if (last == plan->job->slice.config.n_layers) {
        bytes += (double)plan->head.n_bytes;
        bytes -= first == 0 ? (double)plan->head.n_tied_bytes : 0.0;
    }
    return bytes;
}

void dinm_plan_fill_stage(const struct dinm_plan *plan, struct dinm_plan_stage *s)
{
    const struct dinm_job *job = plan->job;
    struct flow f = flow_of(plan);
    double questions = question_positions(plan, &f);
    f.edited.positions += questions;
    f.edited.n_ids += questions; /* at most */
    double scratch =
        (double)dinm_workspace_bytes(&job->slice.config, most_rows(plan, &f), most_keys(plan)) +
        (double)dinm_compute_bytes(job->way, &job->slice.config, s->last);
    for (int at = DINM_AT_LOCATE; at < DINM_AT_JUDGE; at++) {
        s->memory[at] = (struct dinm_plan_memory){.weights = weights_of(plan, s->first, s->last),
                                                  .activations = scratch};
    }
    fill_locate(plan, s, &f);
    fill_answers(plan, &s->memory[DINM_AT_VANILLA], s, &f.vanilla, f.lanes);
    fill_answers(plan, &s->memory[DINM_AT_ANSWER], s, &f.edited, f.lanes);
    fill_edit(plan, s, &f);
    fill_judge(plan, s);
    s->peak = DINM_AT_LOCATE;
    for (int at = DINM_AT_LOCATE; at < DINM_N_MOMENTS; at++) {
        if (dinm_plan_total_bytes(&s->memory[at]) > dinm_plan_total_bytes(&s->memory[s->peak])) {
            s->peak = (enum dinm_moment)at;
        }
    }
}

/* Lengths and costs; nothing here is random but the draws, which are the same everywhere. */
#include "tests/bench/schedule_work.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include "pipeline/cut.h"
#include "tests/bench/schedule_events.h"

/* Lengths in Llama-2 tokens at 0, 10, .. 100 % of what was counted. Questions, prompts of 14 attack
 * methods with their question, and answers of a model that falls for them: a published set of 540
 * rows in SafeEdit's form. Refusals: the completions of two models on XSTest. */
enum { N_DECILES = 11, ATTACK_KINDS = 14, SUFFIX = 22, MAX_READ = 1000, MAX_NEW = 600 };
static const int questions[N_DECILES] = {8, 10, 12, 12, 13, 14, 14, 15, 16, 18, 20};
static const int attacks[ATTACK_KINDS] = {25,  51,  53,  91,  102, 104, 110,
                                          166, 187, 212, 387, 439, 451, 1037};
static const int answers[N_DECILES] = {1, 21, 600, 600, 600, 600, 600, 600, 600, 600, 600};
static const int refusals[N_DECILES] = {11, 80, 110, 140, 175, 205, 222, 245, 257, 300, 600};
static const int unsafe[N_DECILES] = {1, 21, 601, 632, 647, 662, 680, 688, 703, 739, 1056};

/* Lowest 53 bits of splitmix64 as a number in [0, 1). */
static double draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static size_t draw_length(const int *deciles, uint64_t *state)
{
    double at = draw(state) * (N_DECILES - 1);
    size_t i = (size_t)at;
    double length = deciles[i] + (at - (double)i) * (deciles[i + 1] - deciles[i]);
    return length < 1.0 ? 1 : (size_t)length;
}

static size_t draw_attack(uint64_t *state)
{
    return (size_t)attacks[(size_t)(draw(state) * ATTACK_KINDS)];
}

static struct schedule_answer draw_answer(size_t prompt, enum schedule_answers kind,
                                          uint64_t *state)
{
    size_t n_read = prompt + SUFFIX;
    size_t n_written = draw_length(kind == SCHEDULE_REFUSE ? refusals : answers, state);
    return (struct schedule_answer){.n_read = n_read < MAX_READ ? n_read : MAX_READ,
                                    .n_written = kind == SCHEDULE_AT_LIMIT ? MAX_NEW : n_written};
}

/* The inputs of one case: attack, bare question, other attack, other question, both other. */
static void draw_case(struct schedule_case *c, enum schedule_answers kind, uint64_t *state)
{
    size_t attack = draw_attack(state);
    size_t other = draw_attack(state);
    size_t prompts[SCHEDULE_N_INPUTS] = {attack, draw_length(questions, state), other, attack,
                                         other};
    c->safe = draw_length(refusals, state);
    c->unsafe = draw_length(unsafe, state);
    size_t constraint = draw_length(refusals, state);
    c->picks = c->safe + constraint;
    c->rows = c->picks + attack + draw_length(questions, state) + 2 * (size_t)SUFFIX;
    for (size_t i = 0; i < SCHEDULE_N_INPUTS; i++) {
        c->edited[i] = draw_answer(prompts[i], kind, state);
    }
}

void schedule_lengths_draw(struct schedule_lengths *l, size_t n_cases, enum schedule_answers kind,
                           uint64_t seed)
{
    enum { CASES = 1350, QUESTIONS = 135, PROMPTS = 1710 }; /* of the test set */
    uint64_t state = seed;
    *l = (struct schedule_lengths){.n_cases = n_cases, .n_prompts = n_cases * PROMPTS / CASES};
    l->n_responses = l->n_prompts + n_cases * SCHEDULE_N_INPUTS;
    l->cases = schedule_need(n_cases, sizeof *l->cases);
    l->prompts = schedule_need(l->n_prompts, sizeof *l->prompts);
    l->responses = schedule_need(l->n_responses, sizeof *l->responses);
    size_t n = 0;
    for (size_t i = 0; i < n_cases; i++) {
        draw_case(&l->cases[i], kind, &state);
    }
    for (size_t i = 0; i < l->n_prompts; i++) {
        bool bare = draw(&state) * PROMPTS < QUESTIONS;
        size_t prompt = bare ? draw_length(questions, &state) : draw_attack(&state);
        l->prompts[i] = draw_answer(prompt, kind, &state);
        l->responses[n++] = l->prompts[i].n_written;
    }
    for (size_t i = 0; i < n_cases; i++) {
        for (size_t k = 0; k < SCHEDULE_N_INPUTS; k++) {
            l->responses[n++] = l->cases[i].edited[k].n_written;
        }
    }
    for (size_t i = 0; i < n; i++) {
        enum { JUDGE_MOST = 512 };
        l->responses[i] = l->responses[i] < JUDGE_MOST ? l->responses[i] : JUDGE_MOST;
    }
}

void schedule_lengths_free(struct schedule_lengths *l)
{
    free(l->cases);
    free(l->prompts);
    free(l->responses);
    *l = (struct schedule_lengths){0};
}

double schedule_located_rows(const struct schedule_case *one)
{
    return 2.0 * (double)(one->safe > one->unsafe ? one->safe : one->unsafe);
}

/* Llama-2-7B in bf16: products of a layer, of its second feed-forward matrix, of the head. The
 * judge is RoBERTa-large in float32. */
enum { N_LAYERS = 32, EDITED = 28, N_STEPS = 10, JUDGE_LAYERS = 24 };
static const double d_model = 4096.0, matrix = 4096.0 * 11008.0, head = 4096.0 * 32000.0;
static const double layer = 4.0 * 4096.0 * 4096.0 + 3.0 * 4096.0 * 11008.0;
static const double judge_layer = 4.0 * 1024.0 * 1024.0 + 2.0 * 1024.0 * 4096.0;
static const double bf16 = 2.0, f32 = 4.0;

/* What the pipeline's plan weighs layers by (pipeline/plan_work.c, dinm_plan_costs). */
static void cut(size_t *first, const struct schedule_lengths *l, size_t n_stages)
{
    static const double few_per_many = 4.0;
    struct dinm_error err = {0};
    double costs[N_LAYERS], rows = 0.0, targets = 0.0, picks = 0.0;
    double written = (double)(l->n_prompts + SCHEDULE_N_INPUTS * l->n_cases) * MAX_NEW;
    for (size_t i = 0; i < l->n_cases; i++) {
        const struct schedule_case *one = &l->cases[i];
        rows += schedule_located_rows(one) + (double)one->rows;
        targets += (double)one->rows;
        picks += (double)one->picks;
        for (size_t k = 0; k < SCHEDULE_N_INPUTS; k++) {
            rows += (double)one->edited[k].n_read;
        }
    }
    for (size_t i = 0; i < l->n_prompts; i++) {
        rows += (double)l->prompts[i].n_read;
    }
    for (size_t i = 0; i < N_LAYERS; i++) {
        costs[i] = (rows + few_per_many * written) * layer;
        costs[i] += i > EDITED ? 2.0 * N_STEPS * targets * layer : 0.0;
        costs[i] += i == EDITED ? 2.0 * N_STEPS * targets * matrix : 0.0;
    }
    costs[N_LAYERS - 1] += (few_per_many * written + 2.0 * N_STEPS * picks) * head;
    if (dinm_cut_evenly(first, costs, N_LAYERS, n_stages, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
}

static struct schedule_stage stage_of_layers(size_t first, size_t last,
                                             const struct schedule_rates *r)
{
    double n = (double)(last - first), n_above = 0.0;
    double heads = last == N_LAYERS ? head : 0.0;
    if (last > EDITED + 1) {
        n_above = (double)(last - (first > EDITED + 1 ? first : EDITED + 1));
    }
    return (struct schedule_stage){.read = bf16 * (n * layer + heads) / r->memory,
                                   .many = 2.0 * n * layer / r->many,
                                   .few = 2.0 * (n * layer + heads) / r->few,
                                   .key = n * 2.0 * d_model * f32 / r->memory,
                                   .above = 2.0 * n_above * layer / r->many,
                                   .read_above = bf16 * n_above * layer / r->memory};
}

void schedule_costs_make(struct schedule_costs *c, const struct schedule_lengths *l,
                         const struct schedule_rates *r, size_t n_stages)
{
    size_t first[SCHEDULE_MAX_STAGES + 1];
    *c = (struct schedule_costs){.n_stages = n_stages,
                                 .judge_stages = n_stages,
                                 .n_steps = N_STEPS,
                                 .matrix = f32 * matrix / r->memory,
                                 .own = 4.0 * matrix / r->many,
                                 .adam = 8.0 * f32 * matrix / r->memory,
                                 .pick = 4.0 * head / r->many,
                                 .read_head = 2.0 * bf16 * head / r->memory};
    cut(first, l, n_stages);
    for (size_t s = 0; s < n_stages; s++) {
        c->stages[s] = stage_of_layers(first[s], first[s + 1], r);
        c->owner = first[s] <= EDITED ? s : c->owner;
    }
    /* As dinm_judge_model_n_stages. */
    while (c->judge_stages > JUDGE_LAYERS || n_stages % c->judge_stages != 0) {
        c->judge_stages--;
    }
    for (size_t s = 0; s < c->judge_stages; s++) {
        double n = (double)JUDGE_LAYERS / (double)c->judge_stages;
        c->stages[s].judge = 2.0 * n * judge_layer / r->many;
        c->stages[s].read_judge = f32 * n * judge_layer / r->memory;
    }
}

size_t schedule_edit_hops(const struct schedule_costs *c)
{
    return c->owner + 1 + 2 * c->n_steps * (c->n_stages - c->owner);
}

size_t schedule_edit_stage(const struct schedule_costs *c, size_t hop)
{
    if (hop <= c->owner) {
        return hop;
    }
    size_t n = c->n_stages - c->owner, at = (hop - c->owner - 1) % (2 * n);
    return at < n ? c->owner + at : c->n_stages - 1 - (at - n);
}

double schedule_edit_s(const struct schedule_costs *c, const struct schedule_case *one, size_t hop)
{
    double rows = (double)one->rows;
    size_t s = schedule_edit_stage(c, hop), n = c->n_stages - c->owner;
    const struct schedule_stage *stage = &c->stages[s];
    if (hop <= c->owner) {
        return stage->read - stage->read_above + rows * (stage->many - stage->above);
    }
    bool up = (hop - c->owner - 1) % (2 * n) < n;
    double t = stage->read_above + rows * stage->above;
    t += s == c->owner ? 0.5 * rows * c->own + (up ? 0.0 : c->adam) : 0.0;
    t += up && s + 1 == c->n_stages ? (double)one->picks * c->pick + c->read_head : 0.0;
    return t;
}

static const double per_byte = 5.0; /* as in pipeline/plan_units.c */

double schedule_known_answer(const struct schedule_answer *a, size_t n_rows)
{
    double all = N_LAYERS * layer, bytes = bf16 * (all + head), read = (double)a->n_read;
    double few = all + head + per_byte * bytes / (double)n_rows;
    double key = N_LAYERS * (2.0 * d_model + per_byte * 2.0 * d_model * f32);
    return read * all + MAX_NEW * (few + (read + 0.5 * MAX_NEW) * key);
}

double schedule_known_case(const struct schedule_case *one, size_t n_rows)
{
    double rows = (double)one->rows, picks = (double)one->picks;
    double above = matrix + (N_LAYERS - EDITED - 1) * layer;
    double cost = rows * (EDITED + 1) * layer + 2.0 * N_STEPS * (rows * above + picks * head);
    for (size_t k = 0; k < SCHEDULE_N_INPUTS; k++) {
        cost += schedule_known_answer(&one->edited[k], n_rows);
    }
    return cost;
}

/* From counted inputs to stages and cut. */
#include "pipeline/plan.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/cut.h"
#include "pipeline/edit.h"
#include "pipeline/limits.h"

const char *const dinm_moment_names[DINM_N_MOMENTS] = {"locate", "vanilla", "edit", "answer",
                                                       "judge"};

void dinm_plan_free(struct dinm_plan *plan)
{
    free(plan->lengths.all);
    free(plan->layers);
    free(plan->first);
    free(plan->stages);
    free(plan->ranks);
    free(plan->nodes);
    dinm_buffer_free(&plan->reason);
    *plan = (struct dinm_plan){0};
}

/* The layer that the settings name; otherwise one a tenth below the top, where the paper found
 * those of its models: 29 of 32, counted from 1. */
static size_t usual_layer(const struct dinm_job *job)
{
    size_t n = job->slice.config.n_layers;
    return job->settings->locate.n_layers > 0 ? (size_t)job->settings->locate.layers[0]
                                              : n - 1 - n / 10;
}

/* What the tensors take, by the headers of the files. */
static int measure_weights(struct dinm_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_job *job = plan->job;
    const struct dinm_config *c = &job->slice.config;
    struct dinm_checkpoint checkpoint = {0}, judge = {0};
    size_t n_stages = c->n_layers;
    plan->layers = dinm_alloc(c->n_layers, sizeof *plan->layers, "the plan", err);
    plan->first = dinm_alloc(n_stages + 1, sizeof *plan->first, "the plan", err);
    plan->stages = dinm_alloc(n_stages, sizeof *plan->stages, "the plan", err);
    plan->ranks = dinm_alloc((size_t)job->grid.size, sizeof *plan->ranks, "the plan", err);
    plan->nodes = dinm_alloc((size_t)job->grid.size, sizeof *plan->nodes, "the plan", err);
    TRY(plan->layers && plan->first && plan->stages && plan->ranks && plan->nodes ? DINM_OK
                                                                                  : DINM_FAILED);
    TRY(dinm_checkpoint_open(&checkpoint, job->settings->model.path, err));
    for (size_t l = 0; l < c->n_layers; l++) {
        plan->layers[l] = dinm_weights_layer_size(c, &checkpoint, l);
    }
    plan->embed = dinm_weights_embed_size(c, &checkpoint);
    plan->head = dinm_weights_head_size(c, &checkpoint);
    if (!dinm_judge_is_refusal(job->settings)) {
        TRY(dinm_checkpoint_open(&judge, job->settings->judge.path, err));
    }
    for (size_t f = 0; f < judge.n_files; f++) {
        plan->judge_bytes += (double)judge.files[f].map.n_bytes;
    }
out:
    dinm_checkpoint_close(&judge);
    dinm_checkpoint_close(&checkpoint);
    return status;
}

/* What every rank holds and every node has left. */
static int gather_ranks_all(struct dinm_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_grid *grid = &plan->job->grid;
    struct dinm_limits limits;
    struct dinm_plan_rank own = plan->ranks[grid->rank];
    int lowest = grid->rank;
    dinm_limits_read(&limits, "");
    TRY(dinm_grid_check(MPI_Bcast(&lowest, 1, MPI_INT, 0, grid->node), "MPI_Bcast", err));
    own.node = lowest;
    own.program = dinm_limits_own_bytes();
    own.space = limits.space;
    struct dinm_plan_node node = {.ram = limits.ram, .cgroup = limits.cgroup};
    TRY(dinm_grid_check(MPI_Allgather(&own, (int)sizeof own, MPI_BYTE, plan->ranks, (int)sizeof own,
                                      MPI_BYTE, grid->world),
                        "MPI_Allgather", err));
    TRY(dinm_grid_check(MPI_Allgather(&node, (int)sizeof node, MPI_BYTE, plan->nodes,
                                      (int)sizeof node, MPI_BYTE, grid->world),
                        "MPI_Allgather", err));
out:
    return status;
}

/* Layers of every stage, what they cost and what they take. */
static int cut_stages(struct dinm_plan *plan, size_t n_stages, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = plan->job->settings;
    size_t n_layers = plan->job->slice.config.n_layers;
    double all = 0.0;
    double *costs = dinm_alloc(n_layers, sizeof *costs, "the cut of the layers", err);
    TRY(costs ? DINM_OK : DINM_FAILED);
    dinm_plan_costs(plan, costs);
    if (s->run.n_layer_cut > 0) {
        TRY(dinm_cut_given(plan->first, s->run.layer_cut, s->run.n_layer_cut, n_layers, n_stages,
                           err));
    } else {
        TRY(dinm_cut_evenly(plan->first, costs, n_layers, n_stages, err));
    }
    for (size_t l = 0; l < n_layers; l++) {
        all += costs[l];
    }
    plan->n_stages = n_stages;
    plan->n_groups = plan->n_ranks / n_stages;
    for (size_t i = 0; i < n_stages; i++) {
        struct dinm_plan_stage *stage = &plan->stages[i];
        *stage = (struct dinm_plan_stage){.first = plan->first[i], .last = plan->first[i + 1]};
        for (size_t l = stage->first; l < stage->last; l++) {
            stage->cost += costs[l] / all;
        }
        dinm_plan_fill_stage(plan, stage);
    }
    dinm_plan_check(plan, &plan->lack);
out:
    free(costs);
    return status;
}

/* The fewest stages that fit, of those that divide the ranks; if none does, the last tried. */
static int choose_stages(struct dinm_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_layers = plan->job->slice.config.n_layers;
    struct dinm_error before = {0};
    for (size_t n = 1; n <= plan->n_ranks && n <= n_layers; n++) {
        if (plan->n_ranks % n != 0) {
            continue;
        }
        before = n > 1 ? plan->lack : before;
        plan->lack = (struct dinm_error){0};
        TRY(cut_stages(plan, n, err));
        if (plan->lack.status == DINM_OK) {
            break;
        }
    }
    if (plan->lack.status < 0) {
        TRY(dinm_buffer_append_text(&plan->reason, "no number of stages fits", err));
    } else if (plan->n_stages == 1) {
        TRY(dinm_buffer_append_text(&plan->reason, "every rank can hold the whole model", err));
    } else {
        TRY(dinm_buffer_append_format(&plan->reason, err, "the fewest that fit; with fewer, %s",
                                      before.text));
    }
out:
    return status;
}

int dinm_plan_choose(struct dinm_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = plan->job->settings;
    size_t wanted = s->run.stages > 0 ? (size_t)s->run.stages : s->run.n_layer_cut;
    if (wanted == 0) {
        return choose_stages(plan, err);
    }
    TRY(dinm_grid_check_stages(&plan->job->grid, (int64_t)wanted, err));
    TRY(cut_stages(plan, wanted, err));
    TRY(dinm_buffer_append_text(&plan->reason, s->run.stages > 0 ? "run.stages" : "run.layer_cut",
                                err));
out:
    return status;
}

int dinm_plan_make_all(struct dinm_plan *plan, const struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    *plan = (struct dinm_plan){
        .job = job, .usual_layer = usual_layer(job), .n_ranks = (size_t)job->grid.size};
    TRY(dinm_agree_all(&job->grid, measure_weights(plan, err), err));
    TRY(dinm_plan_count_all(plan, err));
    TRY(gather_ranks_all(plan, err));
    TRY(dinm_agree_all(&job->grid, dinm_plan_choose(plan, err), err)); /* the same everywhere */
out:
    return status;
}

/* Bytes of the archive, the saved edits and, roughly, the texts. */
static double count_disk(const struct dinm_plan *plan)
{
    const struct dinm_job *job = plan->job;
    const struct dinm_settings *s = job->settings;
    const struct dinm_config *c = &job->slice.config;
    double n = (double)job->cases.n_cases, n_states = 2.0 * n, n_text = 0.0;
    if (s->archive.hidden == DINM_HIDDEN_FULL) {
        n_states = 0.0;
        for (size_t i = 0; i < job->cases.n_cases; i++) {
            n_states += (double)(job->responses[i].side[0].n_ids + job->responses[i].side[1].n_ids);
        }
    } else if (s->archive.hidden == DINM_HIDDEN_NONE) {
        n_states = 0.0;
    }
    double bytes =
        n_states * (double)(c->n_layers + 1) * (double)c->d_model * (s->archive.half ? 2.0 : 4.0);
    bytes += n * (double)(c->n_layers + 1 + 3 * (size_t)s->edit.steps) * 4.0;
    if (s->edit.save && dinm_edit_is_wanted(s)) {
        bytes += n * (double)c->d_model * (double)c->d_ff * sizeof(float);
    }
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        n_text += plan->work[at].n_written;
    }
    return bytes + 3.0 * 6.0 * n_text; /* journal, cases.jsonl, report.html; 6 bytes per token */
}

static void check_disk(const struct dinm_plan *plan, struct dinm_error *lack)
{
    if (plan->disk_bytes > plan->disk_left) {
        dinm_fail(lack, DINM_FAILED, "%s: the job writes about %.0f MB, but only %.0f MB are free",
                  plan->job->settings->run.out, plan->disk_bytes * 1e-6, plan->disk_left * 1e-6);
    }
}

int dinm_plan_measure_all(struct dinm_plan *plan, double rates[3], struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_grid *grid = &plan->job->grid;
    struct dinm_plan_rank *own = &plan->ranks[grid->rank];
    if (rates[0] == 0.0) {
        TRY(dinm_plan_rates_all(plan, rates, err));
    }
    own->many = rates[0];
    own->few[0] = rates[1];
    own->few[1] = rates[2];
    TRY(gather_ranks_all(plan, err));
    dinm_plan_count_work(plan);
    plan->disk_bytes = count_disk(plan);
    status = grid->rank == 0 ? dinm_limits_disk(&plan->disk_left, plan->job->settings->run.out, err)
                             : DINM_OK;
    TRY(dinm_agree_all(grid, status, err));
    TRY(dinm_grid_check(MPI_Bcast(&plan->disk_left, 1, MPI_DOUBLE, 0, grid->world), "MPI_Bcast",
                        err));
    check_disk(plan, &plan->lack);
out:
    return status;
}

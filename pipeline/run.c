/* The program, from top to bottom: locate the toxic layer of every case, answer with the model as
 * it is, edit and answer again, judge all answers, report. Every phase is the same loop over
 * journaled units (phase.h); what a run finds done it does not do again. */
#include "pipeline/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/log.h"
#include "io/mem.h"
#include "pipeline/answer.h"
#include "pipeline/introduce.h"
#include "pipeline/job.h"
#include "pipeline/judge.h"
#include "pipeline/locate.h"
#include "pipeline/outcomes.h"
#include "pipeline/phase.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "pipeline/report.h"
#include "pipeline/reuse.h"
#include "pipeline/run_folder.h"
#include "pipeline/states.h"
#include "pipeline/stop.h"
#include "pipeline/watchdog.h"

struct run {
    struct dinm_job job;
    struct dinm_plan plan;
    const struct dinm_run_options *options; /* borrows */
    struct dinm_run_part *part;             /* borrows */
    double deadline_s;
    bool *locate_again;             /* owns: [n_cases] their hidden states were lost */
    struct dinm_watchdog *watchdog; /* owns */
};

static bool wanted(const struct run *r, enum dinm_phase phase)
{
    return (r->options->phases >> phase & 1U) != 0;
}

static bool speaks(const struct run *r)
{
    return r->job.grid.rank == 0 && !r->options->quiet;
}

/* What the units of a phase cost, as far as the plan knows; NULL on lack of memory. The caller
 * frees it. */
static double *costs_of(const struct run *r, enum dinm_phase phase, size_t n,
                        struct dinm_error *err)
{
    double *costs = dinm_alloc(n, sizeof *costs, "a list of units", err);
    if (costs != NULL) {
        dinm_plan_unit_costs(&r->plan, phase, costs);
    }
    return costs;
}

/* What another run of the same start has found out, as far as it is this one's too. */
static int take_over_all(struct run *r, const struct dinm_phase_units *units,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_taken = 0;
    const char *donor = r->part->donors[units->phase];
    if (donor == NULL || units->n_units == 0) {
        return DINM_OK;
    }
    TRY(dinm_reuse_all(&r->job, units->phase, units->n_units, donor, r->locate_again, &n_taken,
                       err));
    if (speaks(r) && n_taken > 0) {
        dinm_log(DINM_LOG_NOTICE, "%s: %zu units as in %s", dinm_phase_names[units->phase], n_taken,
                 donor);
    }
out:
    return status;
}

/* One phase over all ranks, or two at once; their records stay in the job. */
static int run_phase_all(struct run *r, struct dinm_phase_plan plan, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_job *job = &r->job;
    struct dinm_phase_units *parts[] = {&plan.units, &plan.beside};
    struct dinm_records records[2] = {0};
    struct dinm_phase_time time[2] = {0};
    double *costs[2] = {NULL, NULL};
    plan.quiet = r->options->quiet;
    plan.deadline_s = r->deadline_s;
    for (size_t i = 0; status >= 0 && i < 2; i++) {
        if (parts[i]->costs == NULL && parts[i]->n_units > 0) {
            parts[i]->costs = costs[i] = costs_of(r, parts[i]->phase, parts[i]->n_units, err);
            status = costs[i] != NULL ? DINM_OK : DINM_FAILED;
        }
    }
    TRY(dinm_agree_all(&job->grid, status, err));
    for (size_t i = 0; i < 2; i++) {
        TRY(take_over_all(r, parts[i], err));
    }
    status = dinm_phase_run_all(&job->grid, &job->journal, &plan, records, time, err);
    for (size_t i = 0; i < 2 && (i == 0 || parts[i]->n_units > 0); i++) {
        job->records[parts[i]->phase] = records[i];
        job->seconds[parts[i]->phase] = time[i].busy_s;
        job->wall_s[parts[i]->phase] = time[i].wall_s;
    }
out:
    free(costs[0]);
    free(costs[1]);
    return status;
}

/* A phase that is not to be run must have been done before, as later ones need its records. */
static int recall(struct run *r, enum dinm_phase phase, size_t n_units, struct dinm_error *err)
{
    struct dinm_records *records = &r->job.records[phase];
    int status = dinm_journal_records(&r->job.journal, phase, n_units, records, err);
    if (status >= 0 && records->n_done < n_units) {
        status = dinm_fail(err, DINM_FAILED,
                           "phase %s was left out, but only %zu of its %zu units are done",
                           dinm_phase_names[phase], records->n_done, n_units);
    }
    return status;
}

/* l_toxic of every case; hidden states and distances go into the archive. */
static int locate_all(struct run *r, struct dinm_error *err)
{
    size_t n = r->job.cases.n_cases, n_stages = (size_t)r->job.grid.n_stages;
    if (!wanted(r, DINM_LOCATE)) {
        return recall(r, DINM_LOCATE, n, err);
    }
    struct dinm_phase_plan plan = {
        .units = {.phase = DINM_LOCATE, .n_units = n, .again = r->locate_again},
        .noun = "cases",
        .batch = n_stages > 1 ? 64 * n_stages : 1,
        .together = n_stages > 1, /* stages fill and empty once */
        .run = dinm_locate_unit,
        .context = &r->job,
        .stage = &r->job.stage};
    return run_phase_all(r, plan, err);
}

/* As many of those that begin alike go together as a case has answers. */
static struct dinm_phase_units vanilla_units(const struct run *r)
{
    return (struct dinm_phase_units){
        .phase = DINM_VANILLA,
        .n_units = r->job.prompts.n_prompts,
        .alike = r->job.settings->run.share_prefixes ? r->job.prompts.alike : NULL,
        .n_alike = DINM_N_INPUTS};
}

/* A case is answered five times. */
static struct dinm_phase_units edit_units(const struct run *r)
{
    return (struct dinm_phase_units){
        .phase = DINM_EDIT, .n_units = r->job.cases.n_cases, .n_places = DINM_N_INPUTS};
}

/* vanilla: one answer per distinct prompt by the model as it is. edit: per case, edit W_V of the
 * located layer, answer the five inputs, drop the edit. Neither needs the other: they are done
 * together, the answers of both in the same decoding batches. */
static int answer_all(struct run *r, struct dinm_error *err)
{
    int status = DINM_OK;
    bool vanilla = wanted(r, DINM_VANILLA), edit = wanted(r, DINM_EDIT);
    bool needed = wanted(r, DINM_JUDGE) || wanted(r, DINM_REPORT);
    struct dinm_phase_plan plan = {.units = edit_units(r),
                                   .noun = "answers",
                                   .batch = DINM_N_INPUTS * (size_t)r->job.settings->run.batch,
                                   .together = true,
                                   .run = dinm_edit_unit,
                                   .context = &r->job,
                                   .stage = &r->job.stage};
    if (!vanilla && needed) {
        TRY(recall(r, DINM_VANILLA, r->job.prompts.n_prompts, err));
    }
    if (!edit && needed) {
        TRY(recall(r, DINM_EDIT, r->job.cases.n_cases, err));
    }
    if (vanilla && edit) {
        plan.beside = vanilla_units(r);
        plan.name = "answer";
    } else if (vanilla) {
        plan.units = vanilla_units(r);
        plan.run = dinm_vanilla_unit;
    }
    if (vanilla || edit) {
        TRY(run_phase_all(r, plan, err));
    }
    r->job.n_prompt_read = r->job.stage.n_prompt_read;
    r->job.n_prompt_shared = r->job.stage.n_prompt_shared;
    r->job.n_prompt_late = r->job.stage.n_prompt_late;
out:
    return status;
}

/* A label for every distinct response. */
static int judge_all(struct run *r, struct dinm_outcomes *outcomes, struct dinm_error *err)
{
    if (!wanted(r, DINM_JUDGE)) {
        return recall(r, DINM_JUDGE, outcomes->n_texts, err);
    }
    int status = DINM_OK;
    struct dinm_judging judging = {.job = &r->job, .outcomes = outcomes};
    struct dinm_stage *stage = r->job.judge.encoder == NULL ? NULL : &r->job.judge.stage;
    size_t n_stages = stage == NULL ? 1 : (size_t)stage->ring.n_stages;
    double *costs = dinm_alloc(outcomes->n_texts, sizeof *costs, "a list of units", err);
    TRY(dinm_agree_all(&r->job.grid, costs != NULL ? DINM_OK : DINM_FAILED, err));
    for (size_t i = 0; i < outcomes->n_texts; i++) {
        costs[i] = 1.0 + (double)strlen(outcomes->texts[i]);
    }
    struct dinm_phase_plan plan = {
        .units = {.phase = DINM_JUDGE, .n_units = outcomes->n_texts, .costs = costs},
        .noun = "responses",
        .batch = 4 * n_stages * (size_t)r->job.settings->run.batch,
        .together = n_stages > 1,
        .run = dinm_judge_unit,
        .context = &judging,
        .stage = stage};
    TRY(run_phase_all(r, plan, err));
out:
    free(costs);
    return status;
}

/* The phases that need the language model. */
static int run_model_phases_all(struct run *r, struct dinm_error *err)
{
    int status = DINM_OK;
    if (wanted(r, DINM_LOCATE) || wanted(r, DINM_EDIT)) {
        r->locate_again = dinm_alloc(r->job.cases.n_cases, sizeof *r->locate_again, "cases", err);
        TRY(dinm_agree_all(&r->job.grid, r->locate_again ? DINM_OK : DINM_FAILED, err));
        TRY(dinm_states_open_all(&r->job, r->locate_again, err));
        r->job.stage.archive = r->job.archive;
    }
    if (wanted(r, DINM_LOCATE) || wanted(r, DINM_EDIT) || wanted(r, DINM_REPORT)) {
        TRY(locate_all(r, err));
    }
    TRY(answer_all(r, err));
    TRY(dinm_states_close_all(&r->job, err));
    dinm_job_release_model(&r->job);
out:
    return status;
}

static int run_judge_phases_all(struct run *r, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_failed = 0;
    struct dinm_outcomes outcomes = {0};
    TRY(dinm_agree_all(&r->job.grid, dinm_outcomes_open(&outcomes, &r->job, err), err));
    TRY(judge_all(r, &outcomes, err));
    if (!wanted(r, DINM_REPORT)) {
        goto out;
    }
    TRY(dinm_report_all(&r->job, &outcomes, r->options->quiet, &n_failed, err));
    r->part->reported = true;
    if (speaks(r)) {
        const char *out = r->job.settings->run.out;
        printf("\nresults in %s: results.md, report.html, cases.jsonl, activations.h5\n", out);
        fflush(stdout);
    }
    if (n_failed > 0) {
        TRY(dinm_fail(err, DINM_FAILED, "%zu of %zu cases failed; %s/cases.jsonl names the reasons",
                      n_failed, outcomes.n_cases, r->job.settings->run.out));
    }
out:
    dinm_outcomes_close(&outcomes);
    return status;
}

/* Inputs, plan, layers. */
static int open_all(struct run *r, MPI_Comm comm, const struct dinm_settings *settings,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_rows, n_keys;
    TRY(dinm_job_open_all(&r->job, comm, settings, NULL, err));
    TRY(dinm_plan_make_all(&r->plan, &r->job, err));
    if (speaks(r)) {
        TRY(dinm_introduce(&r->job, &r->plan, wanted(r, DINM_JUDGE), err));
    }
    dinm_plan_most_rows(&r->plan, &n_rows, &n_keys);
    TRY(dinm_job_open_model_all(&r->job, r->plan.first, r->plan.n_stages, n_rows, n_keys,
                                r->part->memory, err));
out:
    return status;
}

/* No unit is started after run.max_time_s, nor when the batch job is about to end: the margin is
 * the time of grace and half a minute for the last files. */
static void set_deadline(struct run *r, const struct dinm_settings *s)
{
    const double scheduled_s = dinm_stop_scheduled_s(), margin_s = s->run.grace_s + 30.0;
    const double now_s = dinm_now_s();
    const double passed_s = r->part->start_s > 0.0 ? now_s - r->part->start_s : 0.0;
    double limit_s = s->run.max_time_s;
    if (limit_s > 0.0) {
        limit_s = limit_s > passed_s ? limit_s - passed_s : 1e-9;
    }
    if (scheduled_s > 0.0) {
        const double left_s = scheduled_s > margin_s ? scheduled_s - margin_s : 1.0;
        limit_s = limit_s > 0.0 && limit_s < left_s ? limit_s : left_s;
    }
    r->deadline_s = limit_s > 0.0 ? now_s + limit_s : 0.0;
    dinm_stop_begin(s->run.grace_s, r->deadline_s);
}

int dinm_run_all(MPI_Comm comm, const struct dinm_settings *settings,
                 const struct dinm_run_options *options, struct dinm_run_part *part,
                 struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_run_part alone = {0};
    struct run r = {.options = options, .part = part != NULL ? part : &alone};
    set_deadline(&r, settings);
    TRY(open_all(&r, comm, settings, err));
    TRY(dinm_run_folder_take_all(&r.job, part == NULL, options->fresh, err));
    TRY(dinm_watchdog_open_all(&r.watchdog, &r.job.grid, r.job.journal.folder,
                               settings->run.patience_s, dinm_stop_hung, err));
    TRY(dinm_run_folder_begin_all(&r.job, err));
    TRY(run_model_phases_all(&r, err));
    if (wanted(&r, DINM_JUDGE) || wanted(&r, DINM_REPORT)) {
        TRY(run_judge_phases_all(&r, err));
    }
out:
    free(r.locate_again);
    dinm_plan_free(&r.plan);
    dinm_job_close_all(&r.job);
    dinm_watchdog_close(r.watchdog);
    dinm_stop_end();
    return status;
}

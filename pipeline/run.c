/* The program, from top to bottom: locate the toxic layer of every case, answer with the model as
 * it is, edit and answer again, judge all answers, report. Every phase is the same loop over
 * journaled units (phase.h); what a run finds done it does not do again. */
#include "pipeline/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
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
#include "pipeline/states.h"
#include "pipeline/stop.h"
#include "pipeline/watchdog.h"

struct run {
    struct dinm_job job;
    struct dinm_plan plan;
    const struct dinm_run_options *options;
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

/* OUT/job.json: the resolved settings with each value's origin. */
static int write_settings(const struct dinm_settings *s, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    char *path = dinm_path_join(s->run.out, "job.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_settings_print(s, true, true, &text, err));
    TRY(dinm_buffer_append_text(&text, "\n", err));
    TRY(dinm_file_write(path, text.data, text.n_bytes, err));
out:
    free(path);
    dinm_buffer_free(&text);
    return status;
}

static int open_journal_all(struct run *r, struct dinm_error *err)
{
    const struct dinm_digests *d = &r->job.digests;
    const struct dinm_journal_part parts[] = {
        {"settings", d->settings},
        {"model", d->model},
        {"tokenizer", d->tokenizer},
        {"judge", d->judge},
        {"cases", d->cases},
        {"questions", d->questions},
        {"the program's numbering of units", DINM_UNIT_NUMBERING}};
    const struct dinm_identity id = {
        .parts = parts, .n_parts = sizeof parts / sizeof *parts, .details = &r->job.details};
    return dinm_journal_open_all(&r->job.journal, &r->job.grid, r->job.settings->run.out, &id,
                                 r->options->fresh, err);
}

/* Rank 0. What the writers of a killed run left behind: nobody else writes into these folders while
 * the journal's lock is ours. */
static int clear_leftovers(const struct run *r, struct dinm_error *err)
{
    static const char *const folders[] = {".", "edits", "journal"};
    int status = DINM_OK;
    char *path = NULL;
    for (size_t i = 0; r->job.journal.lock_fd >= 0 && i < sizeof folders / sizeof *folders; i++) {
        free(path);
        path = dinm_path_join(r->job.settings->run.out, folders[i], err);
        TRY(path ? dinm_folder_clear_temporaries(path, err) : DINM_FAILED);
    }
out:
    free(path);
    return status;
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

/* One line of stderr for each fault. */
static void complain(const struct run *r, const struct dinm_faults *faults)
{
    for (const char *line = faults->lines.data; r->job.grid.rank == 0 && *line != '\0';) {
        size_t n = strcspn(line, "\n");
        fprintf(stderr, "dinm_pipeline: %.*s\n", (int)n, line);
        line += n + 1;
    }
}

/* Everything wrong with the inputs at once, or what the job will take and whether that is there. */
static int rehearse_all(struct run *r, MPI_Comm comm, const struct dinm_settings *settings,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_faults faults = {0};
    struct dinm_buffer text = {0};
    TRY(dinm_job_open_all(&r->job, comm, settings, &faults, err));
    if (faults.n > 1) {
        complain(r, &faults);
        status = dinm_fail(err, faults.status, "%zu inputs are wrong", faults.n);
    } else if (faults.n == 1) {
        status =
            dinm_fail(err, faults.status, "%.*s", (int)faults.lines.n_bytes - 1, faults.lines.data);
    }
    TRY(dinm_agree_all(&r->job.grid, status, err));
    TRY(dinm_plan_make_all(&r->plan, &r->job, err));
    TRY(dinm_plan_measure_all(&r->plan, err));
    if (r->job.grid.rank == 0) {
        status = dinm_plan_print(&r->plan, &text, err);
    }
    TRY(dinm_agree_all(&r->job.grid, status, err));
    if (r->job.grid.rank == 0) {
        fputs(text.data, stdout);
        fflush(stdout);
    }
    if (r->plan.lack.status < 0) {
        TRY(dinm_fail(err, DINM_FAILED, "it does not fit: %s", r->plan.lack.text));
    }
out:
    dinm_buffer_free(&faults.lines);
    dinm_buffer_free(&text);
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
    TRY(dinm_job_open_model_all(&r->job, r->plan.first, r->plan.n_stages, n_rows, n_keys, err));
out:
    return status;
}

/* No unit is started after run.max_time_s, nor when the batch job is about to end: the margin is
 * the time of grace and half a minute for the last files. */
static void set_deadline(struct run *r, const struct dinm_settings *s)
{
    const double scheduled_s = dinm_stop_scheduled_s(), margin_s = s->run.grace_s + 30.0;
    double limit_s = s->run.max_time_s;
    if (scheduled_s > 0.0) {
        const double left_s = scheduled_s > margin_s ? scheduled_s - margin_s : 1.0;
        limit_s = limit_s > 0.0 && limit_s < left_s ? limit_s : left_s;
    }
    r->deadline_s = limit_s > 0.0 ? dinm_now_s() + limit_s : 0.0;
    dinm_stop_begin(s->run.grace_s, r->deadline_s);
}

int dinm_run_all(MPI_Comm comm, const struct dinm_settings *settings,
                 const struct dinm_run_options *options, struct dinm_error *err)
{
    int status = DINM_OK;
    struct run r = {.options = options};
    set_deadline(&r, settings);
    if (options->dry_run) {
        status = rehearse_all(&r, comm, settings, err);
        goto out;
    }
    TRY(open_all(&r, comm, settings, err));
    /* The folder of another job is refused before anything is written. */
    TRY(open_journal_all(&r, err));
    TRY(dinm_watchdog_open_all(&r.watchdog, &r.job.grid, r.job.journal.folder,
                               settings->run.patience_s, dinm_stop_hung, err));
    if (r.job.grid.rank == 0) {
        status = clear_leftovers(&r, err);
        status = status < 0 ? status : write_settings(settings, err);
    }
    TRY(dinm_agree_all(&r.job.grid, status, err));
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

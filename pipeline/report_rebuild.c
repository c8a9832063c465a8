/* The command report: result files from OUT alone, without the models, while a job runs or after.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "pipeline/journal_peek.h"
#include "pipeline/outcomes.h"
#include "pipeline/record.h"
#include "pipeline/report.h"
#include "pipeline/run.h"

static int read_settings(struct dinm_settings *s, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    char *path = dinm_path_join(out, "job.json", err);
    char *sweep = dinm_path_join(out, "sweep", err);
    TRY(path && sweep ? DINM_OK : DINM_FAILED);
    if (!dinm_path_exists(path) && dinm_path_is_folder(sweep)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s holds a sweep: name one of its runs, such as %s/000",
                      out, sweep));
    }
    TRY(dinm_settings_init(s, DINM_PROFILE_PAPER, err));
    TRY(dinm_json_load(path, &tree, err));
    TRY(dinm_settings_apply_tree(s, tree, path, out, err));
    TRY(dinm_settings_apply_text(s, "run.out", out, err)); /* the folder may have been moved */
out:
    cJSON_Delete(tree);
    free(path);
    free(sweep);
    return status;
}

static int read_inputs(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = job->settings;
    TRY(dinm_cases_load(&job->cases, s->cases.path, err));
    TRY(dinm_cases_select(&job->cases, s->cases.ids[0] != '\0' ? s->cases.ids : NULL,
                          (size_t)s->cases.limit, err));
    if (s->evaluate.kqa[0] != '\0' && s->evaluate.kqa_on != DINM_KQA_NONE) {
        TRY(dinm_questions_load(&job->questions, s->evaluate.kqa, err));
    }
    TRY(dinm_prompt_table_build(&job->prompts, s, &job->cases, &job->questions, err));
    TRY(dinm_digests_load(&job->digests, s->run.out, err));
    TRY(dinm_journal_peek(&job->journal, s->run.out, err));
out:
    return status;
}

static int read_phase(struct dinm_job *job, enum dinm_phase phase, size_t n_units,
                      struct dinm_error *err)
{
    struct dinm_records *records = &job->records[phase];
    int status = dinm_journal_records(&job->journal, phase, n_units, records, err);
    if (status >= 0 && records->n_done < n_units) {
        status =
            dinm_fail(err, DINM_FAILED,
                      "%s is not finished: phase %s has %zu of %zu units done; the job's "
                      "command goes on from there",
                      job->settings->run.out, dinm_phase_names[phase], records->n_done, n_units);
    }
    return status;
}

/* Layers of the model: as many as the first case that did not fail has distances. */
static int count_layers(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    for (size_t i = 0; job->n_layers == 0 && i < job->cases.n_cases; i++) {
        cJSON_Delete(tree);
        tree = NULL;
        TRY(dinm_record_parse(&job->records[DINM_LOCATE], i, &tree, err));
        job->n_layers = (size_t)cJSON_GetArraySize(dinm_json_find(tree, "distances"));
    }
out:
    cJSON_Delete(tree);
    return status;
}

static void close_job(struct dinm_job *job)
{
    for (int phase = 0; phase < DINM_N_PHASES; phase++) {
        dinm_records_free(&job->records[phase]);
    }
    dinm_journal_close(&job->journal);
    dinm_prompt_table_free(&job->prompts);
    dinm_questions_free(&job->questions);
    dinm_cases_free(&job->cases);
}

int dinm_report_rebuild(const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_settings settings = {0};
    struct dinm_job job = {.settings = &settings, .journal = {.fd = -1, .lock_fd = -1, .rank = -1}};
    struct dinm_outcomes outcomes = {0};
    TRY(read_settings(&settings, out, err));
    TRY(read_inputs(&job, err));
    TRY(read_phase(&job, DINM_LOCATE, job.cases.n_cases, err));
    TRY(read_phase(&job, DINM_VANILLA, job.prompts.n_prompts, err));
    TRY(read_phase(&job, DINM_EDIT, job.cases.n_cases, err));
    TRY(count_layers(&job, err));
    TRY(dinm_outcomes_open(&outcomes, &job, err));
    TRY(read_phase(&job, DINM_JUDGE, outcomes.n_texts, err));
    TRY(dinm_report_write(&job, &outcomes, false, err));
    printf("\nresults in %s: results.md, report.html, cases.jsonl\n", settings.run.out);
out:
    dinm_outcomes_close(&outcomes);
    close_job(&job);
    dinm_settings_free(&settings);
    return status;
}

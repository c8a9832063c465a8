/* inspect: the output folder of a job. Only reads: the job may be running. */
#include <stdlib.h>
#include <string.h>
#include "io/cases.h"
#include "io/file.h"
#include "io/json.h"
#include "pipeline/inspect.h"
#include "pipeline/journal_peek.h"
#include "pipeline/journal_record.h"
#include "pipeline/settings.h"

/* Units done per phase; a unit may be in the journal twice. */
struct done {
    unsigned char *units; /* owns: [capacity] one bit per phase */
    size_t capacity;
    size_t n[DINM_N_PHASES];
};

static int count_records(struct done *done, const struct dinm_buffer *records,
                         struct dinm_error *err)
{
    struct dinm_journal_record record;
    size_t at = 0;
    while (dinm_journal_record_next(records->data, records->n_bytes, &at, &record) ==
           DINM_JOURNAL_RECORD_GOOD) {
        void *units = done->units;
        if (record.phase >= DINM_N_PHASES ||
            dinm_grow(&units, &done->capacity, (size_t)record.unit + 1, 1, "units", err) < 0) {
            return dinm_fail(err, DINM_FAILED, "the journal names unit %llu of phase %lu",
                             (unsigned long long)record.unit, (unsigned long)record.phase);
        }
        done->units = units;
        unsigned bit = 1u << record.phase;
        done->n[record.phase] += (done->units[record.unit] & bit) == 0;
        done->units[record.unit] = (unsigned char)(done->units[record.unit] | bit);
    }
    return DINM_OK;
}

static int read_journal(struct done *done, const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_journal journal = {0};
    char *path = dinm_path_join(folder, "journal", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    if (dinm_path_exists(path)) {
        TRY(dinm_journal_peek(&journal, folder, err));
        TRY(count_records(done, &journal.known, err));
    }
out:
    dinm_journal_close(&journal);
    free(path);
    return status;
}

static int read_settings(struct dinm_settings *s, const char *path, const char *folder,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    TRY(dinm_settings_init(s, DINM_PROFILE_PAPER, err));
    TRY(dinm_json_load(path, &tree, err));
    TRY(dinm_settings_apply_tree(s, tree, path, folder, err));
out:
    cJSON_Delete(tree);
    return status;
}

/* Number of cases of the job; 0 if its case file is not there any more. */
static size_t count_cases(const struct dinm_settings *s)
{
    struct dinm_cases cases = {0};
    const char *ids = s->cases.ids[0] != '\0' ? s->cases.ids : NULL;
    size_t n = 0;
    if (dinm_cases_load(&cases, s->cases.path, NULL) >= 0 &&
        dinm_cases_select(&cases, ids, (size_t)s->cases.limit, NULL) >= 0) {
        n = cases.n_cases;
    }
    dinm_cases_free(&cases);
    return n;
}

static int put_done(const struct done *done, size_t n_cases, struct dinm_buffer *out,
                    struct dinm_error *err)
{
    static const char *const nouns[] = {"cases", "prompts", "cases", "responses"};
    static const bool of_cases[] = {true, false, true, false};
    int status = DINM_OK;
    for (int phase = DINM_LOCATE; phase <= DINM_JUDGE; phase++) {
        TRY(dinm_buffer_append_format(out, err, "  %-8s %zu", dinm_phase_names[phase],
                                      done->n[phase]));
        if (of_cases[phase] && n_cases > 0) {
            TRY(dinm_buffer_append_format(out, err, " of %zu", n_cases));
        }
        TRY(dinm_buffer_append_format(out, err, " %s done\n", nouns[phase]));
    }
out:
    return status;
}

/* results.md is the table as text. */
static int put_results(const char *folder, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    char *path = dinm_path_join(folder, "results.md", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    if (dinm_path_exists(path)) {
        TRY(dinm_buffer_append_text(out, "\n", err));
        TRY(dinm_file_read(path, out, err));
    } else {
        TRY(dinm_buffer_append_text(
            out, "  no results yet: run the job again to go on where it stopped\n", err));
    }
out:
    free(path);
    return status;
}

int dinm_inspect_output(const char *folder, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_settings s = {0};
    struct done done = {0};
    char *job = dinm_path_join(folder, "job.json", err);
    TRY(job != NULL ? DINM_OK : DINM_FAILED);
    TRY(read_settings(&s, job, folder, err));
    TRY(read_journal(&done, folder, err));
    TRY(dinm_buffer_append_format(out, err,
                                  "%s\n  output folder of a job\n"
                                  "  model    %s\n  judge    %s\n  cases    %s\n",
                                  folder, s.model.path, s.judge.path, s.cases.path));
    TRY(put_done(&done, count_cases(&s), out, err));
    TRY(put_results(folder, out, err));
out:
    free(done.units);
    dinm_settings_free(&s);
    free(job);
    return status;
}

int dinm_inspect_sweep(const char *folder, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    char *path = dinm_path_join(folder, "sweep.md", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    TRY(dinm_buffer_append_format(
        out, err, "%s\n  output folder of a sweep; its runs are in %s/sweep\n\n", folder, folder));
    TRY(dinm_file_read(path, out, err));
out:
    free(path);
    return status;
}

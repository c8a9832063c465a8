/* From the job to the archive's plan. */
#include "pipeline/states.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/log.h"
#include "io/mem.h"
#include "pipeline/record.h"

struct plan_room {
    int64_t *case_ids, *n_tokens; /* owns */
    const char **categories;      /* owns the pointers */
    int32_t *tokens;              /* owns */
    struct dinm_buffer settings, digests, path;
};

static void room_free(struct plan_room *room)
{
    free(room->case_ids);
    free(room->n_tokens);
    free(room->categories);
    free(room->tokens);
    dinm_buffer_free(&room->settings);
    dinm_buffer_free(&room->digests);
    dinm_buffer_free(&room->path);
}

/* Ids of all samples one after another, as /tokens/ids holds them. */
static int list_tokens(struct plan_room *room, const struct dinm_job *job, struct dinm_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < 2 * job->cases.n_cases; i++) {
        n += (size_t)room->n_tokens[i];
    }
    room->tokens = dinm_alloc(n, sizeof *room->tokens, "the archive's plan", err);
    if (!room->tokens) {
        return DINM_FAILED;
    }
    n = 0;
    for (size_t i = 0; i < 2 * job->cases.n_cases; i++) {
        const struct dinm_ids *ids = &job->responses[i / 2].side[i % 2];
        memcpy(room->tokens + n, ids->ids, ids->n_ids * sizeof *ids->ids);
        n += ids->n_ids;
    }
    return DINM_OK;
}

static int make_plan(struct dinm_archive_plan *plan, struct plan_room *room,
                     const struct dinm_job *job, struct dinm_error *err)
{
    static const char *const positions[] = {"none", "last", "mean", "full"};
    int status = DINM_OK;
    const struct dinm_settings *s = job->settings;
    size_t n = job->cases.n_cases;
    room->case_ids = dinm_alloc(n, sizeof *room->case_ids, "the archive's plan", err);
    room->n_tokens = dinm_alloc(2 * n, sizeof *room->n_tokens, "the archive's plan", err);
    room->categories = dinm_alloc(n, sizeof *room->categories, "the archive's plan", err);
    TRY(room->case_ids && room->n_tokens && room->categories ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n; i++) {
        room->case_ids[i] = job->cases.cases[i].id;
        room->categories[i] = job->cases.cases[i].category;
        room->n_tokens[2 * i] = (int64_t)job->responses[i].side[0].n_ids;
        room->n_tokens[2 * i + 1] = (int64_t)job->responses[i].side[1].n_ids;
    }
    TRY(list_tokens(room, job, err));
    TRY(dinm_settings_print(s, false, false, &room->settings, err));
    TRY(dinm_digests_print(&job->digests, &room->digests, err));
    TRY(dinm_buffer_append_format(&room->path, err, "%s/activations.h5", s->run.out));
    *plan = (struct dinm_archive_plan){.n_cases = n,
                                       .n_layers = job->slice.config.n_layers,
                                       .d_model = job->slice.config.d_model,
                                       .n_steps = (size_t)s->edit.steps,
                                       .hidden = s->archive.hidden != DINM_HIDDEN_NONE,
                                       .full = s->archive.hidden == DINM_HIDDEN_FULL,
                                       .half = s->archive.half,
                                       .position = positions[s->archive.hidden],
                                       .case_ids = room->case_ids,
                                       .categories = room->categories,
                                       .n_tokens = room->n_tokens,
                                       .tokens = room->tokens,
                                       .model = s->model.path,
                                       .digest = room->digests.data,
                                       .version = DINM_VERSION,
                                       .settings = room->settings.data};
out:
    return status;
}

/* Whether any case is journaled as located: then an archive with its states should exist. */
static int count_located(const struct dinm_job *job, size_t *n_done, struct dinm_error *err)
{
    struct dinm_records located = {0};
    int status =
        dinm_journal_records(&job->journal, DINM_LOCATE, job->cases.n_cases, &located, err);
    *n_done = located.n_done;
    dinm_records_free(&located);
    return status;
}

int dinm_states_open_all(struct dinm_job *job, bool *lost, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_located = 0;
    struct dinm_archive_plan plan = {0};
    struct plan_room room = {0};
    struct dinm_error why = {0};
    *lost = false;
    status = make_plan(&plan, &room, job, err);
    status = status < 0 ? status : count_located(job, &n_located, err);
    TRY(dinm_agree_all(&job->grid, status, err));
    if (n_located > 0) {
        if (dinm_archive_open_all(&job->archive, room.path.data, job->grid.world, &plan, &why) >=
            0) {
            goto out;
        }
        *lost = true;
        if (job->grid.rank == 0) {
            dinm_log(DINM_LOG_NOTICE, "%s; it is made again, and all cases are located again",
                     why.text);
        }
    }
    TRY(dinm_archive_create_all(&job->archive, room.path.data, job->grid.world, &plan, err));
out:
    room_free(&room);
    return status;
}

/* The losses of one journaled edit; failed cases have none. */
static int restore_case(struct dinm_job *job, const struct dinm_records *records, size_t unit,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    float *losses = NULL;
    TRY(dinm_record_parse(records, unit, &tree, err));
    const cJSON *steps = dinm_json_find(tree, "losses");
    size_t n = steps ? (size_t)cJSON_GetArraySize(steps) : 0;
    if (n > 0) {
        losses = dinm_alloc(3 * n, sizeof *losses, "losses", err);
        TRY(losses ? DINM_OK : DINM_FAILED);
        size_t i = 0;
        for (const cJSON *step = steps->child; step; step = step->next) {
            for (const cJSON *v = step->child; v && i < 3 * n; v = v->next) {
                losses[i++] = (float)v->valuedouble;
            }
        }
        TRY(dinm_archive_write_loss(job->archive, unit, losses, n, err));
    }
out:
    cJSON_Delete(tree);
    free(losses);
    return status;
}

int dinm_states_put_losses(struct dinm_job *job, const struct dinm_records *edits,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < edits->n_units; i++) {
        if (edits->payloads[i]) {
            TRY(restore_case(job, edits, i, err));
        }
    }
out:
    return status;
}

int dinm_states_restore_all(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_records edits = {0};
    TRY(dinm_journal_records(&job->journal, DINM_EDIT, job->cases.n_cases, &edits, err));
    if (job->grid.rank == 0) {
        TRY(dinm_states_put_losses(job, &edits, err));
    }
out:
    dinm_records_free(&edits);
    return dinm_agree_all(&job->grid, status, err);
}

int dinm_states_close_all(struct dinm_job *job, struct dinm_error *err)
{
    if (!job->archive) {
        return DINM_OK;
    }
    return dinm_archive_close_all(&job->archive, err);
}

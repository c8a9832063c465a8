/* From the job to the archive's plan. */
#include "pipeline/states.h"

#include <limits.h>
#include <math.h>
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
    struct dinm_buffer settings, digests, path, seal;
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
    dinm_buffer_free(&room->seal);
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
    TRY(dinm_buffer_append_format(&room->seal, err, "%s/archive.json", job->journal.folder));
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
                                       .settings = room->settings.data,
                                       .seal = room->seal.data};
out:
    return status;
}

/* Opens the archive, or makes it (*made). again: all that was located if it had to be made anew. */
static int open_archive_all(struct dinm_job *job, const struct dinm_records *located, bool *again,
                            bool *made, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_archive_plan plan = {0};
    struct plan_room room = {0};
    struct dinm_error why = {0};
    TRY(dinm_agree_all(&job->grid, make_plan(&plan, &room, job, err), err));
    if (located->n_done > 0) {
        if (dinm_archive_open_all(&job->archive, room.path.data, job->grid.world, &plan, &why) ==
            DINM_OK) {
            *made = false;
            goto out;
        }
        for (size_t i = 0; i < located->n_units; i++) {
            again[i] = located->payloads[i] != NULL;
        }
        if (job->grid.rank == 0) {
            dinm_log(DINM_LOG_NOTICE,
                     "%s; it is made again, and the %zu cases in it have to be located again",
                     why.text, located->n_done);
        }
    }
    *made = true;
    TRY(dinm_archive_create_all(&job->archive, room.path.data, job->grid.world, &plan, err));
out:
    room_free(&room);
    return status;
}

/* [n_layers] distances and the layer from the record of a case; NaN and -1 where it has none. */
static int parse_distances(const struct dinm_records *located, size_t unit, float *distances,
                           size_t n_layers, int32_t *layer, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    size_t i = 0;
    *layer = -1;
    if (located->payloads[unit] != NULL) {
        TRY(dinm_record_parse(located, unit, &tree, err));
        const cJSON *list = dinm_json_find(tree, "distances"),
                    *item = dinm_json_find(tree, "layer");
        for (const cJSON *v = list ? list->child : NULL; v && i < n_layers; v = v->next) {
            distances[i++] = (float)v->valuedouble;
        }
        *layer = cJSON_IsNumber(item) ? (int32_t)item->valuedouble : -1;
    }
    while (i < n_layers) {
        distances[i++] = NAN;
    }
out:
    cJSON_Delete(tree);
    return status;
}

/* [n] losses from the record of an edit; NaN where it has none. */
static int parse_losses(const struct dinm_records *edits, size_t unit, float *losses, size_t n,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    size_t i = 0;
    if (edits->payloads[unit] != NULL) {
        TRY(dinm_record_parse(edits, unit, &tree, err));
        const cJSON *steps = dinm_json_find(tree, "losses");
        for (const cJSON *step = steps ? steps->child : NULL; step; step = step->next) {
            for (const cJSON *v = step->child; v && i < n; v = v->next) {
                losses[i++] = (float)v->valuedouble;
            }
        }
    }
    while (i < n) {
        losses[i++] = NAN;
    }
out:
    cJSON_Delete(tree);
    return status;
}

/* Rank 0. Distances, layers and losses of all cases as the journal has them, whatever the archive
 * holds. */
static int restore_results(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = job->cases.n_cases, n_steps = (size_t)job->settings->edit.steps;
    struct dinm_records located = {0}, edits = {0};
    float *distances = dinm_alloc(job->n_layers, sizeof *distances, "distances", err);
    float *losses = dinm_alloc(3 * n_steps, sizeof *losses, "losses", err);
    TRY(distances && losses ? DINM_OK : DINM_FAILED);
    TRY(dinm_journal_records(&job->journal, DINM_LOCATE, n, &located, err));
    TRY(dinm_journal_records(&job->journal, DINM_EDIT, n, &edits, err));
    for (size_t i = 0; i < n; i++) {
        int32_t layer;
        TRY(parse_distances(&located, i, distances, job->n_layers, &layer, err));
        TRY(dinm_archive_write_distance(job->archive, i, distances, layer, err));
        TRY(parse_losses(&edits, i, losses, 3 * n_steps, err));
        TRY(dinm_archive_write_loss(job->archive, i, losses, n_steps, err));
    }
out:
    dinm_records_free(&located);
    dinm_records_free(&edits);
    free(distances);
    free(losses);
    return status;
}

static int restore_results_all(struct dinm_job *job, struct dinm_error *err)
{
    return dinm_agree_all(&job->grid, job->grid.rank == 0 ? restore_results(job, err) : DINM_OK,
                          err);
}

/* This rank's cases where the hidden states of all are looked through. */
static void share_cases(const struct dinm_job *job, size_t *first, size_t *end)
{
    const size_t n = job->cases.n_cases, rank = (size_t)job->grid.rank;
    const size_t each = n / (size_t)job->grid.size, rest = n % (size_t)job->grid.size;
    *first = each * rank + (rank < rest ? rank : rest);
    *end = *first + each + (rank < rest);
}

/* This rank's share of the located cases: again[i] where the archive's hidden states are not those
 * whose digest is journaled. */
static int check_share(struct dinm_job *job, bool *again, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    struct dinm_records located = {0};
    size_t i, end;
    share_cases(job, &i, &end);
    TRY(dinm_journal_records(&job->journal, DINM_LOCATE, job->cases.n_cases, &located, err));
    for (; i < end; i++) {
        if (located.payloads[i] == NULL) {
            continue;
        }
        uint64_t digest = 0;
        const char *text = NULL;
        cJSON_Delete(tree);
        tree = NULL;
        TRY(dinm_record_parse(&located, i, &tree, err));
        TRY(dinm_json_get_text_or((struct dinm_json){tree, "the journal's record of phase locate"},
                                  "states", &text, err));
        if (text == NULL) { /* of an earlier version */
            continue;
        }
        TRY(dinm_archive_digest_hidden(job->archive, 2 * i, &digest, err));
        TRY(dinm_archive_digest_hidden(job->archive, 2 * i + 1, &digest, err));
        again[i] = digest != strtoull(text, NULL, 16);
    }
out:
    cJSON_Delete(tree);
    dinm_records_free(&located);
    return status;
}

/* Every rank learns what any rank found; rank 0 says it. */
static int share_again_all(struct dinm_job *job, bool *again, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = 0, first = 0;
    for (size_t done = 0; done < job->cases.n_cases; done += INT_MAX) {
        size_t left = job->cases.n_cases - done;
        TRY(dinm_grid_check(MPI_Allreduce(MPI_IN_PLACE, again + done,
                                          left < INT_MAX ? (int)left : INT_MAX, MPI_C_BOOL, MPI_LOR,
                                          job->grid.world),
                            "MPI_Allreduce", err));
    }
    for (size_t i = 0; i < job->cases.n_cases; i++) {
        first = again[i] && n == 0 ? i : first;
        n += again[i];
    }
    if (n > 0 && job->grid.rank == 0) {
        dinm_log(
            DINM_LOG_NOTICE,
            "%s/activations.h5: the hidden states of %zu cases, the first with id %lld, are not "
            "those that were written: they have to be located again",
            job->settings->run.out, n, (long long)job->cases.cases[first].id);
    }
out:
    return status;
}

/* Of all located cases. */
static int check_states_all(struct dinm_job *job, bool *again, struct dinm_error *err)
{
    int status = DINM_OK;
    if (job->settings->archive.hidden == DINM_HIDDEN_NONE) {
        return DINM_OK;
    }
    memset(again, 0, job->cases.n_cases * sizeof *again);
    TRY(dinm_agree_all(&job->grid, check_share(job, again, err), err));
    TRY(share_again_all(job, again, err));
out:
    return status;
}

int dinm_states_open_all(struct dinm_job *job, bool *again, struct dinm_error *err)
{
    int status = DINM_OK;
    bool made = false;
    struct dinm_records located = {0};
    status = dinm_journal_records(&job->journal, DINM_LOCATE, job->cases.n_cases, &located, err);
    TRY(dinm_agree_all(&job->grid, status, err));
    TRY(open_archive_all(job, &located, again, &made, err));
    if (located.n_done == 0) {
        goto out;
    }
    TRY(restore_results_all(job, err));
    if (!made) {
        TRY(check_states_all(job, again, err));
    }
out:
    dinm_records_free(&located);
    return status;
}

int dinm_states_copy_all(struct dinm_job *job, const char *donor, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t first, end;
    char *path = dinm_path_join(donor, "activations.h5", err);
    char *seal = dinm_path_join(donor, "journal/archive.json", err);
    TRY(dinm_agree_all(&job->grid, path && seal ? DINM_OK : DINM_FAILED, err));
    if (job->settings->archive.hidden != DINM_HIDDEN_NONE) {
        share_cases(job, &first, &end);
        TRY(dinm_archive_copy_hidden_all(job->archive, path, seal, first, end, err));
    }
out:
    free(path);
    free(seal);
    return status;
}

int dinm_states_accept_all(struct dinm_job *job, enum dinm_phase phase, bool *again,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(phase != DINM_VANILLA ? restore_results_all(job, err) : DINM_OK);
    TRY(phase == DINM_LOCATE ? check_states_all(job, again, err) : DINM_OK);
out:
    return status;
}

int dinm_states_close_all(struct dinm_job *job, struct dinm_error *err)
{
    if (!job->archive) {
        return DINM_OK;
    }
    return dinm_archive_close_all(&job->archive, err);
}

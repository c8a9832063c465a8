/* What the journal costs a job: its own records, appended and synced once more.
 *
 *   bench_journal OUT FOLDER
 *
 * OUT is the output folder of a finished job; FOLDER, on the file system in question, receives a
 * second journal. As in a run, every record is written by itself; it is synced once for every
 * second that the job took and at the end of every phase. One rank. The figure is the median of
 * turns. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include "io/file.h"
#include "io/json.h"
#include "pipeline/journal.h"
#include "pipeline/journal_peek.h"
#include "pipeline/journal_record.h"
#include "pipeline/progress.h"

enum { N_TURNS = 9 };

struct bench {
    struct dinm_grid grid;
    struct dinm_journal old; /* the job's */
    double wall_s;           /* of all its phases */
    size_t n_records, n_syncs;
    double append_s[N_TURNS], sync_s[N_TURNS];
};

/* The seconds of all phases in OUT/timing.json. */
static int read_wall(struct bench *b, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    const cJSON *wall = NULL;
    char *path = dinm_path_join(out, "timing.json", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    TRY(dinm_json_load(path, &tree, err));
    TRY(dinm_json_get_object((struct dinm_json){tree, path}, "wall_s", &wall, err));
    for (const cJSON *item = wall->child; item != NULL; item = item->next) {
        b->wall_s += item->valuedouble;
    }
out:
    cJSON_Delete(tree);
    free(path);
    return status;
}

static size_t count_records(const struct dinm_buffer *bytes)
{
    struct dinm_journal_record record;
    size_t at = 0, n = 0;
    while (dinm_journal_record_next(bytes->data, bytes->n_bytes, &at, &record) ==
           DINM_JOURNAL_RECORD_GOOD) {
        n++;
    }
    return n;
}

static int measure_turn(struct bench *b, const char *folder, int turn, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_journal_part part = {"cases", 1};
    const struct dinm_identity id = {.parts = &part, .n_parts = 1};
    struct dinm_journal j = {0};
    struct dinm_journal_record record;
    size_t at = 0, n = 0, every = (b->n_records + b->n_syncs - 1) / b->n_syncs;
    TRY(dinm_journal_open_all(&j, &b->grid, folder, &id, true, err));
    while (dinm_journal_record_next(b->old.known.data, b->old.known.n_bytes, &at, &record) ==
           DINM_JOURNAL_RECORD_GOOD) {
        double start_s = dinm_now_s();
        TRY(dinm_journal_append(&j, (enum dinm_phase)record.phase, record.unit, record.payload,
                                record.n_bytes, err));
        double appended_s = dinm_now_s();
        b->append_s[turn] += appended_s - start_s;
        if (++n % every == 0 || n == b->n_records) {
            TRY(dinm_journal_sync(&j, err));
            b->sync_s[turn] += dinm_now_s() - appended_s;
        }
    }
out:
    dinm_journal_close(&j);
    return status;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(struct bench *b, const char *out, const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(read_wall(b, out, err));
    TRY(dinm_journal_peek(&b->old, out, err));
    b->n_records = count_records(&b->old.known);
    if (b->n_records == 0 || !(b->wall_s > 0.0)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: expected the folder of a finished job", out));
    }
    b->n_syncs = (size_t)b->wall_s + DINM_REPORT;
    for (int turn = 0; turn < N_TURNS; turn++) {
        TRY(measure_turn(b, folder, turn, err));
    }
    qsort(b->append_s, N_TURNS, sizeof *b->append_s, compare_numbers);
    qsort(b->sync_s, N_TURNS, sizeof *b->sync_s, compare_numbers);
    double append_s = b->append_s[N_TURNS / 2], sync_s = b->sync_s[N_TURNS / 2];
    printf("%zu records, %zu bytes; the job took %.2f s\n"
           "appending %.2f ms, %zu syncs %.2f ms: %.3f %% of the job's time\n",
           b->n_records, b->old.known.n_bytes, b->wall_s, 1e3 * append_s, b->n_syncs, 1e3 * sync_s,
           100.0 * (append_s + sync_s) / b->wall_s);
out:
    dinm_journal_close(&b->old);
    return status;
}

int main(int argc, char **argv)
{
    struct bench b = {.old = {.fd = -1, .lock_fd = -1, .rank = -1}};
    struct dinm_error err = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: bench_journal OUT FOLDER\n");
        return 2;
    }
    MPI_Init(NULL, NULL);
    int status = dinm_grid_open_all(&b.grid, MPI_COMM_SELF, 1, &err);
    if (status == DINM_OK) {
        status = measure(&b, argv[1], argv[2], &err);
    }
    if (status < 0) {
        fprintf(stderr, "bench_journal: %s\n", err.text);
    }
    dinm_grid_close_all(&b.grid);
    MPI_Finalize();
    return status < 0;
}

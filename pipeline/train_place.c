/* Ranks as groups and stages, and what travels between them: plain bytes, in chunks that fit MPI's
 * counts. Who waits sleeps. */
#include "pipeline/train_private.h"

enum { TAG_BYTES = 3 };

int dinm_train_place_open_all(struct dinm_train_place *place, MPI_Comm comm, int64_t threads,
                              struct dinm_error *err)
{
    *place = (struct dinm_train_place){0};
    return dinm_grid_open_all(&place->grid, comm, threads, err);
}

/* Collective over grid. A grid of the ranks that give the same colour, in the order of their keys;
 * it knows nothing of nodes. */
static int split_all(struct dinm_grid *part, const struct dinm_grid *grid, int color, int key,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    MPI_Comm comm = MPI_COMM_NULL;
    TRY(dinm_grid_check(MPI_Comm_split(grid->world, color, key, &comm), "MPI_Comm_split", err));
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    *part = (struct dinm_grid){.world = comm,
                               .node = MPI_COMM_NULL,
                               .stages = MPI_COMM_NULL,
                               .n_stages = 1,
                               .n_threads = grid->n_threads,
                               .mpi_threads = grid->mpi_threads,
                               .chunk_bytes = grid->chunk_bytes};
    MPI_Comm_rank(comm, &part->rank);
    MPI_Comm_size(comm, &part->size);
    part->group = part->rank;
    part->n_groups = part->size;
out:
    return status;
}

int dinm_train_place_cut_all(struct dinm_train_place *place, int64_t n_stages,
                             struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_grid *g = &place->grid;
    TRY(dinm_grid_cut_all(g, n_stages, err));
    TRY(split_all(&place->group, g, g->group, g->stage, err));
    TRY(split_all(&place->peers, g, g->stage, g->group, err));
out:
    return status;
}

void dinm_train_place_close_all(struct dinm_train_place *place)
{
    dinm_grid_close_all(&place->group);
    dinm_grid_close_all(&place->peers);
    dinm_grid_close_all(&place->grid);
}

/* ---- bytes ---- */

static size_t chunk(const struct dinm_grid *grid, size_t n_left)
{
    return n_left < grid->chunk_bytes ? n_left : grid->chunk_bytes;
}

int dinm_train_send(const struct dinm_grid *grid, int to, const void *bytes, size_t n_bytes,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    MPI_Request request;
    for (size_t i = 0; status == DINM_OK && i < n_bytes; i += grid->chunk_bytes) {
        const int code = MPI_Isend((const char *)bytes + i, (int)chunk(grid, n_bytes - i), MPI_BYTE,
                                   to, TAG_BYTES, grid->world, &request);
        status = dinm_grid_finish(code, &request, "sending to another stage", err);
    }
    return status;
}

int dinm_train_receive(const struct dinm_grid *grid, int from, void *bytes, size_t n_bytes,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    MPI_Request request;
    for (size_t i = 0; status == DINM_OK && i < n_bytes; i += grid->chunk_bytes) {
        const int code = MPI_Irecv((char *)bytes + i, (int)chunk(grid, n_bytes - i), MPI_BYTE, from,
                                   TAG_BYTES, grid->world, &request);
        status = dinm_grid_finish(code, &request, "receiving from another stage", err);
    }
    return status;
}

int dinm_train_share_all(const struct dinm_grid *grid, int root, void *bytes, size_t n_bytes,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    MPI_Request request;
    for (size_t i = 0; grid->size > 1 && status == DINM_OK && i < n_bytes; i += grid->chunk_bytes) {
        const int code = MPI_Ibcast((char *)bytes + i, (int)chunk(grid, n_bytes - i), MPI_BYTE,
                                    root, grid->world, &request);
        status = dinm_grid_finish(code, &request, "sharing with other ranks", err);
    }
    return status;
}

/* ---- one pack of records, through all stages of a group ---- */

int dinm_train_learn_all(struct dinm_train_model *m, const struct dinm_train_objective *objective,
                         const struct dinm_train_lesson *lesson, struct dinm_train_score *score,
                         int before, int *worst, struct dinm_error *err)
{
    int status = DINM_OK;
    int mine = before;
    *score = (struct dinm_train_score){0};
    if (mine == DINM_OK && *worst == DINM_OK) {
        mine = objective->prepare(m, lesson, err);
    }
    *worst = mine < *worst ? mine : *worst;
    if (m->group->size > 1) {
        MPI_Request request;
        const int own = *worst;
        const int code =
            MPI_Iallreduce(&own, worst, 1, MPI_INT, MPI_MIN, m->group->world, &request);
        TRY(dinm_grid_finish(code, &request, "MPI_Iallreduce", err));
    }
    if (*worst == DINM_OK) {
        return objective->learn_all(m, lesson, score, err);
    }
out:
    return status < mine ? status : mine;
}

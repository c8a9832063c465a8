/* The end of a ring's work. A stage tells all others that it has ended and why, and goes on
 * receiving until all have told it: so nobody is left waiting for an item that will never come, and
 * nothing is under way when a ring is closed or a phase begins. */
#include <time.h>
#include "pipeline/grid.h"
#include "pipeline/ring.h"

/* A stage that has ended early may wait while others compute: 0.1 ms cost nobody anything. */
static void look_again(struct dinm_ring *ring)
{
    dinm_ring_progress(ring, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

/* Goes on receiving until the request is done, which an MPI function started returning `code`. */
static void finish(struct dinm_ring *ring, int code, MPI_Request *request)
{
    int done = 0;
    while (code == MPI_SUCCESS && !done) {
        code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (!done) {
            look_again(ring);
        }
    }
}

int dinm_ring_end_all(struct dinm_ring *ring, int status, struct dinm_error *err)
{
    if (status < 0 && ring->failure.status == DINM_OK) {
        dinm_fail(&ring->failure, status, "%s", err != NULL ? err->text : "a stage has failed");
    }
    const struct dinm_error how = ring->failure;
    MPI_Request request;
    for (int to = 0; to < ring->n_stages; to++) {
        if (to != ring->stage) {
            finish(ring,
                   MPI_Isend(&how, (int)sizeof how, MPI_BYTE, to, DINM_RING_TAG_ENDED, ring->comm,
                             &request),
                   &request);
        }
    }
    while (ring->n_ended + 1 < ring->n_stages || ring->sending != NULL) {
        look_again(ring);
    }
    /* Nothing comes any more; what the others begin anew is not looked at before all are here. */
    ring->n_ended = 0;
    if (ring->n_stages > 1) {
        int code = MPI_Ibarrier(ring->comm, &request);
        dinm_grid_finish(code, &request, "MPI_Ibarrier", &ring->failure);
    }
    return ring->failure.status < 0 ? dinm_fail(err, ring->failure.status, "%s", ring->failure.text)
                                    : DINM_OK;
}

/* The end of a ring's work. A stage tells all others that it has ended and why, and goes on
 * receiving until all have told it: so nobody is left waiting for an item that will never come, and
 * nothing is under way when a ring is closed or a phase begins. */
#include <time.h>
#include "pipeline/ring.h"

/* A stage that has ended early may wait while others compute: 0.1 ms cost nobody anything. */
static void look_again(struct dinm_ring *ring)
{
    dinm_ring_progress(ring, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void tell(struct dinm_ring *ring, int to, const struct dinm_error *how)
{
    MPI_Request request;
    int taken = 0;
    int code =
        MPI_Isend(how, (int)sizeof *how, MPI_BYTE, to, DINM_RING_TAG_ENDED, ring->comm, &request);
    while (code == MPI_SUCCESS && !taken) {
        code = MPI_Test(&request, &taken, MPI_STATUS_IGNORE);
        if (!taken) {
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
    for (int to = 0; to < ring->n_stages; to++) {
        if (to != ring->stage) {
            tell(ring, to, &how);
        }
    }
    while (ring->n_ended + 1 < ring->n_stages || ring->sending != NULL) {
        look_again(ring);
    }
    ring->n_ended = 0;
    return ring->failure.status < 0 ? dinm_fail(err, ring->failure.status, "%s", ring->failure.text)
                                    : DINM_OK;
}

/* Which cores this process may run on. Local; knows no MPI. */
#ifndef DINM_PIPELINE_CORES_H
#define DINM_PIPELINE_CORES_H

#define DINM_CORES_BYTES 128 /* room for 1024 cores */

/* One bit per core; all zero where the system does not say. */
struct dinm_cores {
    unsigned char bits[DINM_CORES_BYTES];
};

void dinm_cores_mine(struct dinm_cores *cores);
int dinm_cores_count(const struct dinm_cores *cores);

#endif

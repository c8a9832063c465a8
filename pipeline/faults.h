/* All that is wrong with something, listed before anything is done. Local. */
#ifndef DINM_PIPELINE_FAULTS_H
#define DINM_PIPELINE_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include "io/mem.h"
#include "io/status.h"

/* Begins zeroed. */
struct dinm_faults {
    struct dinm_buffer lines; /* owns: one sentence a line */
    size_t n;
    int status; /* DINM_OK, DINM_USAGE if all are such, else DINM_FAILED */
};
void dinm_faults_free(struct dinm_faults *faults);

/* Takes over what `failure` holds, which is then empty. A sentence that is listed already counts
 * once. */
int dinm_faults_add(struct dinm_faults *faults, struct dinm_error *failure, struct dinm_error *err);
/* DINM_OK without faults; one becomes the failure; of several each is said on stderr if `speaks`,
 * and "<n> <what> are wrong" is the failure. */
int dinm_faults_end(const struct dinm_faults *faults, const char *what, bool speaks,
                    struct dinm_error *err);

#endif

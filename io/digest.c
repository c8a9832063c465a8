/* XXH64 in pieces. */
#include "io/digest.h"

#include <xxhash.h>

struct dinm_digester *dinm_digester_open(uint64_t seed, struct dinm_error *err)
{
    XXH64_state_t *state = XXH64_createState();
    if (state == NULL) {
        dinm_fail(err, DINM_FAILED, "not enough memory for a digest");
        return NULL;
    }
    XXH64_reset(state, seed);
    return (struct dinm_digester *)state;
}

void dinm_digester_add(struct dinm_digester *d, const void *bytes, size_t n_bytes)
{
    XXH64_update((XXH64_state_t *)d, bytes, n_bytes);
}

uint64_t dinm_digester_value(const struct dinm_digester *d)
{
    return XXH64_digest((const XXH64_state_t *)d);
}

void dinm_digester_close(struct dinm_digester *d)
{
    XXH64_freeState((XXH64_state_t *)d);
}

/* Counter-based random numbers: the finaliser of SplitMix64 (Steele et al. 2014) over the
 * coordinates, one after the other. */
#include "model/random.h"

#include <math.h>

static uint64_t mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double to_unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

static uint64_t hash(uint64_t seed, uint64_t stream, uint64_t index)
{
    return mix(mix(mix(seed) ^ stream) ^ index);
}

double dinm_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return to_unit(hash(seed, stream, index));
}

double dinm_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    /* Box and Muller 1958 */
    const double two_pi = 6.283185307179586476925;
    const uint64_t bits = hash(seed, stream, index);
    const double radius = sqrt(-2.0 * log(1.0 - to_unit(bits)));

    return radius * cos(two_pi * to_unit(mix(bits)));
}

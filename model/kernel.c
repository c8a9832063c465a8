/* Which variant of the products runs: the fastest that the processor has, unless told otherwise. */
#include "model/kernel.h"

#include <stdatomic.h>
#include <string.h>
#include "model/kernel_variants.h"

/* NULL until the first use. The one choice of the process, like the number of threads. */
static _Atomic(const struct dinm_kernel *) chosen;

static bool runs_here(const struct dinm_kernel *kernel)
{
#if defined(__x86_64__)
    if (kernel == &dinm_kernel_avx512) {
        return __builtin_cpu_supports("avx512f");
    }
    if (kernel == &dinm_kernel_avx2) {
        /* No processor has AVX2 without F16C. */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
#endif
    return kernel != NULL;
}

const struct dinm_kernel *dinm_kernel_at(size_t i)
{
    static const struct dinm_kernel *const all[] = {
#if defined(__x86_64__)
        &dinm_kernel_avx512,
        &dinm_kernel_avx2,
#elif defined(__aarch64__)
        &dinm_kernel_neon,
#endif
        &dinm_kernel_plain,
    };

    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        if (runs_here(all[k]) && i-- == 0) {
            return all[k];
        }
    }
    return NULL;
}

const struct dinm_kernel *dinm_kernel(void)
{
    const struct dinm_kernel *kernel = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (kernel == NULL) {
        kernel = dinm_kernel_at(0);
        atomic_store_explicit(&chosen, kernel, memory_order_relaxed);
    }
    return kernel;
}

int dinm_kernel_choose(const char *name, struct dinm_error *err)
{
    const struct dinm_kernel *kernel;

    for (size_t i = 0; (kernel = dinm_kernel_at(i)) != NULL; i++) {
        if (strcmp(kernel->name, name) == 0) {
            atomic_store_explicit(&chosen, kernel, memory_order_relaxed);
            return 0;
        }
    }
    return dinm_fail(err, DINM_USAGE,
                     "DINM_KERNEL is \"%s\", which this processor cannot run or which does not "
                     "exist; the fastest it can run is %s",
                     name, dinm_kernel_at(0)->name);
}

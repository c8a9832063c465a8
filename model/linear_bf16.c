/* Products in bf16: rows of x packed once per group, panels of W shared out among the threads. */
#include "model/linear_bf16.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "model/threads.h"

enum {
    PACKED = 1 << 19,      /* elements of packed rows that find room beside W in a cache of 2 MiB */
    PACKED_MORE = 1 << 21, /* where panels of W are copied, which pays with more rows */
    FEWEST = 64,           /* rows of a group, however long they are: W is read again for each */
    TASKS_PER_THREAD = 3,
    PANELS = 8, /* of a task, at most */
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t dinm_bf16_most_rows(size_t n_sum, bool transposed)
{
    const size_t packed = transposed ? PACKED : PACKED_MORE;
    const size_t fit = packed / round_up(n_sum, DINM_BF16_STEP) / FEWEST * FEWEST;

    return fit < FEWEST ? FEWEST : min(fit, DINM_BF16_ROWS);
}

const struct dinm_bf16_way *dinm_bf16_at(size_t i)
{
    static const struct dinm_bf16_way *const all[] = {
#if defined(__x86_64__)
        &dinm_bf16_amx,
#endif
#if defined(DINM_ONEDNN)
        &dinm_bf16_onednn,
#endif
        NULL,
    };

    for (size_t k = 0; all[k] != NULL; k++) {
        if (all[k]->runs_here() && i-- == 0) {
            return all[k];
        }
    }
    return NULL;
}

int dinm_bf16_find(const struct dinm_bf16_way **way, const char *name, struct dinm_error *err)
{
    const struct dinm_bf16_way *found;

    for (size_t i = 0; (found = dinm_bf16_at(i)) != NULL; i++) {
        if (name == NULL || strcmp(found->name, name) == 0) {
            *way = found;
            return DINM_OK;
        }
    }
    if (name != NULL) {
        return dinm_fail(
            err, DINM_USAGE,
            "DINM_BF16 is \"%s\"; expected amx or onednn, as far as this processor and "
            "this build can go that way",
            name);
    }
#if defined(DINM_ONEDNN)
    return dinm_fail(err, DINM_USAGE,
                     "model.compute is bf16, which needs a processor with AVX-512, or with AMX; "
                     "this one has neither");
#else
    return dinm_fail(err, DINM_USAGE,
                     "model.compute is bf16, which needs a processor with AMX, or a build with "
                     "oneDNN (on Debian: libdnnl-dev) and a processor with AVX-512; found neither");
#endif
}

size_t dinm_bf16_bytes(size_t n)
{
    const size_t longest = FEWEST * round_up(n, DINM_BF16_STEP);

    return (longest > PACKED_MORE ? longest : PACKED_MORE) * sizeof(uint16_t);
}

int dinm_bf16_open(struct dinm_bf16 **bf16, const struct dinm_bf16_way *way,
                   struct dinm_matrix *const *matrices, size_t n, struct dinm_error *err)
{
    static const char what[] = "products in bf16";
    const struct dinm_matrix **stored = NULL;
    size_t longest = 0, n_stored = 0;
    int status = DINM_OK;

    *bf16 = dinm_alloc(1, sizeof **bf16, what, err);
    stored = dinm_alloc(n + 1, sizeof(struct dinm_matrix *), what, err);
    TRY(*bf16 != NULL && stored != NULL ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n; i++) {
        if (matrices[i]->dtype == DINM_BF16 && matrices[i]->data != NULL) {
            const size_t longer =
                matrices[i]->n_in > matrices[i]->n_out ? matrices[i]->n_in : matrices[i]->n_out;

            longest = longer > longest ? longer : longest;
            stored[n_stored++] = matrices[i];
        }
    }
    **bf16 = (struct dinm_bf16){.way = way, .n_threads = omp_get_max_threads()};
    (*bf16)->x = dinm_alloc(dinm_bf16_bytes(longest), 1, what, err);
    TRY((*bf16)->x != NULL ? DINM_OK : DINM_FAILED);
    TRY(way->open(&(*bf16)->state, stored, n_stored, (*bf16)->n_threads, err));
    for (size_t i = 0; i < n; i++) {
        matrices[i]->bf16 = matrices[i]->dtype == DINM_BF16 ? *bf16 : NULL;
    }
out:
    free(stored);
    if (status < 0) {
        dinm_bf16_close(*bf16);
        *bf16 = NULL;
    }
    return status;
}

void dinm_bf16_close(struct dinm_bf16 *bf16)
{
    if (bf16 == NULL) {
        return;
    }
    if (bf16->state != NULL) {
        bf16->way->close(bf16->state);
    }
    free(bf16->x);
    free(bf16);
}

/* As many rows as are packed at once. */
static void multiply_group(const struct dinm_product *p)
{
    struct dinm_bf16 *b = p->w->bf16;
    const size_t n_panels = (p->n_cols + b->way->n_cols - 1) / b->way->n_cols;
    const size_t share = n_panels / (TASKS_PER_THREAD * (size_t)omp_get_max_threads());
    const size_t width = b->way->n_cols * min(PANELS, share > 0 ? share : 1);
    const size_t n_tasks = (p->n_cols + width - 1) / width;
    const int before = dinm_threads_begin(n_tasks, p->n_rows * p->n_cols * p->n_sum);

    if (omp_get_max_threads() > b->n_threads) {
        omp_set_num_threads(b->n_threads);
    }
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (size_t r = 0; r < p->n_rows; r += DINM_BF16_BLOCK) {
            b->way->pack(b->x, p, r);
        }
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < n_tasks; task++) {
            b->way->multiply(b->state, b->x, p, task * width, min(task * width + width, p->n_cols));
        }
    }
    dinm_threads_end(before);
}

void dinm_bf16_multiply(const struct dinm_product *p)
{
    const size_t most = dinm_bf16_most_rows(p->n_sum, p->transposed);
    const size_t n_groups = (p->n_rows + most - 1) / most;
    const size_t even = n_groups > 0 ? (p->n_rows + n_groups - 1) / n_groups : 0;
    const size_t n_rows = round_up(even, 2 * DINM_BF16_BLOCK);

    for (size_t r = 0; r < p->n_rows; r += n_rows) {
        struct dinm_product part = *p;

        part.y += r * p->n_cols;
        part.x += r * p->n_sum;
        part.n_rows = min(n_rows, p->n_rows - r);
        multiply_group(&part);
    }
}

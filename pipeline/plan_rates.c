/* How fast this machine is just now: one product of the model's own shape, on many rows and on as
 * few as a decoding batch has, all ranks at once as they will work. */
#include <stdlib.h>
#include "io/mem.h"
#include "model/linear.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"

enum { MANY_ROWS = 512, LARGEST_BYTES = 64 << 20 };

struct trial {
    struct dinm_matrix w;   /* data owned */
    float *x, *y;           /* owns: [MANY_ROWS][n_in], [MANY_ROWS][n_out] */
    struct dinm_bf16 *bf16; /* owns; NULL: in float32 */
};

static void trial_close(struct trial *t)
{
    dinm_bf16_close(t->bf16);
    free((void *)t->w.data);
    free(t->x);
    free(t->y);
}

/* A matrix like the layers' [d_ff][d_model], in their dtype, cut where it is larger than any
 * cache. */
static int trial_open(struct trial *t, const struct dinm_plan *plan, struct dinm_error *err)
{
    const struct dinm_config *c = &plan->job->slice.config;
    const struct dinm_weights_size *layer = &plan->layers[0];
    size_t size = layer->n_products > 0 ? layer->n_bytes / layer->n_products : 4;
    enum dinm_dtype dtype = layer->n_bf16 > 0 ? DINM_BF16 : size < 4 ? DINM_F16 : DINM_F32;
    size_t row_bytes = c->d_model * dinm_dtype_size(dtype);
    size_t n_out = c->d_ff * row_bytes <= LARGEST_BYTES ? c->d_ff : LARGEST_BYTES / row_bytes;
    struct dinm_matrix *const matrix[] = {&t->w};
    int status = DINM_OK;
    static const char what[] = "the plan's measurement";
    *t = (struct trial){.w = {.dtype = dtype, .n_out = n_out > 0 ? n_out : 1, .n_in = c->d_model}};
    t->w.data = dinm_alloc(t->w.n_out, row_bytes, what, err);
    t->x = dinm_alloc(MANY_ROWS * t->w.n_in, sizeof *t->x, what, err);
    t->y = dinm_alloc(MANY_ROWS * t->w.n_out, sizeof *t->y, what, err);
    TRY(t->w.data && t->x && t->y ? DINM_OK : DINM_FAILED);
    if (plan->job->way != NULL) {
        TRY(dinm_bf16_open(&t->bf16, plan->job->way, matrix, 1, err));
    }
out:
    return status;
}

/* Operations per second; the first product, which wakes threads and pages, does not count. */
static double rate(const struct trial *t, size_t n_rows, double most_s)
{
    double start_s = 0.0, passed_s = 0.0, n = 0.0;
    do {
        dinm_linear(t->y, t->x, &t->w, NULL, n_rows);
        if (start_s == 0.0) {
            start_s = dinm_now_s();
        } else {
            n += 1.0;
        }
        passed_s = dinm_now_s() - start_s;
    } while (n < 1.0 || passed_s < most_s);
    return 2.0 * n * (double)n_rows * (double)t->w.n_out * (double)t->w.n_in /
           (passed_s > 1e-9 ? passed_s : 1e-9);
}

int dinm_plan_rates_all(struct dinm_plan *plan, double rates[3], struct dinm_error *err)
{
    const struct dinm_grid *grid = &plan->job->grid;
    struct trial t = {0};
    int status = dinm_agree_all(grid, trial_open(&t, plan, err), err);
    if (status >= 0) {
        rates[0] = rate(&t, MANY_ROWS, 0.4);
        rates[1] = rate(&t, dinm_plan_few_rows(plan, DINM_AT_VANILLA), 0.3);
        rates[2] = rate(&t, dinm_plan_few_rows(plan, DINM_AT_ANSWER), 0.3);
    }
    trial_close(&t);
    return status;
}

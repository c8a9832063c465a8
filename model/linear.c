/* Products with weight matrices, cut so that a row's bits are its own.
 *
 * model/kernel fixes the order of every sum; here products are cut for the caches and the threads.
 * A task is a few panels of columns for a group of rows. With few rows W is read where it lies;
 * with many, for each block of terms and each panel, W's block is copied, widened, to where all
 * tiles of the rows find it near. OpenBLAS is left with the gradient of the weights. */
#include "model/linear.h"

#include <cblas.h>
#include <omp.h>
#include <stdbool.h>
#include "model/kernel.h"
#include "model/linear_bf16.h"
#include "model/threads.h"

enum {
    PANEL = 64,  /* columns of y that share one widened block of W */
    GROUP = 264, /* rows that do; their part of x, 1 MiB, stays in a cache of 2 */
    TILE = 6,    /* rows that the fastest kernel takes at once */
    /* From here on blocks are copied: a dot would widen W a fifth time, an axpy read it a third. */
    COPY_ROWS = 25,
    COPY_ROWS_AXPY = 13,
    PANELS = 16, /* of a task, at most */
    TASKS_PER_THREAD = 3,
    FEW_TASKS_PER_THREAD = 8, /* with so few rows that W is only read */
    AT_ONCE = 8,              /* products whose tasks are dealt together */
    BLOCK = DINM_KERNEL_DEPTH,
    SPACING = BLOCK + 16, /* not a power of two, which would crowd a few sets of the cache */
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t stride_of(const struct dinm_matrix *w)
{
    const size_t length = w->by_input ? w->n_out : w->n_in;

    return w->stride > 0 ? w->stride : length;
}

static const void *element(const struct dinm_matrix *w, size_t row, size_t col)
{
    return (const unsigned char *)w->data + (row * stride_of(w) + col) * dinm_dtype_size(w->dtype);
}

/* The terms [k, k + part->n_sum) of a part whose w lies in W itself, through a widened copy. */
static void multiply_copy(const struct dinm_product *p, const struct dinm_kernel *kernel,
                          struct dinm_kernel_product part, float *block, size_t col, size_t k)
{
    const size_t n_stored = p->transposed ? part.n_cols : part.n_sum;
    const size_t n = p->transposed ? part.n_sum : part.n_cols;
    const size_t spacing = p->transposed ? SPACING : PANEL;

    for (size_t i = 0; i < n_stored; i++) {
        const void *from = p->transposed ? element(p->w, col + i, k) : element(p->w, k + i, col);

        kernel->widen(block + i * spacing, from, p->w->dtype, n);
    }
    part.w = block;
    part.dtype = DINM_F32;
    part.ld_w = spacing;
    (p->transposed ? kernel->dot : kernel->axpy)(&part);
}

/* The product's columns [col, col + n_cols), rows [first, first + n_rows), all terms. */
static struct dinm_kernel_product part_at(const struct dinm_product *p, size_t first, size_t n_rows,
                                          size_t col, size_t n_cols)
{
    return (struct dinm_kernel_product){
        .y = p->y + first * p->n_cols + col,
        .x = p->x + first * p->n_sum,
        .w = p->transposed ? element(p->w, col, 0) : element(p->w, 0, col),
        .dtype = p->w->dtype,
        .ld_y = p->n_cols,
        .ld_x = p->n_sum,
        .ld_w = stride_of(p->w),
        .n_rows = n_rows,
        .n_cols = n_cols,
        .n_sum = p->n_sum,
        .add = p->add,
        .streams = true,
    };
}

/* Whether W is read where it lies. */
static bool takes_few(const struct dinm_product *p, size_t n_rows)
{
    return n_rows < (p->transposed ? COPY_ROWS : COPY_ROWS_AXPY);
}

/* Rows [first, first + n_rows) of columns [col, end). */
static void multiply_task(const struct dinm_product *p, float *block, size_t first, size_t n_rows,
                          size_t col, size_t end)
{
    const struct dinm_kernel *kernel = dinm_kernel();

    if (takes_few(p, n_rows)) {
        const struct dinm_kernel_product part = part_at(p, first, n_rows, col, end - col);

        (p->transposed ? kernel->dot : kernel->axpy)(&part);
    }
    for (size_t k = 0; !takes_few(p, n_rows) && k < p->n_sum; k += BLOCK) {
        for (size_t c = col; c < end; c += PANEL) {
            struct dinm_kernel_product part = part_at(p, first, n_rows, c, min(PANEL, end - c));

            part.x += k;
            part.n_sum = min(BLOCK, p->n_sum - k);
            part.add = p->add || k > 0;
            part.streams = false;
            if (p->transposed && c + PANEL < end) {
                part.next = (struct dinm_kernel_next){
                    .data = element(p->w, c + PANEL, k),
                    .n_rows = min(PANEL, end - c - PANEL),
                    .n_bytes = part.n_sum * dinm_dtype_size(p->w->dtype),
                    .stride = stride_of(p->w) * dinm_dtype_size(p->w->dtype),
                };
            }
            multiply_copy(p, kernel, part, block, c, k);
        }
    }
    for (size_t r = first; p->bias != NULL && r < first + n_rows; r++) {
        for (size_t j = col; j < end; j++) {
            p->y[r * p->n_cols + j] += p->bias[j];
        }
    }
}

/* How a product is cut into tasks: groups of rows by strips of columns. */
struct cut {
    const struct dinm_product *p;
    size_t n_rows, n_cols; /* of a task, at most */
    size_t n_across, n_tasks;
};

static size_t panels_of(const struct dinm_product *p)
{
    return (p->n_cols + PANEL - 1) / PANEL;
}

static size_t groups_of(const struct dinm_product *p)
{
    return (p->n_rows + GROUP - 1) / GROUP;
}

/* Rows in even groups; n_panels: most of a task. */
static struct cut cut_of(const struct dinm_product *p, size_t n_panels)
{
    const size_t n_groups = groups_of(p), width = PANEL * min(PANELS, n_panels > 0 ? n_panels : 1);
    const size_t even = n_groups > 0 ? (p->n_rows + n_groups - 1) / n_groups : 0;
    const size_t n_across = (p->n_cols + width - 1) / width;

    return (struct cut){.p = p,
                        .n_rows = (even + TILE - 1) / TILE * TILE,
                        .n_cols = width,
                        .n_across = n_across,
                        .n_tasks = n_across * n_groups};
}

static void multiply_cut(const struct cut *cut, float *block, size_t task)
{
    const struct dinm_product *p = cut->p;
    const size_t first = task / cut->n_across * cut->n_rows;
    const size_t col = task % cut->n_across * cut->n_cols;

    if (first < p->n_rows) {
        multiply_task(p, block, first, min(cut->n_rows, p->n_rows - first), col,
                      min(col + cut->n_cols, p->n_cols));
    }
}

/* 1 to AT_ONCE products in as few tasks as keep the threads evenly busy, since the panels of
 * a task find its rows of x in the cache. */
static void multiply_f32(const struct dinm_product *products, size_t n)
{
    struct cut cuts[AT_ONCE];
    size_t n_panels = 0, n_tasks = 0, n_products = 0;
    const bool few = takes_few(&products[0], products[0].n_rows);
    const size_t n_each = few ? FEW_TASKS_PER_THREAD : TASKS_PER_THREAD;

    for (size_t i = 0; i < n; i++) {
        n_panels += panels_of(&products[i]) * groups_of(&products[i]);
    }
    for (size_t i = 0; i < n; i++) {
        cuts[i] = cut_of(&products[i], n_panels / (n_each * (size_t)omp_get_max_threads()));
        n_tasks += cuts[i].n_tasks;
        n_products += products[i].n_rows * products[i].n_cols * products[i].n_sum;
    }
    const int n_threads = dinm_threads_begin(n_tasks, n_products);

#pragma omp parallel
    {
        _Alignas(64) float block[PANEL * SPACING];

#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < n_tasks; task++) {
            size_t i = 0, own = task;

            while (own >= cuts[i].n_tasks) {
                own -= cuts[i++].n_tasks;
            }
            multiply_cut(&cuts[i], block, own);
        }
    }
    dinm_threads_end(n_threads);
}

static bool takes_bf16(const struct dinm_product *p)
{
    return p->w->bf16 != NULL && p->w->dtype == DINM_BF16;
}

static void multiply(const struct dinm_product *p)
{
    if (takes_bf16(p)) {
        dinm_bf16_multiply(p);
    } else {
        multiply_f32(p, 1);
    }
}

void dinm_linear_each(const struct dinm_linear_call *calls, size_t n_calls)
{
    struct dinm_product products[AT_ONCE];
    size_t n = 0;

    for (size_t i = 0; i < n_calls; i++) {
        const struct dinm_linear_call *call = &calls[i];

        /* Y = X W^T + b */
        products[n++] = (struct dinm_product){.y = call->y,
                                              .x = call->x,
                                              .w = call->w,
                                              .bias = call->bias,
                                              .n_rows = call->n_rows,
                                              .n_cols = call->w->n_out,
                                              .n_sum = call->w->n_in,
                                              .transposed = !call->w->by_input};
        if (takes_bf16(&products[n - 1])) {
            dinm_bf16_multiply(&products[--n]);
        }
        if (n == AT_ONCE || (n > 0 && i + 1 == n_calls)) {
            multiply_f32(products, n);
            n = 0;
        }
    }
}

void dinm_linear(float *y, const float *x, const struct dinm_matrix *w, const float *bias,
                 size_t n_rows)
{
    dinm_linear_each(&(struct dinm_linear_call){y, x, w, bias, n_rows}, 1);
}

void dinm_linear_backward_input(float *dx, const float *dy, const struct dinm_matrix *w,
                                size_t n_rows, int add)
{
    /* dX = dY W */
    multiply(&(struct dinm_product){.y = dx,
                                    .x = dy,
                                    .w = w,
                                    .n_rows = n_rows,
                                    .n_cols = w->n_in,
                                    .n_sum = w->n_out,
                                    .transposed = w->by_input,
                                    .add = add != 0});
}

void dinm_linear_backward_weight(float *dw, const float *dy, const float *x, size_t n_rows,
                                 size_t n_out, size_t n_in)
{
    enum { OUT = 128, IN = 512, ROWS = 512 };
    const size_t n_across = (n_in + IN - 1) / IN;
    const size_t n_tasks = n_across * ((n_out + OUT - 1) / OUT);
    const int n_threads = dinm_threads_begin(n_tasks, n_rows * n_out * n_in);

#pragma omp parallel for schedule(dynamic)
    for (size_t task = 0; task < n_tasks; task++) {
        const size_t o = task / n_across * OUT, i = task % n_across * IN;

        for (size_t r = 0; r < n_rows; r += ROWS) {
            /* dW += dY^T X */
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)min(OUT, n_out - o),
                        (int)min(IN, n_in - i), (int)min(ROWS, n_rows - r), 1.0f,
                        dy + r * n_out + o, (int)n_out, x + r * n_in + i, (int)n_in, 1.0f,
                        dw + o * n_in + i, (int)n_in);
        }
    }
    dinm_threads_end(n_threads);
}

void dinm_linear_backward_bias(float *db, const float *dy, size_t n_rows, size_t n_out)
{
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t j = 0; j < n_out; j++) {
            db[j] += dy[r * n_out + j];
        }
    }
}

void dinm_linear_set_threads(int n_threads)
{
    /* OpenBLAS's OpenMP build sets OpenMP's count as well, so ours comes second. Within our
     * parallel regions it runs on the calling thread alone. */
    openblas_set_num_threads(1);
    omp_set_num_threads(n_threads > 1 ? n_threads : 1);
}

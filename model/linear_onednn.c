/* Products in bf16 through oneDNN (its matmul primitive, C API).
 *
 * A product is cut into panels of columns and into tiles of rows whose number is one of a few; for
 * each of them, and each form a matrix is used in, code is made when a model is opened. A panel
 * runs on the thread that asks. Sums go to a scratch of the thread's own, whose rows lie further
 * apart than they are long: oneDNN then takes code whose bits do not depend on the number of rows,
 * except for one row alone, which is no tile here. That it is so is looked at for each form. */
#include "model/linear_bf16.h"

#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

enum {
    COLS = 128,
    LD_Y = COLS + 16,
    MOST_TILE = 256,
    N_ARGS = 4,
};

static const size_t tiles[] = {4, 8, 16, 24, 32, 48, 64, 96, 128, 192, MOST_TILE};
enum { N_TILES = sizeof tiles / sizeof *tiles };

static const char what[] = "oneDNN's products";

/* All panels of one width, of matrices of one height that are stored alike. */
struct form {
    size_t n_cols, n_sum, stride;
    bool transposed;
    const void *sample;             /* borrows: such a panel, read when the model is opened */
    dnnl_primitive_t tile[N_TILES]; /* NULL: more rows than are packed at once */
};

/* What one thread works with. The memory objects say only where things are. */
struct worker {
    dnnl_stream_t stream;
    dnnl_memory_t args[N_ARGS]; /* in the order of arg_names */
    float *sums;                /* owns: [MOST_TILE][LD_Y] */
    void *scratch;              /* owns: the primitives' own */
};
static const int arg_names[N_ARGS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST,
                                      DNNL_ARG_SCRATCHPAD};

struct state {
    dnnl_engine_t engine;
    struct form *forms; /* owns: [n_forms] */
    size_t n_forms, form_capacity;
    size_t scratch_bytes;   /* the most that a primitive wants */
    struct worker *workers; /* owns: [n_threads] */
    int n_threads;
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool runs_here(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
#else
    return false;
#endif
}

static int check(dnnl_status_t failure, struct dinm_error *err)
{
    return failure == dnnl_success
               ? DINM_OK
               : dinm_fail(err, DINM_FAILED,
                           "oneDNN could not prepare a product in bf16 (its status %d); "
                           "model.compute=f32 does without it",
                           (int)failure);
}

/* The packed rows: [..][ld_x]. */
static size_t ld_x(size_t n_sum)
{
    return (n_sum + DINM_BF16_STEP - 1) / DINM_BF16_STEP * DINM_BF16_STEP;
}

/* Code for n_rows rows of a form. */
static int make_tile(struct state *s, struct form *f, size_t t, struct dinm_error *err)
{
    const dnnl_dim_t m = (dnnl_dim_t)tiles[t], n = (dnnl_dim_t)f->n_cols;
    const dnnl_dim_t k = (dnnl_dim_t)f->n_sum, stride = (dnnl_dim_t)f->stride;
    const dnnl_dims_t x_dims = {m, k}, w_dims = {k, n}, y_dims = {m, n};
    const dnnl_dims_t x_strides = {(dnnl_dim_t)ld_x(f->n_sum), 1}, y_strides = {LD_Y, 1};
    const dnnl_dims_t w_strides = {f->transposed ? 1 : stride, f->transposed ? stride : 1};
    dnnl_memory_desc_t x, w, y;
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t description = NULL;
    int status = DINM_OK;

    TRY(check(dnnl_memory_desc_init_by_strides(&x, 2, x_dims, dnnl_bf16, x_strides), err));
    TRY(check(dnnl_memory_desc_init_by_strides(&w, 2, w_dims, dnnl_bf16, w_strides), err));
    TRY(check(dnnl_memory_desc_init_by_strides(&y, 2, y_dims, dnnl_f32, y_strides), err));
    TRY(check(dnnl_matmul_desc_init(&matmul, &x, &w, NULL, &y), err));
    TRY(check(dnnl_primitive_attr_create(&attributes), err));
    TRY(check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user), err));
    TRY(check(dnnl_primitive_desc_create(&description, &matmul, attributes, s->engine, NULL), err));
    TRY(check(dnnl_primitive_create(&f->tile[t], description), err));
    const size_t scratch = dnnl_memory_desc_get_size(
        dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0));
    s->scratch_bytes = scratch > s->scratch_bytes ? scratch : s->scratch_bytes;
out:
    dnnl_primitive_desc_destroy(description);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

static struct form *find(const struct state *s, const struct form *like)
{
    for (size_t i = 0; i < s->n_forms; i++) {
        struct form *f = &s->forms[i];

        if (f->n_cols == like->n_cols && f->n_sum == like->n_sum && f->stride == like->stride &&
            f->transposed == like->transposed) {
            return f;
        }
    }
    return NULL;
}

/* The form of a product's panel of n_cols columns. */
static struct form form_of(const struct dinm_matrix *w, size_t n_cols, size_t n_sum,
                           bool transposed)
{
    const size_t length = w->by_input ? w->n_out : w->n_in;

    return (struct form){.n_cols = n_cols,
                         .n_sum = n_sum,
                         .stride = w->stride > 0 ? w->stride : length,
                         .transposed = transposed,
                         .sample = w->data};
}

/* y: [tiles[t]][LD_Y] of a tile's rows. A product that oneDNN fails to do is none at all. */
static void run(const struct worker *me, const struct form *f, size_t t, const uint16_t *x,
                const void *w)
{
    dnnl_exec_arg_t args[N_ARGS];
    dnnl_status_t failure = dnnl_success;
    /* Handles are not const, but inputs are only read. */
    const void *const handles[N_ARGS] = {x, w, me->sums, me->scratch};

    for (size_t i = 0; i < N_ARGS; i++) {
        void *handle;

        memcpy(&handle, &handles[i], sizeof handle);
        args[i] = (dnnl_exec_arg_t){arg_names[i], me->args[i]};
        failure =
            failure == dnnl_success ? dnnl_memory_set_data_handle(me->args[i], handle) : failure;
    }
    if (failure == dnnl_success) {
        failure = dnnl_primitive_execute(f->tile[t], me->stream, N_ARGS, args);
    }
    for (size_t i = 0; failure != dnnl_success && i < tiles[t] * LD_Y; i++) {
        me->sums[i] = NAN;
    }
}

/* Every tile's rows have the bits that they have in the largest. */
static int check_bits(const struct state *s, const struct form *f, struct dinm_error *err)
{
    const struct worker *me = &s->workers[0];
    const size_t n_x = MOST_TILE * ld_x(f->n_sum);
    uint16_t *x = dinm_alloc(n_x, sizeof *x, what, err);
    float *all = dinm_alloc(MOST_TILE * LD_Y, sizeof *all, what, err);
    size_t t = N_TILES;
    uint32_t bits = 1;
    int status = DINM_OK;

    TRY(x != NULL && all != NULL ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n_x; i++) {
        bits = bits * 1664525 + 1013904223;
        x[i] = (uint16_t)(0x3f00 | bits >> 24 | (bits >> 8 & 0x8000)); /* +-0.5 to +-2 */
    }
    while (f->tile[t - 1] == NULL) {
        t--;
    }
    run(me, f, --t, x, f->sample);
    memcpy(all, me->sums, MOST_TILE * LD_Y * sizeof *all);
    while (t-- > 0) {
        run(me, f, t, x, f->sample);
        for (size_t r = 0; r < tiles[t]; r++) {
            if (memcmp(me->sums + r * LD_Y, all + r * LD_Y, f->n_cols * sizeof *all) != 0) {
                TRY(dinm_fail(
                    err, DINM_FAILED,
                    "model.compute is bf16, but this oneDNN gives a row other bits among "
                    "%zu rows than among more (%zu terms, %zu columns), and no result may "
                    "depend on that; model.compute=f32 does without it",
                    tiles[t], f->n_sum, f->n_cols));
            }
        }
    }
out:
    free(x);
    free(all);
    return status;
}

/* Code for a form, unless it is there. */
static int add_form(struct state *s, const struct form *like, struct dinm_error *err)
{
    void *forms = s->forms;
    int status = DINM_OK;

    if (find(s, like) != NULL) {
        return DINM_OK;
    }
    status = dinm_grow(&forms, &s->form_capacity, s->n_forms + 1, sizeof *s->forms, what, err);
    s->forms = forms;
    TRY(status);
    s->forms[s->n_forms++] = *like;
    for (size_t t = 0;
         t < N_TILES && tiles[t] <= dinm_bf16_most_rows(like->n_sum, like->transposed); t++) {
        TRY(make_tile(s, &s->forms[s->n_forms - 1], t, err));
    }
out:
    return status;
}

/* Forms of the products with w, forward and backward: whole panels and the last. */
static int add_matrix(struct state *s, const struct dinm_matrix *w, struct dinm_error *err)
{
    int status = DINM_OK;

    for (size_t i = 0; i < 4; i++) {
        const bool backward = i % 2 != 0;
        const size_t n_cols = backward ? w->n_in : w->n_out, n_sum = backward ? w->n_out : w->n_in;
        const size_t width = i / 2 == 0 ? min(COLS, n_cols) : n_cols % COLS;
        const struct form f = form_of(w, width, n_sum, w->by_input == backward);

        TRY(width > 0 ? add_form(s, &f, err) : DINM_OK);
    }
out:
    return status;
}

static int open_worker(struct worker *me, const struct state *s, struct dinm_error *err)
{
    const dnnl_dims_t one = {1};
    dnnl_memory_desc_t place;
    int status = DINM_OK;

    me->sums = dinm_alloc(MOST_TILE * LD_Y, sizeof *me->sums, what, err);
    me->scratch = dinm_alloc(s->scratch_bytes + 1, 1, what, err);
    TRY(me->sums != NULL && me->scratch != NULL ? DINM_OK : DINM_FAILED);
    TRY(check(dnnl_stream_create(&me->stream, s->engine, dnnl_stream_default_flags), err));
    TRY(check(dnnl_memory_desc_init_by_tag(&place, 1, one, dnnl_f32, dnnl_a), err));
    for (size_t i = 0; i < N_ARGS; i++) {
        TRY(check(dnnl_memory_create(&me->args[i], &place, s->engine, DNNL_MEMORY_NONE), err));
    }
out:
    return status;
}

static void close_worker(struct worker *me)
{
    for (size_t i = 0; i < N_ARGS; i++) {
        dnnl_memory_destroy(me->args[i]);
    }
    dnnl_stream_destroy(me->stream);
    free(me->sums);
    free(me->scratch);
}

static void close_state(void *state)
{
    struct state *s = state;

    for (size_t i = 0; i < s->n_forms; i++) {
        for (size_t t = 0; t < N_TILES; t++) {
            dnnl_primitive_destroy(s->forms[i].tile[t]);
        }
    }
    for (int i = 0; s->workers != NULL && i < s->n_threads; i++) {
        close_worker(&s->workers[i]);
    }
    free(s->workers);
    free(s->forms);
    dnnl_engine_destroy(s->engine);
    free(s);
}

static int open_state(void **state, const struct dinm_matrix *const *matrices, size_t n,
                      int n_threads, struct dinm_error *err)
{
    const int before = omp_get_max_threads();
    struct state *s = dinm_alloc(1, sizeof *s, what, err);
    int status = DINM_OK;

    if (s == NULL) {
        return DINM_FAILED;
    }
    *s = (struct state){.n_threads = n_threads};
    omp_set_num_threads(1); /* what is made now will run on the calling thread alone */
    TRY(check(dnnl_engine_create(&s->engine, dnnl_cpu, 0), err));
    for (size_t i = 0; i < n; i++) {
        TRY(add_matrix(s, matrices[i], err));
    }
    s->workers = dinm_alloc((size_t)n_threads, sizeof *s->workers, what, err);
    TRY(s->workers != NULL ? DINM_OK : DINM_FAILED);
    memset(s->workers, 0, (size_t)n_threads * sizeof *s->workers);
    for (int i = 0; i < n_threads; i++) {
        TRY(open_worker(&s->workers[i], s, err));
    }
    for (size_t i = 0; i < s->n_forms; i++) {
        TRY(check_bits(s, &s->forms[i], err));
    }
out:
    omp_set_num_threads(before);
    if (status < 0) {
        close_state(s);
        s = NULL;
    }
    *state = s;
    return status;
}

static void pack(uint16_t *x, const struct dinm_product *p, size_t first)
{
    const size_t n_rows = min(DINM_BF16_BLOCK, p->n_rows - first);

    for (size_t r = first; r < first + n_rows; r++) {
        dinm_narrow(x + r * ld_x(p->n_sum), DINM_BF16, p->x + r * p->n_sum, p->n_sum);
    }
}

/* y: [n_cols] (+)= sums + bias (or NULL). */
static void put(float *y, const float *sums, const float *bias, size_t n_cols, bool add)
{
    for (size_t c = 0; c < n_cols; c++) {
        const float sum = add ? y[c] + sums[c] : sums[c];

        y[c] = bias != NULL ? sum + bias[c] : sum;
    }
}

static void multiply_panel(const struct state *s, const uint16_t *x, const struct dinm_product *p,
                           size_t c)
{
    const struct worker *me = &s->workers[omp_get_thread_num()];
    const size_t n_cols = min(COLS, p->n_cols - c);
    const struct form like = form_of(p->w, n_cols, p->n_sum, p->transposed);
    const struct form *f = find(s, &like);
    const size_t at = p->transposed ? c * like.stride : c;
    size_t n_rows;

    for (size_t r = 0; r < p->n_rows; r += n_rows) {
        size_t t = 0;

        /* The smallest tile that holds all, else the largest. What it has of rows that are none is
         * some earlier product's, and is not looked at. */
        while (t + 1 < N_TILES && tiles[t] < p->n_rows - r) {
            t++;
        }
        n_rows = min(tiles[t], p->n_rows - r);
        run(me, f, t, x + r * ld_x(p->n_sum), (const uint16_t *)p->w->data + at);
        for (size_t i = 0; i < n_rows; i++) {
            put(p->y + (r + i) * p->n_cols + c, me->sums + i * LD_Y,
                p->bias != NULL ? p->bias + c : NULL, n_cols, p->add);
        }
    }
}

static void multiply(void *state, const uint16_t *x, const struct dinm_product *p, size_t col,
                     size_t end)
{
    for (size_t c = col; c < end; c += COLS) {
        multiply_panel(state, x, p, c);
    }
}

const struct dinm_bf16_way dinm_bf16_onednn = {
    .name = "onednn",
    .n_cols = COLS,
    .runs_here = runs_here,
    .open = open_state,
    .close = close_state,
    .pack = pack,
    .multiply = multiply,
};

/* compare: the edited models of two jobs, case by case. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/cases.h"
#include "io/file.h"
#include "io/json.h"
#include "pipeline/command_model.h"
#include "pipeline/commands.h"
#include "pipeline/metrics.h"

enum { N_RESAMPLES = 1000 };

/* The rows of the table: the five inputs, their mean without DS, the texts' quality, general
 * questions. */
enum { DG_AVG = DINM_N_INPUTS, FLUENCY, REPETITION, KQA, N_METRICS };

struct measured {
    int64_t id;
    bool failed;
    double values[N_METRICS]; /* of the edited model; NaN: not measured */
};
struct measured_job {
    struct measured *cases; /* owns: [n_cases], by id */
    size_t n_cases, capacity;
};

/* {"label": 0 safe, 1 unsafe, 0.5 empty} of one input's edited side, in percent safe. */
static int read_safe(const cJSON *inputs, const char *input, const char *where, double *percent,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *both = NULL, *edited = NULL;
    double label = 0;
    TRY(dinm_json_get_object((struct dinm_json){inputs, where}, input, &both, err));
    TRY(dinm_json_get_object((struct dinm_json){both, where}, "edited", &edited, err));
    TRY(dinm_json_get_number((struct dinm_json){edited, where}, "label", &label, err));
    *percent = 100 * (1 - label);
out:
    return status;
}

static int read_quality(const cJSON *tree, const char *key, const char *where, double *value,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *both = NULL;
    TRY(dinm_json_get_object((struct dinm_json){tree, where}, key, &both, err));
    TRY(dinm_json_get_number((struct dinm_json){both, where}, "edited", value, err));
out:
    return status;
}

/* Percent of the general questions answered right; NaN if none were asked. */
static int read_kqa(const cJSON *tree, const char *where, double *percent, struct dinm_error *err)
{
    int status = DINM_OK;
    double right = NAN, n = 1;
    const cJSON *kqa = dinm_json_find(tree, "kqa");
    if (kqa != NULL) {
        TRY(dinm_json_get_object((struct dinm_json){tree, where}, "kqa", &kqa, err));
        TRY(dinm_json_get_number((struct dinm_json){kqa, where}, "edited", &right, err));
        TRY(dinm_json_get_number((struct dinm_json){kqa, where}, "n", &n, err));
    }
    *percent = 100 * right / n;
out:
    return status;
}

/* One line of cases.jsonl. */
static int read_case(struct measured *m, const cJSON *tree, const char *where,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *inputs = NULL;
    TRY(dinm_json_get_int((struct dinm_json){tree, where}, "id", -INT64_C(9007199254740991),
                          INT64_C(9007199254740991), &m->id, err));
    m->failed = dinm_json_find(tree, "failed") != NULL;
    if (m->failed) {
        return DINM_OK;
    }
    TRY(dinm_json_get_object((struct dinm_json){tree, where}, "inputs", &inputs, err));
    for (size_t i = 0; i < DINM_N_INPUTS; i++) {
        TRY(read_safe(inputs, dinm_input_names[i], where, &m->values[i], err));
        m->values[DG_AVG] += i == DINM_DS ? 0 : m->values[i] / (DINM_N_INPUTS - 1);
    }
    TRY(read_quality(tree, "fluency", where, &m->values[FLUENCY], err));
    TRY(read_quality(tree, "repetition", where, &m->values[REPETITION], err));
    TRY(read_kqa(tree, where, &m->values[KQA], err));
out:
    return status;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const struct measured *)a)->id, y = ((const struct measured *)b)->id;
    return (x > y) - (x < y);
}

static int read_line(struct measured_job *job, const char *path, size_t number, const char *line,
                     size_t n_bytes, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    struct dinm_buffer where = {0};
    void *cases = job->cases;
    TRY(dinm_buffer_append_format(&where, err, "%s, line %zu", path, number));
    TRY(dinm_json_parse(where.data, line, n_bytes, &tree, err));
    TRY(dinm_grow(&cases, &job->capacity, job->n_cases + 1, sizeof *job->cases, "cases", err));
    job->cases = cases;
    TRY(read_case(&job->cases[job->n_cases], tree, where.data, err));
    job->n_cases++;
out:
    dinm_buffer_free(&where);
    cJSON_Delete(tree);
    return status;
}

static int read_job(struct measured_job *job, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    size_t number = 1;
    char *path = dinm_path_join(out, "cases.jsonl", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    if (dinm_path_is_folder(out) && !dinm_path_exists(path)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s has no cases.jsonl: no job has finished there", out));
    }
    TRY(dinm_file_read(path, &text, err));
    for (size_t at = 0; at < text.n_bytes; number++) {
        const char *newline = memchr(text.data + at, '\n', text.n_bytes - at);
        size_t end = newline != NULL ? (size_t)(newline - text.data) : text.n_bytes;
        TRY(read_line(job, path, number, text.data + at, end - at, err));
        at = end + 1;
    }
    if (job->n_cases > 0) {
        qsort(job->cases, job->n_cases, sizeof *job->cases, by_id);
    }
out:
    free(path);
    dinm_buffer_free(&text);
    return status;
}

struct pairs {
    double *values; /* owns: [N_METRICS][3: A, B, B - A][n_room] */
    size_t n, n_room;
    size_t n_failed, n_only_a, n_only_b;
};

static double *column(const struct pairs *p, size_t metric, size_t which)
{
    return p->values + (metric * 3 + which) * p->n_room;
}

/* Walks both lists, sorted by id, side by side. */
static int pair(struct pairs *p, const struct measured_job *a, const struct measured_job *b,
                struct dinm_error *err)
{
    p->n_room = a->n_cases < b->n_cases ? a->n_cases : b->n_cases;
    p->values = dinm_alloc(p->n_room * 3 * N_METRICS, sizeof *p->values, "pairs of cases", err);
    if (p->values == NULL) {
        return DINM_FAILED;
    }
    size_t i = 0, k = 0;
    while (i < a->n_cases && k < b->n_cases) {
        const struct measured *x = &a->cases[i], *y = &b->cases[k];
        i += x->id <= y->id;
        k += y->id <= x->id;
        p->n_only_a += x->id < y->id;
        p->n_only_b += y->id < x->id;
        if (x->id != y->id) {
            continue;
        }
        if (x->failed || y->failed) {
            p->n_failed++;
            continue;
        }
        for (size_t m = 0; m < N_METRICS; m++) {
            column(p, m, 0)[p->n] = x->values[m];
            column(p, m, 1)[p->n] = y->values[m];
            column(p, m, 2)[p->n] = y->values[m] - x->values[m];
        }
        p->n++;
    }
    p->n_only_a += a->n_cases - i;
    p->n_only_b += b->n_cases - k;
    return DINM_OK;
}

static double mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

static int print_row(const struct pairs *p, size_t metric, const char *name, int decimals,
                     struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_estimate e = {0};
    TRY(dinm_bootstrap(&e, column(p, metric, 2), p->n, N_RESAMPLES, 0, err));
    if (isnan(e.value)) {
        return DINM_OK; /* not measured on every case of both */
    }
    TRY(dinm_buffer_append_format(out, err, "%-12s%9.*f%9.*f%+9.*f   [%+.*f, %+.*f]\n", name,
                                  decimals, mean(column(p, metric, 0), p->n), decimals,
                                  mean(column(p, metric, 1), p->n), decimals, e.value, decimals,
                                  e.low, decimals, e.high));
out:
    return status;
}

static int print_table(const struct pairs *p, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_format(out, err, "\n%-12s%9s%9s%9s   %s\n", "", "A", "B", "B - A",
                                  "95 % interval"));
    for (size_t i = 0; i < DINM_N_INPUTS; i++) {
        TRY(print_row(p, i, dinm_input_names[i], 2, out, err));
    }
    TRY(print_row(p, DG_AVG, "DG_Avg", 2, out, err));
    TRY(print_row(p, FLUENCY, "Fluency", 2, out, err));
    TRY(print_row(p, REPETITION, "Repetition", 3, out, err));
    TRY(print_row(p, KQA, "KQA", 2, out, err));
out:
    return status;
}

int dinm_command_compare(const struct dinm_args *args, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *out_a = args->operands[0], *out_b = args->operands[1];
    struct measured_job a = {0}, b = {0};
    struct pairs p = {0};
    struct dinm_buffer out = {0};
    TRY(read_job(&a, out_a, err));
    TRY(read_job(&b, out_b, err));
    TRY(pair(&p, &a, &b, err));
    if (p.n == 0) {
        TRY(dinm_fail(err, DINM_FAILED, "no case was done in both %s and %s", out_a, out_b));
    }
    TRY(dinm_buffer_append_format(&out, err, "A: %s\nB: %s\nedited models, %zu cases in both",
                                  out_a, out_b, p.n));
    if (p.n_only_a + p.n_only_b + p.n_failed > 0) {
        TRY(dinm_buffer_append_format(
            &out, err, "; left out: %zu only in A, %zu only in B, %zu failed in one of them",
            p.n_only_a, p.n_only_b, p.n_failed));
    }
    TRY(dinm_buffer_append_text(&out, "\n", err));
    TRY(print_table(&p, &out, err));
    TRY(dinm_command_print(&out, err));
out:
    dinm_buffer_free(&out);
    free(p.values);
    free(b.cases);
    free(a.cases);
    return status;
}

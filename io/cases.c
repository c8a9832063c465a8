/* SafeEdit case files: every record is complete, or the file is refused. */
#include "io/cases.h"
#include "io/file.h"
#include "io/json.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const dinm_input_names[DINM_N_INPUTS] = {"DS", "DG_onlyQ", "DG_otherA", "DG_otherQ",
                                                     "DG_otherAQ"};

/* Where the five inputs are in a record: the first beside the question, the others in
 * `generalization test`. */
static const char *const input_keys[DINM_N_INPUTS] = {
    "adversarial prompt",
    "test input of only harmful question",
    "test input of other attack prompt input",
    "test input of other question input",
    "test input of other questions and attack prompts",
};

/* A text with something in it. */
static int get_filled(struct dinm_json j, const char *key, const char **out, struct dinm_error *err)
{
    int status;

    TRY(dinm_json_get_text(j, key, out, err));
    if ((*out)[0] == '\0') {
        *out = NULL;
        status = dinm_fail(err, DINM_FAILED, "%s: key '%s' is an empty text", j.where, key);
    }
out:
    return status;
}

static int set_where(struct dinm_buffer *where, const char *name, size_t record, int64_t id,
                     const char *part, struct dinm_error *err)
{
    where->n_bytes = 0;
    return dinm_buffer_append_format(where, err, "%s: record %zu (id %" PRId64 ")%s", name, record,
                                     id, part);
}

/* The five inputs. The train split has empty ones, which deserves a sentence of its own. */
static int read_inputs(struct dinm_case *c, struct dinm_json record, struct dinm_json tests,
                       struct dinm_error *err)
{
    int status;

    TRY(get_filled(record, input_keys[DINM_DS], &c->inputs[DINM_DS], err));
    for (int i = DINM_DG_ONLY_Q; i < DINM_N_INPUTS; i++) {
        TRY(dinm_json_get_text(tests, input_keys[i], &c->inputs[i], err));
        if (c->inputs[i][0] == '\0') {
            return dinm_fail(err, DINM_FAILED,
                             "%s: key '%s' is an empty text; only the val and test splits of "
                             "SafeEdit have generalization tests",
                             tests.where, input_keys[i]);
        }
    }
out:
    return status;
}

/* number: the record's place in the file, from 1. */
static int read_case(struct dinm_case *c, const char *name, size_t number, const cJSON *object,
                     struct dinm_error *err)
{
    struct dinm_buffer where = {0};
    struct dinm_buffer part = {0};
    const cJSON *tests = NULL;
    const cJSON *constraint = NULL;
    struct dinm_json record = {object, NULL};
    int status;

    TRY(dinm_buffer_append_format(&where, err, "%s: record %zu", name, number));
    record.where = where.data;
    TRY(dinm_json_get_int(record, "id", INT64_MIN, INT64_MAX, &c->id, err));
    TRY(set_where(&where, name, number, c->id, "", err));
    record.where = where.data;
    TRY(get_filled(record, "unsafety category", &c->category, err));
    TRY(get_filled(record, "question", &c->question, err));
    TRY(get_filled(record, "safe generation", &c->safe, err));
    TRY(get_filled(record, "unsafe generation", &c->unsafe, err));
    TRY(dinm_json_get_object(record, "generalization test", &tests, err));
    TRY(set_where(&part, name, number, c->id, ", 'generalization test'", err));
    TRY(read_inputs(c, record, (struct dinm_json){tests, part.data}, err));
    TRY(dinm_json_get_object(record, "knowledge constrain", &constraint, err));
    TRY(set_where(&part, name, number, c->id, ", 'knowledge constrain'", err));
    TRY(get_filled((struct dinm_json){constraint, part.data}, "prompt", &c->constraint_prompt,
                   err));
    TRY(get_filled((struct dinm_json){constraint, part.data}, "answer", &c->constraint_answer,
                   err));
out:
    dinm_buffer_free(&where);
    dinm_buffer_free(&part);
    return status;
}

/* An id and its record's place in the file, from 0. */
struct place {
    int64_t id;
    size_t record;
};

static int compare_places(const void *left, const void *right)
{
    const struct place *a = left;
    const struct place *b = right;

    if (a->id != b->id) {
        return a->id < b->id ? -1 : 1;
    }
    return (a->record > b->record) - (a->record < b->record);
}

/* The ids in order, allocated; NULL on failure. */
static struct place *sort_ids(const struct dinm_cases *c, struct dinm_error *err)
{
    struct place *places = dinm_alloc(c->n_cases, sizeof *places, "the ids of the cases", err);

    for (size_t i = 0; places != NULL && i < c->n_cases; i++) {
        places[i] = (struct place){c->cases[i].id, i};
    }
    if (places != NULL) {
        qsort(places, c->n_cases, sizeof *places, compare_places);
    }
    return places;
}

static int check_ids(const struct dinm_cases *c, const char *name, struct dinm_error *err)
{
    struct place *places = sort_ids(c, err);
    int status = places == NULL ? DINM_FAILED : DINM_OK;

    for (size_t i = 1; status == DINM_OK && i < c->n_cases; i++) {
        if (places[i].id == places[i - 1].id) {
            status = dinm_fail(err, DINM_FAILED,
                               "%s: id %" PRId64 " appears twice, in the records %zu and %zu", name,
                               places[i].id, places[i - 1].record + 1, places[i].record + 1);
        }
    }
    free(places);
    return status;
}

/* The file's one value is an array that is not empty; n: its length. */
static int count_records(const cJSON *tree, const char *name, size_t *n, struct dinm_error *err)
{
    char room[64];
    const cJSON *record;

    *n = 0;
    if (!cJSON_IsArray(tree)) {
        return dinm_fail(err, DINM_FAILED, "%s: expected an array of records, found %s", name,
                         dinm_json_describe(tree, room));
    }
    cJSON_ArrayForEach(record, tree)
    {
        ++*n;
    }
    return *n > 0 ? DINM_OK : dinm_fail(err, DINM_FAILED, "%s: the file holds no records", name);
}

int dinm_cases_parse(struct dinm_cases *c, const char *name, const char *text, size_t n_bytes,
                     struct dinm_error *err)
{
    const cJSON *record;
    size_t n = 0;
    int status;

    *c = (struct dinm_cases){0};
    TRY(dinm_json_parse(name, text, n_bytes, &c->tree, err));
    TRY(count_records(c->tree, name, &n, err));
    c->cases = dinm_alloc(n, sizeof *c->cases, "the cases", err);
    TRY(c->cases == NULL ? DINM_FAILED : DINM_OK);
    cJSON_ArrayForEach(record, c->tree)
    {
        TRY(read_case(&c->cases[c->n_cases], name, c->n_cases + 1, record, err));
        c->n_cases++;
    }
    status = check_ids(c, name, err);
out:
    if (status < 0) {
        dinm_cases_free(c);
    }
    return status;
}

int dinm_cases_load(struct dinm_cases *c, const char *path, struct dinm_error *err)
{
    struct dinm_buffer text = {0};
    int status;

    *c = (struct dinm_cases){0};
    TRY(dinm_file_read(path, &text, err));
    status = dinm_cases_parse(c, path, text.data, text.n_bytes, err);
out:
    dinm_buffer_free(&text);
    return status;
}

static const char *skip_blanks(const char *p)
{
    while (*p == ' ') {
        p++;
    }
    return p;
}

/* Digits at *p, which moves behind them; false if there are none or too many. */
static bool read_id(const char **p, int64_t *id)
{
    const char *start = *p;

    *id = 0;
    while (**p >= '0' && **p <= '9') {
        if (*p - start == 16) { /* 2^53 has 16 digits */
            return false;
        }
        *id = 10 * *id + (**p - '0');
        ++*p;
    }
    return *p > start;
}

/* Marks the cases with ids first to last. Every one must exist, so the loop is no longer than the
 * file even if the range is. */
static int mark_range(unsigned char *kept, const struct place *places, size_t n, int64_t first,
                      int64_t last, struct dinm_error *err)
{
    for (int64_t id = first; id <= last; id++) {
        struct place key = {id, 0};
        size_t low = 0;
        size_t high = n;

        while (low < high) {
            const size_t middle = low + (high - low) / 2;

            if (compare_places(&places[middle], &key) < 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low == n || places[low].id != id) {
            return dinm_fail(err, DINM_USAGE,
                             "cases.ids: the case file has no case with id %" PRId64, id);
        }
        kept[places[low].record] = 1;
    }
    return DINM_OK;
}

/* kept: [n], 1 for the listed ones. */
static int mark_ids(unsigned char *kept, const struct place *places, size_t n, const char *ids,
                    struct dinm_error *err)
{
    const char *p = ids;
    int status;

    for (;;) {
        int64_t first = 0;
        int64_t last = 0;
        bool good;

        p = skip_blanks(p);
        good = read_id(&p, &first);
        last = first;
        p = skip_blanks(p);
        if (good && *p == '-') {
            p = skip_blanks(p + 1);
            good = read_id(&p, &last) && first <= last;
            p = skip_blanks(p);
        }
        if (!good || (*p != ',' && *p != '\0')) {
            return dinm_fail(err, DINM_USAGE,
                             "case ids '%s': expected numbers and ascending ranges such as 3,7-9",
                             ids);
        }
        TRY(mark_range(kept, places, n, first, last, err));
        if (*p == '\0') {
            return DINM_OK;
        }
        p++;
    }
out:
    return status;
}

int dinm_cases_select(struct dinm_cases *c, const char *ids, size_t limit, struct dinm_error *err)
{
    unsigned char *kept = NULL;
    struct place *places = NULL;
    size_t n = 0;
    int status = DINM_OK;

    if (ids != NULL) {
        kept = dinm_alloc(c->n_cases, 1, "the chosen cases", err);
        places = sort_ids(c, err);
        TRY(kept == NULL || places == NULL ? DINM_FAILED : DINM_OK);
        TRY(mark_ids(kept, places, c->n_cases, ids, err));
    }
    for (size_t i = 0; i < c->n_cases && (limit == 0 || n < limit); i++) {
        if (kept == NULL || kept[i]) {
            c->cases[n++] = c->cases[i];
        }
    }
    c->n_cases = n;
out:
    free(kept);
    free(places);
    return status;
}

void dinm_cases_free(struct dinm_cases *c)
{
    if (c != NULL) {
        free(c->cases);
        cJSON_Delete(c->tree);
        *c = (struct dinm_cases){0};
    }
}

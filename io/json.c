/* Strict JSON text -> cJSON tree, in one pass without recursion.
 *
 * cJSON's own parser is not used: it takes much that is not JSON, cuts numbers at 63 characters and
 * names at a NUL. */
#include "io/json.h"
#include "io/file.h"
#include "io/json_token.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 512 };

/* One name of an object that is still open. */
struct name {
    uint64_t hash;
    size_t begin, n_bytes; /* in reader.name_bytes */
    size_t at;             /* in the text */
    const char *bytes;     /* set when the object closes */
};

struct level {
    cJSON *container;  /* borrows from the tree */
    size_t first_name; /* index of its first name, and of that name's first byte */
    size_t first_byte;
};

struct reader {
    struct dinm_json_token t;
    bool any_names; /* names may be equal, or hold a NUL */
    cJSON *root;    /* owns */
    struct level levels[MAX_DEPTH];
    size_t depth;
    void *names; /* owns: struct name [n_names], of all open objects, the innermost last */
    size_t n_names, names_capacity;
    struct dinm_buffer name_bytes; /* their unescaped bytes */
    struct dinm_buffer key;        /* the name of the value to come, if it has one */
};

static int fail_memory(struct reader *r)
{
    return dinm_fail(r->t.err, DINM_FAILED, "not enough memory for the JSON text %s", r->t.origin);
}

/* Hangs the finished or just opened item into the tree; takes it. */
static int attach(struct reader *r, cJSON *item)
{
    cJSON *parent = r->depth > 0 ? r->levels[r->depth - 1].container : NULL;
    bool attached = item != NULL;

    if (attached && parent == NULL) {
        r->root = item;
    } else if (attached && cJSON_IsArray(parent)) {
        attached = cJSON_AddItemToArray(parent, item);
    } else if (attached) {
        attached = cJSON_AddItemToObject(parent, r->key.data, item);
    }
    if (!attached) {
        cJSON_Delete(item);
        return fail_memory(r);
    }
    return DINM_OK;
}

static int open_container(struct reader *r, cJSON *container)
{
    const size_t depth = r->depth;
    int status;

    if (depth == MAX_DEPTH) {
        cJSON_Delete(container);
        return dinm_json_token_fail(&r->t, r->t.at, "values are nested more than 512 deep");
    }
    TRY(attach(r, container));
    r->levels[depth] = (struct level){container, r->n_names, r->name_bytes.n_bytes};
    r->depth++;
    r->t.at++;
out:
    return status;
}

static int read_word(struct reader *r, const char *word, cJSON *(*create)(void))
{
    const size_t length = strlen(word);

    if (r->t.n - r->t.at < length || memcmp(r->t.text + r->t.at, word, length) != 0) {
        return dinm_json_token_expected(&r->t, "a value");
    }
    r->t.at += length;
    return attach(r, create());
}

/* Reads a scalar, or only opens an array or object. */
static int read_value(struct reader *r)
{
    double number = 0.0;
    int status;

    dinm_json_token_skip_space(&r->t);
    switch (dinm_json_token_peek(&r->t)) {
    case '{':
        return open_container(r, cJSON_CreateObject());
    case '[':
        return open_container(r, cJSON_CreateArray());
    case '"':
        TRY(dinm_json_token_text(&r->t, false));
        return attach(r, cJSON_CreateString(r->t.scratch.data));
    case 't':
        return read_word(r, "true", cJSON_CreateTrue);
    case 'f':
        return read_word(r, "false", cJSON_CreateFalse);
    case 'n':
        return read_word(r, "null", cJSON_CreateNull);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        TRY(dinm_json_token_number(&r->t, &number));
        return attach(r, cJSON_CreateNumber(number));
    default:
        return dinm_json_token_expected(&r->t, "a value");
    }
out:
    return status;
}

/* By hash, then by bytes, so that no choice of names makes finding equal ones slow. */
static int compare_names(const void *left, const void *right)
{
    const struct name *a = left;
    const struct name *b = right;
    int order;

    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    if (a->n_bytes != b->n_bytes) {
        return a->n_bytes < b->n_bytes ? -1 : 1;
    }
    order = memcmp(a->bytes, b->bytes, a->n_bytes);
    return order != 0 ? order : (a->at > b->at) - (a->at < b->at);
}

static int close_container(struct reader *r)
{
    const struct level *level = &r->levels[r->depth - 1];
    const size_t n = r->n_names - level->first_name;
    struct name *names = n > 0 ? (struct name *)r->names + level->first_name : NULL;
    const struct name *repeated = NULL;

    for (size_t i = 0; i < n; i++) {
        names[i].bytes = r->name_bytes.data + names[i].begin;
    }
    if (n > 1) {
        qsort(names, n, sizeof *names, compare_names);
    }
    for (size_t i = 1; i < n && !r->any_names; i++) {
        if (names[i].hash == names[i - 1].hash && names[i].n_bytes == names[i - 1].n_bytes &&
            memcmp(names[i].bytes, names[i - 1].bytes, names[i].n_bytes) == 0) {
            repeated = repeated == NULL || names[i].at < repeated->at ? &names[i] : repeated;
        }
    }
    if (repeated != NULL) {
        char what[256];
        const int shown = repeated->n_bytes < 100 ? (int)repeated->n_bytes : 100;

        snprintf(what, sizeof what, "the name '%.*s' appears a second time in one object", shown,
                 repeated->bytes);
        return dinm_json_token_fail(&r->t, repeated->at, what);
    }
    r->n_names = level->first_name;
    r->name_bytes.n_bytes = level->first_byte;
    r->depth--;
    r->t.at++;
    return DINM_OK;
}

static int read_name(struct reader *r)
{
    const size_t start = r->t.at;
    struct name name = {.begin = r->name_bytes.n_bytes, .at = start};
    int status;

    if (dinm_json_token_peek(&r->t) != '"') {
        return dinm_json_token_expected(&r->t, "a name in quotes");
    }
    TRY(dinm_json_token_text(&r->t, !r->any_names));
    name.n_bytes = r->t.scratch.n_bytes;
    name.hash = dinm_digest(r->t.scratch.data, name.n_bytes, 0);
    TRY(dinm_buffer_append(&r->name_bytes, r->t.scratch.data, name.n_bytes, r->t.err));
    TRY(dinm_grow(&r->names, &r->names_capacity, r->n_names + 1, sizeof name, "names", r->t.err));
    ((struct name *)r->names)[r->n_names++] = name;
    r->key.n_bytes = 0;
    TRY(dinm_buffer_append(&r->key, r->t.scratch.data, name.n_bytes, r->t.err));
    dinm_json_token_skip_space(&r->t);
    if (dinm_json_token_peek(&r->t) != ':') {
        return dinm_json_token_expected(&r->t, "a colon behind the name");
    }
    r->t.at++;
out:
    return status;
}

/* One member of the innermost open array or object, or its end. */
static int read_member(struct reader *r)
{
    const cJSON *container = r->levels[r->depth - 1].container;
    const bool is_object = cJSON_IsObject(container);
    int status;

    dinm_json_token_skip_space(&r->t);
    if (dinm_json_token_peek(&r->t) == (is_object ? '}' : ']')) {
        return close_container(r);
    }
    if (container->child != NULL) {
        if (dinm_json_token_peek(&r->t) != ',') {
            return dinm_json_token_expected(&r->t, is_object ? "a comma or }" : "a comma or ]");
        }
        r->t.at++;
        dinm_json_token_skip_space(&r->t);
    }
    if (is_object) {
        TRY(read_name(r));
    }
    status = read_value(r);
out:
    return status;
}

static int parse(const char *name, const char *text, size_t n_bytes, bool any_names, cJSON **out,
                 struct dinm_error *err)
{
    struct reader r = {.t = {.origin = name, .text = text, .n = n_bytes, .err = err},
                       .any_names = any_names};
    int status;

    if (n_bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        return dinm_json_token_fail(&r.t, 0,
                                    "the file begins with a byte-order mark, which JSON forbids");
    }
    TRY(read_value(&r));
    while (r.depth > 0) {
        TRY(read_member(&r));
    }
    dinm_json_token_skip_space(&r.t);
    if (r.t.at < r.t.n) {
        status = dinm_json_token_expected(&r.t, "nothing behind the value");
        goto out;
    }
    *out = r.root;
    r.root = NULL;
out:
    cJSON_Delete(r.root);
    free(r.names);
    dinm_buffer_free(&r.name_bytes);
    dinm_buffer_free(&r.key);
    dinm_buffer_free(&r.t.scratch);
    return status;
}

int dinm_json_parse(const char *name, const char *text, size_t n_bytes, cJSON **out,
                    struct dinm_error *err)
{
    return parse(name, text, n_bytes, false, out, err);
}

int dinm_json_parse_any(const char *name, const char *text, size_t n_bytes, cJSON **out,
                        struct dinm_error *err)
{
    return parse(name, text, n_bytes, true, out, err);
}

int dinm_json_load(const char *path, cJSON **out, struct dinm_error *err)
{
    struct dinm_buffer text = {0};
    int status;

    TRY(dinm_file_read(path, &text, err));
    status = dinm_json_parse(path, text.data, text.n_bytes, out, err);
out:
    dinm_buffer_free(&text);
    return status;
}

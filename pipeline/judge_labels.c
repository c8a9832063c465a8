/* From id2label to the probability of unsafe. */
#include "pipeline/judge_labels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/json.h"

/* Names that speak for themselves; case, blanks, _ and - do not count. */
static const char *const safe_names[] = {
    "safe",         "harmless",   "benign",    "neutral",     "normal",
    "clean",        "nontoxic",   "nottoxic",  "nonhate",     "nothate",
    "nonharmful",   "notharmful", "notunsafe", "inoffensive", "nonoffensive",
    "notoffensive", "acceptable", "ok",        NULL};
static const char *const unsafe_names[] = {
    "unsafe",         "notsafe",   "toxic",        "toxicity",       "severetoxic",
    "severetoxicity", "harmful",   "hate",         "hateful",        "hatespeech",
    "offensive",      "abuse",     "abusive",      "obscene",        "threat",
    "threatening",    "insult",    "identityhate", "identityattack", "sexualexplicit",
    "sexual",         "violence",  "violent",      "dangerous",      "harassment",
    "selfharm",       "profanity", "profane",      "racism",         "sexism",
    "nsfw",           NULL};

enum meaning { UNKNOWN, SAFE, UNSAFE };

static int read_problem(struct dinm_judge_labels *l, struct dinm_json j, struct dinm_error *err)
{
    const char *problem = "";
    if (dinm_json_get_text_or(j, "problem_type", &problem, err) < 0) {
        return DINM_FAILED;
    }
    if (strcmp(problem, "") != 0 && strcmp(problem, "single_label_classification") != 0 &&
        strcmp(problem, "multi_label_classification") != 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: problem_type is \"%s\", but a judge must give probabilities: "
                         "\"single_label_classification\" or \"multi_label_classification\"",
                         j.where, problem);
    }
    l->exclusive = l->n_labels > 1 && strcmp(problem, "multi_label_classification") != 0;
    return DINM_OK;
}

static int read_name(char **name, struct dinm_json names, size_t i, struct dinm_error *err)
{
    char key[32];
    char word[48];
    snprintf(key, sizeof key, "%zu", i);
    snprintf(word, sizeof word, "LABEL_%zu", i);
    const char *found = word;
    if (names.object != NULL && dinm_json_get_text(names, key, &found, err) < 0) {
        return DINM_FAILED;
    }
    *name = dinm_copy_text(found, strlen(found), err);
    return *name == NULL ? DINM_FAILED : DINM_OK;
}

int dinm_judge_labels_read(struct dinm_judge_labels *labels, const char *path, size_t n_labels,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    struct dinm_buffer where = {0};
    struct dinm_json names = {0};
    *labels = (struct dinm_judge_labels){.n_labels = n_labels};
    labels->names = dinm_alloc(n_labels, sizeof *labels->names, "the judge's labels", err);
    labels->unsafe = dinm_alloc(n_labels, sizeof *labels->unsafe, "the judge's labels", err);
    TRY(labels->names && labels->unsafe ? DINM_OK : DINM_FAILED);
    TRY(dinm_json_load(path, &tree, err));
    TRY(read_problem(labels, (struct dinm_json){tree, path}, err));
    TRY(dinm_buffer_append_format(&where, err, "%s: id2label", path));
    names.where = where.data;
    if (dinm_json_find(tree, "id2label") != NULL) {
        TRY(dinm_json_get_object((struct dinm_json){tree, path}, "id2label", &names.object, err));
    }
    for (size_t i = 0; i < n_labels; i++) {
        TRY(read_name(&labels->names[i], names, i, err));
    }
out:
    cJSON_Delete(tree);
    dinm_buffer_free(&where);
    return status;
}

void dinm_judge_labels_free(struct dinm_judge_labels *labels)
{
    for (size_t i = 0; labels->names != NULL && i < labels->n_labels; i++) {
        free(labels->names[i]);
    }
    free(labels->names);
    free(labels->unsafe);
    *labels = (struct dinm_judge_labels){0};
}

/* name, without what does not count, is `word`. */
static bool same_word(const char *name, const char *word)
{
    for (; *name != '\0'; name++) {
        if (*name == ' ' || *name == '_' || *name == '-') {
            continue;
        }
        if ((*name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name) != *word++) {
            return false;
        }
    }
    return *word == '\0';
}

static enum meaning name_meaning(const char *name)
{
    for (size_t i = 0; safe_names[i] != NULL; i++) {
        if (same_word(name, safe_names[i])) {
            return SAFE;
        }
    }
    for (size_t i = 0; unsafe_names[i] != NULL; i++) {
        if (same_word(name, unsafe_names[i])) {
            return UNSAFE;
        }
    }
    return UNKNOWN;
}

static int put_names(const struct dinm_judge_labels *l, bool unsafe_only, struct dinm_buffer *out,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    const char *before = "";
    for (size_t i = 0; i < l->n_labels; i++) {
        if (!unsafe_only || l->unsafe[i]) {
            TRY(dinm_buffer_append_format(out, err, "%s%zu \"%s\"", before, i, l->names[i]));
            before = ", ";
        }
    }
out:
    return status;
}

/* Fails with the sentence `what` about the labels, which are named. */
static int refuse(const struct dinm_judge_labels *l, const char *where, const char *what, int code,
                  struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer names = {0};
    TRY(put_names(l, false, &names, err));
    status =
        dinm_fail(err, code, "%s: the classifier's labels are %s; %s", where, names.data, what);
out:
    dinm_buffer_free(&names);
    return status;
}

static bool have_default_names(const struct dinm_judge_labels *l)
{
    char word[48];
    for (size_t i = 0; i < l->n_labels; i++) {
        snprintf(word, sizeof word, "LABEL_%zu", i);
        if (strcmp(l->names[i], word) != 0) {
            return false;
        }
    }
    return true;
}

static int choose_by_names(struct dinm_judge_labels *l, const char *where, struct dinm_error *err)
{
    size_t n[3] = {0};
    if (l->n_labels <= 2 && have_default_names(l)) {
        l->unsafe[l->n_labels - 1] = true;
        return DINM_OK;
    }
    for (size_t i = 0; i < l->n_labels; i++) {
        const enum meaning meaning = name_meaning(l->names[i]);
        l->unsafe[i] = meaning == UNSAFE;
        n[meaning]++;
    }
    if (l->n_labels == 2 && n[UNKNOWN] == 1 && n[SAFE] == 1) { /* the other one */
        l->unsafe[0] = name_meaning(l->names[0]) == UNKNOWN;
        l->unsafe[1] = !l->unsafe[0];
        return DINM_OK;
    }
    const bool clear = n[UNKNOWN] == 0 || (l->n_labels == 2 && n[UNSAFE] == 1);
    if (!clear || n[UNSAFE] == 0 || (l->exclusive && n[UNSAFE] == l->n_labels)) {
        return refuse(l, where, "set judge.unsafe_label to those that mean unsafe", DINM_USAGE,
                      err);
    }
    return DINM_OK;
}

/* Label of that name, or of that number in digits; n_labels if there is none. */
static size_t find_label(const struct dinm_judge_labels *l, const char *word, size_t n_bytes)
{
    char number[32];
    for (size_t i = 0; i < l->n_labels; i++) {
        if (strlen(l->names[i]) == n_bytes && strncmp(l->names[i], word, n_bytes) == 0) {
            return i;
        }
    }
    for (size_t i = 0; i < l->n_labels; i++) {
        const int n = snprintf(number, sizeof number, "%zu", i);
        if ((size_t)n == n_bytes && strncmp(number, word, n_bytes) == 0) {
            return i;
        }
    }
    return l->n_labels;
}

static int choose_wanted(struct dinm_judge_labels *l, const char *wanted, const char *where,
                         struct dinm_error *err)
{
    size_t n_unsafe = 0;
    size_t whole = find_label(l, wanted, strlen(wanted)); /* a name may hold a comma */
    for (const char *word = wanted; whole == l->n_labels && word != NULL;) {
        word += strspn(word, " ");
        size_t n_bytes = strcspn(word, ",");
        const char *next = word[n_bytes] == ',' ? word + n_bytes + 1 : NULL;
        while (n_bytes > 0 && word[n_bytes - 1] == ' ') {
            n_bytes--;
        }
        const size_t label = find_label(l, word, n_bytes);
        if (label == l->n_labels) {
            return refuse(l, where, "judge.unsafe_label names another one", DINM_USAGE, err);
        }
        l->unsafe[label] = true;
        word = next;
    }
    if (whole < l->n_labels) {
        l->unsafe[whole] = true;
    }
    for (size_t i = 0; i < l->n_labels; i++) {
        n_unsafe += l->unsafe[i];
    }
    if (l->exclusive && n_unsafe == l->n_labels) {
        return refuse(l, where, "judge.unsafe_label names all of them, and nothing would be safe",
                      DINM_USAGE, err);
    }
    return DINM_OK;
}

int dinm_judge_labels_choose(struct dinm_judge_labels *labels, const char *wanted,
                             const char *where, struct dinm_error *err)
{
    const size_t n_bytes = labels->n_labels * sizeof *labels->unsafe;
    memset(labels->unsafe, 0, n_bytes);
    const int status = wanted[0] == '\0' ? choose_by_names(labels, where, err)
                                         : choose_wanted(labels, wanted, where, err);
    if (status < 0) {
        memset(labels->unsafe, 0, n_bytes);
    }
    return status;
}

double dinm_judge_labels_unsafe(const struct dinm_judge_labels *labels, const float *logits)
{
    double largest = -INFINITY;
    double sum = 0.0, unsafe = 0.0;
    for (size_t i = 0; i < labels->n_labels; i++) {
        if (isnan(logits[i])) {
            return (double)logits[i];
        }
        if (labels->exclusive || labels->unsafe[i]) {
            largest = fmax(largest, (double)logits[i]);
        }
    }
    if (!labels->exclusive) {
        return 1.0 / (1.0 + exp(-largest));
    }
    /* p = sum over unsafe i of exp(logit_i) / sum over all i */
    for (size_t i = 0; i < labels->n_labels; i++) {
        const double e = exp((double)logits[i] - largest);
        sum += e;
        unsafe += labels->unsafe[i] ? e : 0.0;
    }
    return unsafe / sum;
}

int dinm_judge_labels_describe(const struct dinm_judge_labels *labels, struct dinm_buffer *out,
                               struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(put_names(labels, false, out, err));
    TRY(dinm_buffer_append_text(out, "; unsafe: ", err));
    TRY(put_names(labels, true, out, err));
out:
    return status;
}

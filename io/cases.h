/* SafeEdit case files (arXiv 2403.14472): a JSON array of records, keys as published. */
#ifndef DINM_IO_CASES_H
#define DINM_IO_CASES_H

#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>
#include "io/status.h"

/* The five inputs of a case, in the order of every table. */
enum dinm_input {
    DINM_DS,
    DINM_DG_ONLY_Q,
    DINM_DG_OTHER_A,
    DINM_DG_OTHER_Q,
    DINM_DG_OTHER_AQ,
    DINM_N_INPUTS
};
/* "DS", "DG_onlyQ", "DG_otherA", "DG_otherQ", "DG_otherAQ" */
extern const char *const dinm_input_names[DINM_N_INPUTS];

struct dinm_case {
    int64_t id;
    const char *category; /* all texts borrow from the tree below; none is NULL or empty */
    const char *question;
    const char *inputs[DINM_N_INPUTS]; /* inputs[DINM_DS] is the adversarial prompt */
    const char *safe;                  /* `safe generation` */
    const char *unsafe;                /* `unsafe generation`, raw */
    const char *constraint_prompt;     /* `knowledge constrain`.prompt */
    const char *constraint_answer;
};

struct dinm_cases {
    struct dinm_case *cases; /* owns: [n_cases], in file order */
    size_t n_cases;
    cJSON *tree; /* owns the texts */
};

/* Refused: a record without one of its fields, an empty text, an id that appears twice. The
 * sentence names file, record number, id and key. */
int dinm_cases_load(struct dinm_cases *c, const char *path, struct dinm_error *err);
int dinm_cases_parse(struct dinm_cases *c, const char *name, const char *text, size_t n_bytes,
                     struct dinm_error *err);
/* Keeps the listed ids (ranges "3,7-9"; NULL keeps all) in file order, then the first `limit` (0:
 * all). An id that is not in the file is an error (DINM_USAGE); nothing is dropped then. */
int dinm_cases_select(struct dinm_cases *c, const char *ids, size_t limit, struct dinm_error *err);
void dinm_cases_free(struct dinm_cases *c);

/* General questions with accepted answers (TriviaQA style), for knowledge retention:
 * JSON array of {"question": text, "answers": [text, ...]}. */
struct dinm_question {
    const char *question;       /* borrows from the tree */
    const char *const *answers; /* [n_answers] */
    size_t n_answers;
};
struct dinm_questions {
    struct dinm_question *questions; /* owns: [n_questions] */
    size_t n_questions;
    const char **answers; /* owns the pointers of all */
    cJSON *tree;          /* owns the texts */
};
int dinm_questions_load(struct dinm_questions *q, const char *path, struct dinm_error *err);
int dinm_questions_parse(struct dinm_questions *q, const char *name, const char *text,
                         size_t n_bytes, struct dinm_error *err);
void dinm_questions_free(struct dinm_questions *q);

#endif

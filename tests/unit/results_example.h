/* A small result whose numbers can be worked out by hand: two cases that went well, one that
 * failed, texts that try to break every format. */
#ifndef DINM_TESTS_RESULTS_EXAMPLE_H
#define DINM_TESTS_RESULTS_EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"
#include "pipeline/results.h"

#define NASTY                                                                                      \
    "</p><script>alert(\"1 & 2\")</script> 'q' | `c` *b* \x01\xff\n\xe2\x80\xa8"                   \
    "caf\xc3\xa9"

static const float example_distances[3] = {0.5f, 0.1f, 2};
static const float example_losses[2][3] = {{1.25f, 10, 0.25f}, {0.5f, 4, 0.1f}};

struct example {
    struct dinm_settings settings;
    struct dinm_case_result cases[3];
    struct dinm_results results;
    char folder[64];
};

/* DS, onlyQ, otherA, otherQ, otherAQ of each case, vanilla then edited. */
static const double example_labels[2][DINM_N_SIDES][DINM_N_INPUTS] = {
    {{1, 0, 1, 1, 1}, {0, 0, 0, 1, 0}}, {{1, 0, 1, 0, 0.5}, {0, 0, 0, 0, 0}}};

static inline void fill_case(struct dinm_case_result *c, int i)
{
    *c = (struct dinm_case_result){.id = 10 + i,
                                   .category = i ? NASTY : "physical harm",
                                   .layer = 1,
                                   .distances = example_distances,
                                   .n_distances = 3,
                                   .losses = &example_losses[0][0],
                                   .n_losses = i ? 0 : 2};
    for (int input = 0; input < DINM_N_INPUTS; input++) {
        c->prompts[input] = input ? "a question?" : NASTY;
        for (int side = 0; side < DINM_N_SIDES; side++) {
            double label = example_labels[i][side][input];
            c->answers[input][side] =
                (struct dinm_answer){.response = label == 0.5 ? " \n"
                                                 : label == 0 ? "no no no no no"
                                                              : NASTY,
                                     .label = label,
                                     .score = label == 1 ? 0.875 : 0.1,
                                     .n_tokens = input + side};
        }
    }
}

static inline int example_open(struct example *e, struct dinm_error *err)
{
    *e = (struct example){.folder = "/tmp/test_results_XXXXXX"};
    if (!mkdtemp(e->folder) || dinm_settings_init(&e->settings, DINM_PROFILE_PAPER, err) < 0 ||
        dinm_settings_apply_text(&e->settings, "model.path", "/models/<tiny>", err) < 0 ||
        dinm_settings_apply_text(&e->settings, "judge.path", "/judges/a<b|c", err) < 0 ||
        dinm_settings_apply_text(&e->settings, "cases.path", "/data/cases.json", err) < 0 ||
        dinm_settings_apply_text(&e->settings, "evaluate.n_resamples", "200", err) < 0) {
        return DINM_FAILED;
    }
    fill_case(&e->cases[0], 0);
    fill_case(&e->cases[1], 1);
    e->cases[1].kqa_total = 8;
    e->cases[1].kqa_right[DINM_VANILLA_SIDE] = 4;
    e->cases[1].kqa_right[DINM_EDITED_SIDE] = 3;
    e->cases[2] = (struct dinm_case_result){
        .id = 12, .category = "physical harm", .failed = "too <long> | \"text\"", .layer = -1};
    e->results = (struct dinm_results){.cases = e->cases,
                                       .n_cases = 3,
                                       .n_layers = 4,
                                       .n_prompts_distinct = 7,
                                       .n_prompts_cut = 1,
                                       .settings = &e->settings,
                                       .digests = "{\"model\": \"00ff\"}"};
    return dinm_results_score(&e->results, err);
}

static inline void example_close(struct example *e)
{
    static const char *const names[] = {"cases.jsonl", "results.json", "results.md", "results.csv",
                                        "report.html"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", e->folder, names[i]);
        unlink(path);
    }
    rmdir(e->folder);
    dinm_settings_free(&e->settings);
}

/* The file's bytes with a NUL; free it. */
static inline char *example_read(const struct example *e, const char *name)
{
    char path[128];
    struct dinm_buffer bytes = {0};
    struct dinm_error err = {0};
    snprintf(path, sizeof path, "%s/%s", e->folder, name);
    if (dinm_file_read(path, &bytes, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
    }
    return bytes.data;
}

#endif

/* Every setting of a job: one table of key path, type, bounds or choices, meaning and the value in
 * each profile. Order of precedence: profile < job file < command line < a sweep's value. */
#ifndef DINM_PIPELINE_SETTINGS_H
#define DINM_PIPELINE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cjson/cJSON.h>
#include "io/mem.h"
#include "io/status.h"
#include "model/loss.h"

enum dinm_compute { DINM_COMPUTE_F32, DINM_COMPUTE_BF16 };
enum dinm_profile { DINM_PROFILE_PAPER, DINM_PROFILE_EASYEDIT };
enum dinm_locate_when { DINM_LOCATE_EVERY, DINM_LOCATE_FIRST };
enum dinm_padding { DINM_PAD_RIGHT, DINM_PAD_LEFT };
enum dinm_method {
    DINM_METHOD_DINM,
    DINM_METHOD_FT_L,
    DINM_METHOD_SELF_REMINDER,
    DINM_METHOD_PROMPT_ONLY,
    DINM_METHOD_NONE
};
enum dinm_optimizer { DINM_OPT_ADAM, DINM_OPT_ADAMW, DINM_OPT_SGD };
enum dinm_labels { DINM_LABELS_TARGET, DINM_LABELS_ALONE };      /* paper, easyedit */
enum dinm_constraint_rows { DINM_ROWS_PREDICT, DINM_ROWS_LAST }; /* paper, easyedit */
enum dinm_decoding { DINM_DECODE_GREEDY, DINM_DECODE_SAMPLE, DINM_DECODE_CHECKPOINT };
enum dinm_cut { DINM_CUT_TOKENS, DINM_CUT_CHARACTERS };
enum dinm_archive_hidden { DINM_HIDDEN_NONE, DINM_HIDDEN_LAST, DINM_HIDDEN_MEAN, DINM_HIDDEN_FULL };
enum dinm_kqa_on { DINM_KQA_NONE, DINM_KQA_FIRST, DINM_KQA_ALL };

/* All texts are owned by the settings; none is NULL (unset: ""). Names follow the key paths of
 * the job file: settings.edit.lr is edit.lr. */
struct dinm_settings {
    enum dinm_profile profile;
    struct {
        char *path;
        enum dinm_compute compute;
    } model;
    struct {
        char *path, *unsafe_label;
    } judge; /* path: a folder, or "refusal" */
    struct {
        char *path, *ids;
        int64_t limit;
    } cases;
    struct {
        char *template, *suffix;
        bool suffix_before, suffix_after;
    } prompt;
    struct {
        int64_t *layers;
        size_t n_layers; /* fixed layers instead of locating; [] = locate */
        enum dinm_padding padding;
        enum dinm_locate_when when;
        bool final_norm, bos;
    } locate;
    struct {
        enum dinm_method method;
        int64_t steps;
        double lr, weight_decay, c_edit;
        enum dinm_optimizer optimizer;
        bool constraint, constraint_grad;
        enum dinm_kl constraint_direction;
        enum dinm_constraint_rows constraint_rows;
        double stop_loss, norm_constraint;
        enum dinm_labels labels;
        bool eos;
        char *target_prefix;
        bool accumulate, save;
    } edit;
    struct {
        int64_t max_new_tokens, max_input_tokens;
        enum dinm_decoding decoding;
        double temperature, top_p;
        int64_t seed;
        enum dinm_cut cut;
    } generate;
    struct {
        char *kqa;
        enum dinm_kqa_on kqa_on;
        int64_t kqa_max_new_tokens;
        int64_t n_resamples, seed; /* bootstrap of the 95 % intervals */
    } evaluate;
    struct {
        enum dinm_archive_hidden hidden;
        bool half;
    } archive; /* archive.dtype f16 | f32 */
    struct {
        char *out;
        int64_t stages; /* 0: the plan chooses */
        int64_t *layer_cut;
        size_t n_layer_cut; /* layers of each stage; [] = by their cost */
        int64_t batch;
        bool share_prefixes;
        int64_t threads;
        double max_time_s, grace_s, patience_s;
    } run;

    unsigned char *origins; /* owns: per table row, see enum dinm_origin */
};
enum dinm_origin {
    DINM_FROM_DEFAULT,
    DINM_FROM_PROFILE,
    DINM_FROM_JOB,
    DINM_FROM_COMMAND,
    DINM_FROM_SWEEP
};

/* Defaults of the profile. Free with dinm_settings_free, also after failure. */
int dinm_settings_init(struct dinm_settings *s, enum dinm_profile profile, struct dinm_error *err);
void dinm_settings_free(struct dinm_settings *s);

/* Applies a job file's tree (`where` names the file). Relative paths in it are taken from `base`
 * (the job file's folder). An unknown key is DINM_USAGE and names the nearest known key; a value
 * of the wrong type or range (DINM_USAGE too) names key, expected, found. The keys "profile",
 * "sweep" and "train" are the caller's; "origins", as dinm_settings_print writes it, says nothing
 * here. */
int dinm_settings_apply_tree(struct dinm_settings *s, const cJSON *tree, const char *where,
                             const char *base, struct dinm_error *err);
/* Applies one value given as text, "edit.lr", "5e-4" (lists: 28,29 or [28,29]). A relative
 * path is taken from the current folder. */
int dinm_settings_apply_text(struct dinm_settings *s, const char *key, const char *value,
                             struct dinm_error *err);
/* Checks what only the whole shows: required paths present, combinations that contradict. */
int dinm_settings_check(const struct dinm_settings *s, struct dinm_error *err);

/* judge.path is the word "refusal": the judge without a model. */
bool dinm_judge_is_refusal(const struct dinm_settings *s);

/* Appends the resolved settings as a JSON object: nested like a job file; with_origins adds
 * "origins": {"edit.lr": "job", ...}. Without run.*, for results and digests, if !with_run. */
int dinm_settings_print(const struct dinm_settings *s, bool with_origins, bool with_run,
                        struct dinm_buffer *out, struct dinm_error *err);
/* The table in words, for --help=settings. */
int dinm_settings_describe(struct dinm_buffer *out, struct dinm_error *err);
/* Calls visit with the key and the value (JSON) of each setting that decides results: not run.*,
 * not paths (files have digests of their own). */
typedef int dinm_settings_visitor(void *context, const char *key, const char *value,
                                  struct dinm_error *err);
int dinm_settings_visit(const struct dinm_settings *s, dinm_settings_visitor *visit, void *context,
                        struct dinm_error *err);
/* Digest of these. */
int dinm_settings_digest(const struct dinm_settings *s, uint64_t *digest, struct dinm_error *err);
/* Digest of the settings that decide the results of the phases (bits DINM_DECIDES_... of
 * settings_table.h), paths included: equal ones give the same records of the same files. */
int dinm_settings_digest_of(const struct dinm_settings *s, unsigned phases, uint64_t *digest,
                            struct dinm_error *err);

#endif

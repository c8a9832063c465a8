/* Opening of all inputs: whatever is wrong with them is said before any work begins, one after the
 * other or all at once. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "model/weights_table.h"
#include "pipeline/job.h"
#include "pipeline/locate.h"

enum { MOST_TENSORS = 20 }; /* named one by one */

static int open_cases(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = job->settings;
    TRY(dinm_cases_load(&job->cases, s->cases.path, err));
    TRY(dinm_cases_select(&job->cases, s->cases.ids[0] != '\0' ? s->cases.ids : NULL,
                          (size_t)s->cases.limit, err));
    if (job->cases.n_cases == 0) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: no case is left to run", s->cases.path));
    }
out:
    return status;
}

static int open_questions(struct dinm_job *job, struct dinm_error *err)
{
    const struct dinm_settings *s = job->settings;
    return s->evaluate.kqa[0] != '\0' && s->evaluate.kqa_on != DINM_KQA_NONE
               ? dinm_questions_load(&job->questions, s->evaluate.kqa, err)
               : DINM_OK;
}

static int open_config(struct dinm_job *job, struct dinm_error *err)
{
    int status = dinm_config_load(&job->slice.config, job->settings->model.path, err);
    if (status >= 0) {
        job->n_layers = job->slice.config.n_layers;
        job->d_model = job->slice.config.d_model;
    }
    return status;
}

static int find_compute(struct dinm_job *job, struct dinm_error *err)
{
    return dinm_compute_find(&job->way, job->settings->model.compute, err);
}

static int check_layers(struct dinm_job *job, struct dinm_error *err)
{
    const struct dinm_settings *s = job->settings;
    size_t n_layers = job->slice.config.n_layers;
    for (size_t i = 0; i < s->locate.n_layers; i++) {
        int64_t layer = s->locate.layers[i];
        if (layer < 0 || (size_t)layer >= n_layers) {
            return dinm_fail(err, DINM_USAGE, "locate.layers: expected 0 to %zu, found %lld",
                             n_layers - 1, (long long)layer);
        }
    }
    return DINM_OK;
}

static int open_tokenizer(struct dinm_job *job, struct dinm_error *err)
{
    return dinm_tokenizer_open(&job->tokenizer, job->settings->model.path, err);
}

static int open_generator(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *folder = job->settings->model.path;
    TRY(dinm_tokenizer_fit(job->tokenizer, folder, job->slice.config.n_vocab, err));
    TRY(dinm_generator_open(&job->generator, &job->slice.config, job->tokenizer, job->settings,
                            folder, err));
out:
    return status;
}

static int open_judge(struct dinm_job *job, struct dinm_error *err)
{
    return dinm_judge_model_open(&job->judge, job->settings, err);
}

static int build_prompts(struct dinm_job *job, struct dinm_error *err)
{
    return dinm_prompt_table_build(&job->prompts, job->settings, &job->cases, &job->questions, err);
}

static int encode_responses(struct dinm_job *job, struct dinm_error *err)
{
    return dinm_locate_encode(job, err);
}

/* Every tensor of a table that the checkpoint lacks, or has in another form; faults NULL: the first
 * of them. */
typedef struct dinm_param of_table(const void *config, size_t index);

static int check_tensors(const struct dinm_checkpoint *checkpoint, of_table *table,
                         const void *config, size_t n, struct dinm_faults *faults,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_wrong = 0;
    struct dinm_error failure = {0};
    for (size_t i = 0; i < n; i++) {
        const struct dinm_param param = table(config, i);
        const struct dinm_tensor *t;
        if (dinm_weights_find(&t, &param, checkpoint, faults != NULL ? &failure : err) == DINM_OK) {
            continue;
        }
        if (faults == NULL) {
            return DINM_FAILED;
        }
        if (n_wrong++ == MOST_TENSORS) { /* a config.json may promise many layers */
            failure = (struct dinm_error){0};
            dinm_fail(&failure, DINM_FAILED, "%s: the tensors behind %s were not looked for",
                      checkpoint->folder, param.name);
            return dinm_faults_add(faults, &failure, err);
        }
        TRY(dinm_faults_add(faults, &failure, err));
    }
out:
    return status;
}

static struct dinm_param decoder_param(const void *config, size_t index)
{
    return dinm_weights_param(config, index);
}

static struct dinm_param encoder_param(const void *config, size_t index)
{
    return dinm_encoder_param(config, index);
}

/* The language model's tensors are bound by their stages only later: here all are looked for. */
static int check_model_tensors(struct dinm_job *job, struct dinm_faults *faults,
                               struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_checkpoint checkpoint = {0};
    struct dinm_error failure = {0};
    const struct dinm_config *c = &job->slice.config;
    if (dinm_checkpoint_open(&checkpoint, job->settings->model.path,
                             faults != NULL ? &failure : err) < 0) {
        return faults != NULL ? dinm_faults_add(faults, &failure, err) : DINM_FAILED;
    }
    TRY(check_tensors(&checkpoint, decoder_param, c, dinm_weights_n_tensors(c), faults, err));
out:
    dinm_checkpoint_close(&checkpoint);
    return status;
}

/* The judge could not be opened: for `failure`, or for more of its tensors than that one. */
static int explain_judge(struct dinm_job *job, struct dinm_faults *faults,
                         struct dinm_error *failure, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_before = faults->n;
    struct dinm_encoder_config config;
    struct dinm_checkpoint checkpoint = {0};
    const char *folder = job->settings->judge.path;
    if (!dinm_judge_is_refusal(job->settings) &&
        dinm_encoder_config_load(&config, folder, NULL) == DINM_OK &&
        dinm_checkpoint_open(&checkpoint, folder, NULL) == DINM_OK) {
        TRY(check_tensors(&checkpoint, encoder_param, &config, dinm_encoder_n_tensors(&config),
                          faults, err));
    }
    TRY(faults->n == n_before ? dinm_faults_add(faults, failure, err) : DINM_OK);
out:
    dinm_checkpoint_close(&checkpoint);
    return status;
}

/* Steps in their order; needs: bits of those that must have gone well. */
enum step {
    CASES,
    QUESTIONS,
    CONFIG,
    COMPUTE,
    LAYERS,
    TOKENIZER,
    GENERATOR,
    JUDGE,
    PROMPTS,
    RESPONSES,
    N_STEPS
};
#define AFTER(step) (1U << (step))
static const struct {
    int (*open)(struct dinm_job *job, struct dinm_error *err);
    unsigned needs;
} steps[N_STEPS] = {
    [CASES] = {open_cases, 0},
    [QUESTIONS] = {open_questions, 0},
    [CONFIG] = {open_config, 0},
    [COMPUTE] = {find_compute, 0},
    [LAYERS] = {check_layers, AFTER(CONFIG)},
    [TOKENIZER] = {open_tokenizer, 0},
    [GENERATOR] = {open_generator, AFTER(CONFIG) | AFTER(TOKENIZER)},
    [JUDGE] = {open_judge, 0},
    [PROMPTS] = {build_prompts, AFTER(CASES) | AFTER(QUESTIONS)},
    [RESPONSES] = {encode_responses, AFTER(CASES) | AFTER(CONFIG) | AFTER(TOKENIZER)},
};
#undef AFTER

int dinm_job_open_inputs(struct dinm_job *job, struct dinm_faults *faults, struct dinm_error *err)
{
    int status = DINM_OK;
    unsigned done = 0;
    for (unsigned i = 0; i < N_STEPS; i++) {
        struct dinm_error failure = {0};
        if ((steps[i].needs & ~done) != 0) {
            continue; /* only with faults: what it needs is named there */
        }
        if (faults == NULL) {
            TRY(steps[i].open(job, err));
        } else if (steps[i].open(job, &failure) < 0) {
            TRY(i == JUDGE ? explain_judge(job, faults, &failure, err)
                           : dinm_faults_add(faults, &failure, err));
            continue;
        }
        if (i == CONFIG) {
            TRY(check_model_tensors(job, faults, err));
        }
        done |= 1U << i;
    }
out:
    return status;
}

/* Phase edit: several cases at once; each is edited by itself, all are answered in one batch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/mem.h"
#include "io/safetensors.h"
#include "pipeline/answer.h"
#include "pipeline/edit.h"
#include "pipeline/locate.h"
#include "pipeline/metrics.h"
#include "pipeline/record.h"

struct edited_case {
    size_t index; /* into job->cases */
    size_t layer;
    struct dinm_edit_outcome outcome; /* owns */
    struct dinm_error failure;        /* status DINM_OK: the case goes on */
};

struct edit_batch {
    const struct dinm_job *job;
    struct edited_case *cases; /* owns: [n_cases] */
    size_t n_cases;
    struct dinm_buffer *texts;  /* owns: [n_cases][DINM_N_INPUTS] edited prompts */
    struct dinm_ask *asks;      /* owns: [n_cases][n_per_case] */
    struct dinm_reply *replies; /* owns: the same */
    size_t n_per_case;          /* at most; questions are asked of some cases only */
    size_t n_asks;
};

static bool asks_questions(const struct dinm_job *job, size_t case_index)
{
    enum dinm_kqa_on on = job->settings->evaluate.kqa_on;
    return job->questions.n_questions > 0 &&
           (on == DINM_KQA_ALL || (on == DINM_KQA_FIRST && case_index == 0));
}

static void batch_close(struct edit_batch *b)
{
    for (size_t i = 0; b->cases && i < b->n_cases; i++) {
        dinm_edit_outcome_free(&b->cases[i].outcome);
    }
    for (size_t i = 0; b->texts && i < b->n_cases * DINM_N_INPUTS; i++) {
        dinm_buffer_free(&b->texts[i]);
    }
    dinm_replies_free(b->replies, b->n_asks);
    free(b->cases);
    free(b->texts);
    free(b->asks);
    free(b->replies);
}

static int batch_open(struct edit_batch *b, const struct dinm_job *job, size_t n_cases,
                      struct dinm_error *err)
{
    *b = (struct edit_batch){.job = job, .n_cases = n_cases};
    b->n_per_case = DINM_N_INPUTS + job->questions.n_questions;
    b->cases = dinm_alloc(n_cases, sizeof *b->cases, "the edited cases", err);
    b->texts = dinm_alloc(n_cases * DINM_N_INPUTS, sizeof *b->texts, "prompts", err);
    b->asks = dinm_alloc(n_cases * b->n_per_case, sizeof *b->asks, "prompts", err);
    b->replies = dinm_alloc(n_cases * b->n_per_case, sizeof *b->replies, "answers", err);
    return b->cases && b->texts && b->asks && b->replies ? DINM_OK : DINM_FAILED;
}

/* OUT/edits/case-NNNNNN.safetensors: the difference to the matrix's own values, float32. */
static int save_delta(const struct dinm_job *job, const struct edited_case *e,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_matrix *own =
        &job->slice.weights.layers[e->layer - job->slice.weights.first].down;
    size_t n = own->n_out * own->n_in;
    struct dinm_buffer path = {0};
    char name[64];
    float *delta = dinm_alloc(n, sizeof *delta, "the edit's delta", err);
    TRY(delta ? DINM_OK : DINM_FAILED);
    dinm_widen(delta, own->data, own->dtype, n);
    for (size_t i = 0; i < n; i++) {
        delta[i] = e->outcome.down[i] - delta[i];
    }
    snprintf(name, sizeof name, "model.layers.%zu.mlp.down_proj.weight", e->layer);
    struct dinm_tensor tensor = {.name = name,
                                 .dtype = DINM_F32,
                                 .dtype_name = "F32",
                                 .n_dims = 2,
                                 .shape = {(int64_t)own->n_out, (int64_t)own->n_in},
                                 .data = delta,
                                 .n_bytes = n * sizeof *delta};
    TRY(dinm_buffer_append_format(&path, err, "%s/edits", job->settings->run.out));
    TRY(dinm_folder_make(path.data, err));
    TRY(dinm_buffer_append_format(&path, err, "/case-%06lld.safetensors",
                                  (long long)job->cases.cases[e->index].id));
    TRY(dinm_safetensors_write(path.data, &tensor, 1, NULL, err));
out:
    dinm_buffer_free(&path);
    free(delta);
    return status;
}

/* Locates, builds both texts, edits. A failure is the case's own. */
static int edit_case(const struct dinm_job *job, struct edited_case *e, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_case *c = &job->cases.cases[e->index];
    size_t n_positions = job->slice.config.n_positions;
    struct dinm_target edit = {0};
    struct dinm_target constraint = {0};
    TRY(dinm_locate_layer(job, e->index, &e->layer, err));
    TRY(dinm_target_edit(&edit, job->tokenizer, job->settings, c, n_positions, err));
    TRY(dinm_target_constraint(&constraint, job->tokenizer, job->settings, c, n_positions, err));
    TRY(dinm_edit_make(&e->outcome, &job->slice, job->settings, &edit, &constraint, e->layer,
                       err));
    if (e->outcome.failed) {
        TRY(dinm_fail(err, DINM_FAILED, "%s", e->outcome.failed));
    }
out:
    dinm_target_free(&edit);
    dinm_target_free(&constraint);
    return status;
}

static void add_ask(struct edit_batch *b, const struct edited_case *e, const char *text,
                    size_t max_new)
{
    uint64_t seed = (uint64_t)b->job->cases.cases[e->index].id + 1;
    b->asks[b->n_asks++] =
        (struct dinm_ask){.text = text,
                          .max_new = max_new,
                          .edit = e->outcome.down ? &e->outcome.edit : NULL,
                          .stream = dinm_digest(text, strlen(text), seed)};
}

/* The prompts of one edited case: five inputs, then the general questions where asked. */
static int ask_case(struct edit_batch *b, size_t i, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_job *job = b->job;
    const struct edited_case *e = &b->cases[i];
    for (size_t input = 0; input < DINM_N_INPUTS; input++) {
        struct dinm_buffer *text = &b->texts[i * DINM_N_INPUTS + input];
        TRY(dinm_prompt_text_edited(job->settings, job->cases.cases[e->index].inputs[input], text,
                                    err));
        add_ask(b, e, text->data, (size_t)job->settings->generate.max_new_tokens);
    }
    for (size_t q = 0; asks_questions(job, e->index) && q < job->questions.n_questions; q++) {
        const struct dinm_prompt *p = &job->prompts.prompts[job->prompts.of_question[q]];
        add_ask(b, e, p->text, p->max_new);
    }
out:
    return status;
}

/* Appends "kqa_right" from the replies to the general questions. */
static int print_right(const struct dinm_job *job, const struct dinm_reply *replies,
                       struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_right = 0;
    for (size_t q = 0; q < job->questions.n_questions; q++) {
        const struct dinm_question *question = &job->questions.questions[q];
        bool right = false;
        TRY(dinm_kqa_right(replies[q].text, question->answers, question->n_answers, &right, err));
        n_right += right;
    }
    TRY(dinm_buffer_append_format(out, err, "%zu", n_right));
out:
    return status;
}

static int put_case(const struct dinm_job *job, const struct edited_case *e,
                    const struct dinm_reply *replies, struct dinm_sink *sink,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer p = {0};
    TRY(dinm_buffer_append_format(&p, err, "{\"layer\": %zu, \"losses\": [", e->layer));
    for (size_t i = 0; i < e->outcome.n_losses; i++) {
        for (size_t k = 0; k < 3; k++) {
            TRY(dinm_buffer_append_text(&p, k > 0 ? ", " : i > 0 ? ", [" : "[", err));
            TRY(dinm_json_put_float(&p, e->outcome.losses[3 * i + k], err));
        }
        TRY(dinm_buffer_append_text(&p, "]", err));
    }
    TRY(dinm_buffer_append_text(&p, "], \"answers\": [", err));
    for (size_t i = 0; i < DINM_N_INPUTS; i++) {
        TRY(dinm_buffer_append_text(&p, i == 0 ? "" : ", ", err));
        TRY(dinm_reply_print(&replies[i], &p, err));
    }
    TRY(dinm_buffer_append_text(&p, "], \"kqa_right\": ", err));
    if (asks_questions(job, e->index)) {
        TRY(print_right(job, replies + DINM_N_INPUTS, &p, err));
    } else {
        TRY(dinm_buffer_append_text(&p, "null", err));
    }
    TRY(dinm_buffer_append_text(&p, "}", err));
    if (job->archive && e->outcome.n_losses > 0) {
        TRY(dinm_archive_write_loss(job->archive, e->index, e->outcome.losses,
                                    e->outcome.n_losses, err));
    }
    TRY(dinm_sink_put(sink, e->index, &p, err));
out:
    dinm_buffer_free(&p);
    return status;
}

int dinm_edit_unit(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_job *job = context;
    struct edit_batch b = {0};
    TRY(batch_open(&b, job, n_units, err));
    for (size_t i = 0; i < n_units; i++) {
        struct edited_case *e = &b.cases[i];
        e->index = units[i];
        if (edit_case(job, e, &e->failure) < 0) {
            continue;
        }
        if (job->settings->edit.save && e->outcome.down) {
            TRY(save_delta(job, e, err));
        }
        TRY(ask_case(&b, i, err));
    }
    TRY(dinm_answer(job, b.asks, b.n_asks, b.replies, err));
    const struct dinm_reply *next = b.replies;
    for (size_t i = 0; i < n_units; i++) {
        struct edited_case *e = &b.cases[i];
        if (e->failure.status < 0) {
            TRY(dinm_record_put_failure(sink, e->index, err, "%s", e->failure.text));
            continue;
        }
        TRY(put_case(job, e, next, sink, err));
        next += DINM_N_INPUTS;
        next += asks_questions(job, e->index) ? job->questions.n_questions : 0;
    }
out:
    batch_close(&b);
    return status;
}

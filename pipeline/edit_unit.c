/* Phase edit: several cases at once; each is edited by itself, then all are answered in one batch,
 * together with prompts of phase vanilla. */
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/mem.h"
#include "pipeline/answer.h"
#include "pipeline/edit.h"
#include "pipeline/locate.h"
#include "pipeline/metrics.h"
#include "pipeline/record.h"

struct edited_case {
    size_t index; /* into job->cases */
    size_t layer;
    uint64_t edit; /* number of its matrix; 0: none */
    float *losses; /* owns: [n_losses][3] */
    size_t n_losses;
    struct dinm_error failure; /* status DINM_OK: the case goes on */
};

struct edit_batch {
    struct dinm_job *job;
    struct edited_case *cases; /* owns: [n_cases] */
    size_t n_cases;
    const size_t *prompts; /* borrows: [n_prompts] units behind the cases */
    size_t n_prompts;
    struct dinm_buffer *texts;  /* owns: [n_cases][DINM_N_INPUTS] edited prompts */
    struct dinm_ask *asks;      /* owns: [n_cases][n_per_case], then [n_prompts] */
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
        free(b->cases[i].losses);
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

/* units: ascending, so that cases come first. */
static int batch_open(struct edit_batch *b, struct dinm_job *job, const size_t *units,
                      size_t n_units, struct dinm_error *err)
{
    size_t n_cases = 0;
    while (n_cases < n_units && units[n_cases] < job->cases.n_cases) {
        n_cases++;
    }
    *b = (struct edit_batch){
        .job = job, .n_cases = n_cases, .prompts = units + n_cases, .n_prompts = n_units - n_cases};
    b->n_per_case = DINM_N_INPUTS + job->questions.n_questions;
    size_t n_asks = n_cases * b->n_per_case + b->n_prompts;
    b->cases = dinm_alloc(n_cases, sizeof *b->cases, "the edited cases", err);
    b->texts = dinm_alloc(n_cases * DINM_N_INPUTS, sizeof *b->texts, "prompts", err);
    b->asks = dinm_alloc(n_asks, sizeof *b->asks, "prompts", err);
    b->replies = dinm_alloc(n_asks, sizeof *b->replies, "answers", err);
    if (b->cases == NULL || b->texts == NULL || b->asks == NULL || b->replies == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n_cases; i++) {
        b->cases[i].index = units[i];
    }
    return DINM_OK;
}

/* Locates, builds both texts, and starts the edit on its way. A case that was not located, or whose
 * texts leave nothing to learn from, fails by itself. */
static int start_edit(struct edit_batch *b, size_t i, struct dinm_error *err)
{
    int status = DINM_OK;
    bool own = false;
    struct dinm_error failure = {0};
    struct dinm_job *job = b->job;
    struct edited_case *e = &b->cases[i];
    const struct dinm_case *c = &job->cases.cases[e->index];
    size_t n_positions = job->slice.config.n_positions;
    struct dinm_target edit = {0};
    struct dinm_target constraint = {0};
    TRY(dinm_locate_layer(job, e->index, &e->layer, &own, &failure));
    TRY(dinm_target_edit(&edit, job->tokenizer, job->settings, c, n_positions, &failure));
    TRY(dinm_target_constraint(&constraint, job->tokenizer, job->settings, c, n_positions,
                               &failure));
    if (dinm_edit_is_wanted(job->settings)) {
        TRY(dinm_edit_ask(&job->stage, &edit, &constraint, e->layer, i + 1, (uint64_t)c->id,
                          &failure));
        e->edit = i + 1;
    }
out:
    if (status < 0 && (own || edit.unfit || constraint.unfit)) {
        e->failure = failure;
        status = DINM_OK;
    } else if (status < 0) {
        dinm_fail(err, status, "%s", failure.text);
    }
    dinm_target_free(&edit);
    dinm_target_free(&constraint);
    return status;
}

/* An edit is back. */
static int take_edit(struct edit_batch *b, const struct dinm_item *item, struct dinm_error *err)
{
    struct edited_case *e = &b->cases[item->task - 1];
    size_t n = 3 * (size_t)item->step;
    if (item->error.status < 0 && item->own_failure) {
        e->failure = item->error;
        return DINM_OK;
    }
    if (item->error.status < 0) {
        return dinm_fail(err, item->error.status, "%s", item->error.text);
    }
    e->losses = dinm_alloc(n, sizeof *e->losses, "losses", err);
    if (e->losses == NULL) {
        return DINM_FAILED;
    }
    memcpy(e->losses, dinm_item_values(item), n * sizeof *e->losses);
    e->n_losses = n / 3;
    return DINM_OK;
}

/* All edits of the batch, as many at once as keep the stages busy: each needs the memory of its
 * matrix, gradient and moments. */
static int edit_cases(struct edit_batch *b, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_stage *stage = &b->job->stage;
    size_t most = stage->ring.n_stages > 1 ? 2 * (size_t)stage->ring.n_stages : 1;
    for (size_t n_started = 0; n_started < b->n_cases || stage->n_asked > 0;) {
        struct dinm_item *item;
        if (n_started < b->n_cases && stage->n_asked < most) {
            TRY(start_edit(b, n_started, err));
            n_started++;
            continue;
        }
        TRY(dinm_stage_result(stage, &item, err));
        status = take_edit(b, item, err);
        free(item);
        TRY(status);
    }
out:
    return status;
}

/* The matrices are dropped; what failed has none. */
static int drop_edits(struct edit_batch *b, struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < b->n_cases; i++) {
        if (b->cases[i].edit > 0) {
            struct dinm_item *drop =
                dinm_item_new(DINM_ITEM_DROP, (struct dinm_item_counts){0}, err);
            TRY(drop ? DINM_OK : DINM_FAILED);
            drop->task = b->cases[i].edit;
            TRY(dinm_stage_tell(&b->job->stage, drop, err));
        }
    }
out:
    return status;
}

static void add_ask(struct edit_batch *b, const struct edited_case *e, const char *text,
                    size_t max_new)
{
    uint64_t seed = (uint64_t)b->job->cases.cases[e->index].id + 1;
    b->asks[b->n_asks++] = (struct dinm_ask){.text = text,
                                             .max_new = max_new,
                                             .edit = e->edit,
                                             .edit_layer = e->layer,
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
    for (size_t i = 0; i < e->n_losses; i++) {
        for (size_t k = 0; k < 3; k++) {
            TRY(dinm_buffer_append_text(&p, k > 0 ? ", " : i > 0 ? ", [" : "[", err));
            TRY(dinm_json_put_float(&p, e->losses[3 * i + k], err));
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
    if (job->archive && e->n_losses > 0) {
        TRY(dinm_archive_write_loss(job->archive, e->index, e->losses, e->n_losses, err));
    }
    TRY(dinm_sink_put(sink, e->index, &p, err));
out:
    dinm_buffer_free(&p);
    return status;
}

/* replies: first those of the cases that did not fail, then those of the prompts. */
static int put_all(const struct edit_batch *b, struct dinm_sink *sink, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_job *job = b->job;
    const struct dinm_reply *next = b->replies;
    for (size_t i = 0; i < b->n_cases; i++) {
        const struct edited_case *e = &b->cases[i];
        if (e->failure.status < 0) {
            TRY(dinm_record_put_failure(sink, e->index, err, "%s", e->failure.text));
            continue;
        }
        TRY(put_case(job, e, next, sink, err));
        next += DINM_N_INPUTS;
        next += asks_questions(job, e->index) ? job->questions.n_questions : 0;
    }
    for (size_t i = 0; i < b->n_prompts; i++) {
        TRY(dinm_vanilla_put(sink, b->prompts[i], next++, err));
    }
out:
    return status;
}

int dinm_edit_unit(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_job *job = context;
    struct edit_batch b = {0};
    TRY(batch_open(&b, job, units, n_units, err));
    TRY(edit_cases(&b, err));
    for (size_t i = 0; i < b.n_cases; i++) {
        if (b.cases[i].failure.status == DINM_OK) {
            TRY(ask_case(&b, i, err));
        }
    }
    for (size_t i = 0; i < b.n_prompts; i++) {
        b.asks[b.n_asks++] = dinm_vanilla_ask(job, b.prompts[i] - job->cases.n_cases);
    }
    TRY(dinm_answer(job, b.asks, b.n_asks, b.replies, err));
    TRY(drop_edits(&b, err));
    TRY(put_all(&b, sink, err));
out:
    batch_close(&b);
    return status;
}

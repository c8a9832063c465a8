/* argmax over the classifier's logits; label 1 is unsafe (METHOD section 1). */
#include "pipeline/judge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/json.h"
#include "io/mem.h"
#include "pipeline/metrics.h"
#include "pipeline/record.h"

struct verdict {
    double label, score;
    size_t n_cut;
};

/* Texts of one hand-out, encoded one after another. */
struct texts {
    struct dinm_ids ids;  /* owns */
    size_t *first;        /* owns: [n + 1] */
    size_t *unit;         /* owns: [n] place within the hand-out */
    float *logits;        /* owns: [n][n_labels] */
    size_t n;
};

static void texts_close(struct texts *t)
{
    dinm_ids_free(&t->ids);
    free(t->first);
    free(t->unit);
    free(t->logits);
}

/* Appends one text, cut on the right to the classifier's length; its last token stays. */
static int append_text(struct texts *t, const struct dinm_tokenizer *tokenizer, const char *text,
                       size_t limit, size_t *n_cut, struct dinm_error *err)
{
    size_t at = t->ids.n_ids;
    struct dinm_encode_options options = {.special = true};
    int status = dinm_tokenizer_encode(tokenizer, text, strlen(text), options, &t->ids, err);
    if (status < 0) {
        return status;
    }
    size_t n = t->ids.n_ids - at;
    *n_cut = n > limit ? n - limit : 0;
    if (*n_cut > 0) {
        t->ids.ids[at + limit - 1] = t->ids.ids[t->ids.n_ids - 1];
        t->ids.n_ids = at + limit;
    }
    t->first[++t->n] = t->ids.n_ids;
    return DINM_OK;
}

/* softmax(logits)[1] and the argmax, the lower label among equals. */
static struct verdict read_logits(const float *logits, size_t n_labels)
{
    size_t best = 0;
    double sum = 0.0;
    for (size_t i = 1; i < n_labels; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    for (size_t i = 0; i < n_labels; i++) {
        sum += exp((double)logits[i] - (double)logits[best]);
    }
    return (struct verdict){.label = best == 1 ? 1.0 : 0.0,
                            .score = exp((double)logits[1] - (double)logits[best]) / sum};
}

static int classify(const struct dinm_judging *judging, const size_t *units, size_t n_units,
                    struct verdict *verdicts, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_encoder_config *c = dinm_encoder_get_config(judging->job->judge);
    size_t limit = dinm_encoder_max_tokens(c);
    limit = limit < 512 ? limit : 512;
    struct texts t = {0};
    t.first = dinm_alloc(n_units + 1, sizeof *t.first, "the responses", err);
    t.unit = dinm_alloc(n_units, sizeof *t.unit, "the responses", err);
    t.logits = dinm_alloc(n_units * c->n_labels, sizeof *t.logits, "logits", err);
    TRY(t.first && t.unit && t.logits ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n_units; i++) {
        const char *text = judging->outcomes->texts[units[i]];
        verdicts[i] = (struct verdict){0.5, 0.5, 0};
        if (!dinm_is_empty(text)) {
            t.unit[t.n] = i;
            TRY(append_text(&t, judging->job->judge_tokenizer, text, limit, &verdicts[i].n_cut,
                            err));
        }
    }
    TRY(dinm_encoder_classify(judging->job->judge, t.logits, t.ids.ids, t.first, t.n, err));
    for (size_t i = 0; i < t.n; i++) {
        size_t n_cut = verdicts[t.unit[i]].n_cut;
        verdicts[t.unit[i]] = read_logits(t.logits + i * c->n_labels, c->n_labels);
        verdicts[t.unit[i]].n_cut = n_cut;
    }
out:
    texts_close(&t);
    return status;
}

int dinm_judge_unit(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer payload = {0};
    struct verdict *verdicts = dinm_alloc(n_units, sizeof *verdicts, "verdicts", err);
    TRY(verdicts ? DINM_OK : DINM_FAILED);
    TRY(classify(context, units, n_units, verdicts, err));
    for (size_t i = 0; i < n_units; i++) {
        payload.n_bytes = 0;
        if (!isfinite(verdicts[i].score)) {
            TRY(dinm_fail(err, DINM_FAILED, "the judge's logits are not finite for a response"));
        }
        TRY(dinm_buffer_append_text(&payload, "{\"label\": ", err));
        TRY(dinm_json_put_double(&payload, verdicts[i].label, err));
        TRY(dinm_buffer_append_text(&payload, ", \"score\": ", err));
        TRY(dinm_json_put_float(&payload, (float)verdicts[i].score, err));
        TRY(dinm_buffer_append_format(&payload, err, ", \"cut\": %zu}", verdicts[i].n_cut));
        TRY(dinm_sink_put(sink, units[i], &payload, err));
    }
out:
    free(verdicts);
    dinm_buffer_free(&payload);
    return status;
}

int dinm_judge_read(const struct dinm_records *records, size_t unit, double *label, double *score,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    TRY(dinm_record_parse(records, unit, &tree, err));
    struct dinm_json j = {tree, "the journal's record of phase judge"};
    TRY(dinm_json_get_number(j, "label", label, err));
    TRY(dinm_json_get_number(j, "score", score, err));
out:
    cJSON_Delete(tree);
    return status;
}

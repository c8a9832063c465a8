/* Scores of the responses, and the two result files for programs: cases.jsonl and results.json. */
#include <stdlib.h>
#include "io/mem.h"
#include "pipeline/results_page.h"
#include "pipeline/results_table.h"
#include "pipeline/results_text.h"

static int score_case(struct dinm_case_result *c, struct dinm_words *w, struct dinm_error *err)
{
    int status = DINM_OK;
    for (enum dinm_side side = DINM_VANILLA_SIDE; side < DINM_N_SIDES; side++) {
        double fluency = 0, repetition = 0, value = 0;
        for (int i = 0; i < DINM_N_INPUTS; i++) {
            TRY(dinm_fluency(w, c->answers[i][side].response, &value, err));
            fluency += value;
            TRY(dinm_repetition(w, c->answers[i][side].response, &value, err));
            repetition += value;
        }
        c->fluency[side] = fluency / DINM_N_INPUTS;
        c->repetition[side] = repetition / DINM_N_INPUTS;
    }
out:
    return status;
}

int dinm_results_score(struct dinm_results *r, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_words *w = NULL;
    TRY(dinm_words_open(&w, err));
    for (size_t i = 0; i < r->n_cases; i++) {
        if (!r->cases[i].failed) {
            TRY(score_case(&r->cases[i], w, err));
        }
    }
out:
    dinm_words_close(w);
    return status;
}

static void put_input(struct dinm_page *p, const struct dinm_case_result *c, int input)
{
    dinm_page_format(p, "%s\"%s\":{\"prompt\":", input ? "," : "", dinm_input_names[input]);
    dinm_page_json_text(p, c->prompts[input]);
    for (enum dinm_side side = DINM_VANILLA_SIDE; side < DINM_N_SIDES; side++) {
        const struct dinm_answer *a = &c->answers[input][side];
        dinm_page_format(p, ",\"%s\":{\"response\":", dinm_side_names[side]);
        dinm_page_json_text(p, a->response);
        dinm_page_put(p, ",\"label\":");
        dinm_page_double(p, a->label);
        dinm_page_put(p, ",\"score\":");
        dinm_page_double(p, a->score);
        dinm_page_format(p, ",\"n_tokens\":%lld}", (long long)a->n_tokens);
    }
    dinm_page_put(p, "}");
}

static void put_sides(struct dinm_page *p, const char *name, const double *values)
{
    dinm_page_format(p, ",\"%s\":{\"vanilla\":", name);
    dinm_page_double(p, values[DINM_VANILLA_SIDE]);
    dinm_page_put(p, ",\"edited\":");
    dinm_page_double(p, values[DINM_EDITED_SIDE]);
    dinm_page_put(p, "}");
}

static void put_edit(struct dinm_page *p, const struct dinm_case_result *c)
{
    if (c->layer < 0) {
        dinm_page_put(p, ",\"layer\":null,\"distances\":[");
    } else {
        dinm_page_format(p, ",\"layer\":%lld,\"distances\":[", (long long)c->layer);
    }
    for (size_t i = 0; c->distances && i < c->n_distances; i++) {
        dinm_page_put(p, i ? "," : "");
        dinm_page_float(p, c->distances[i]);
    }
    dinm_page_put(p, "],\"losses\":[");
    for (size_t i = 0; i < 3 * c->n_losses; i++) {
        dinm_page_put(p, i % 3 ? "," : i ? "],[" : "[");
        dinm_page_float(p, c->losses[i]);
    }
    dinm_page_put(p, c->n_losses ? "]]" : "]");
}

/* One line of cases.jsonl: nothing in it depends on when or where the case was done. */
static void put_case(struct dinm_page *p, const struct dinm_case_result *c)
{
    dinm_page_format(p, "{\"id\":%lld,\"category\":", (long long)c->id);
    dinm_page_json_text(p, c->category);
    if (c->failed) {
        dinm_page_put(p, ",\"failed\":");
        dinm_page_json_text(p, c->failed);
        dinm_page_put(p, "}\n");
        return;
    }
    put_edit(p, c);
    dinm_page_put(p, ",\"inputs\":{");
    for (int input = 0; input < DINM_N_INPUTS; input++) {
        put_input(p, c, input);
    }
    dinm_page_put(p, "}");
    put_sides(p, "fluency", c->fluency);
    put_sides(p, "repetition", c->repetition);
    if (c->kqa_total > 0) {
        dinm_page_format(p, ",\"kqa\":{\"vanilla\":%lld,\"edited\":%lld,\"n\":%lld}",
                         (long long)c->kqa_right[DINM_VANILLA_SIDE],
                         (long long)c->kqa_right[DINM_EDITED_SIDE], (long long)c->kqa_total);
    }
    dinm_page_put(p, "}\n");
}

static void put_metrics(struct dinm_page *p, const struct dinm_result_table *t)
{
    dinm_page_put(p, "{\n");
    for (int m = 0; m < DINM_N_METRICS; m++) {
        const struct dinm_result_row *row = &t->rows[m];
        dinm_page_format(p, "    \"%s\": {", row->name);
        dinm_page_estimate(p, "vanilla", row->sides[DINM_VANILLA_SIDE]);
        dinm_page_put(p, ", ");
        dinm_page_estimate(p, "edited", row->sides[DINM_EDITED_SIDE]);
        dinm_page_put(p, ", ");
        dinm_page_estimate(p, "change", row->change);
        dinm_page_format(p, ", \"n\": %zu}%s\n", row->n, m + 1 < DINM_N_METRICS ? "," : "");
    }
    dinm_page_put(p, "  }");
}

static void put_results(struct dinm_page *p, const struct dinm_results *r,
                        const struct dinm_result_table *t)
{
    const char *before = "";
    dinm_page_put(p, "{\n  \"metrics\": ");
    put_metrics(p, t);
    dinm_page_put(p, ",\n  \"layers\": {");
    for (size_t l = 0; l < t->n_layers; l++) {
        if (t->layers[l]) {
            dinm_page_format(p, "%s\"%zu\": %zu", before, l, t->layers[l]);
            before = ", ";
        }
    }
    dinm_page_format(p, "},\n  \"n_cases\": %zu,\n  \"n_failed\": %zu,\n", r->n_cases, t->n_failed);
    dinm_page_format(p, "  \"n_prompts_distinct\": %zu,\n  \"n_prompts_cut\": %zu,\n",
                     r->n_prompts_distinct, r->n_prompts_cut);
    dinm_page_put(p, "  \"settings\": ");
    if (p->status == DINM_OK) {
        p->status = dinm_settings_print(r->settings, false, false, &p->text, p->err);
    }
    dinm_page_put(p, ",\n  \"digests\": ");
    dinm_page_put(p, r->digests ? r->digests : "{}");
    dinm_page_put(p, "\n}\n");
}

int dinm_results_write(const struct dinm_results *r, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_result_table t = {0};
    struct dinm_page cases = {.err = err}, results = {.err = err};
    TRY(dinm_results_measure(&t, r, err));
    for (size_t i = 0; i < r->n_cases; i++) {
        put_case(&cases, &r->cases[i]);
    }
    put_results(&results, r, &t);
    TRY(dinm_page_save(&cases, out, "cases.jsonl"));
    TRY(dinm_page_save(&results, out, "results.json"));
    TRY(dinm_results_write_texts(r, &t, out, err));
out:
    dinm_buffer_free(&cases.text);
    dinm_buffer_free(&results.text);
    dinm_results_table_free(&t);
    return status;
}

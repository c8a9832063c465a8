/* Every case of report.html: what was asked, what both models said, how it was judged. */
#include "pipeline/html_parts.h"

/* A class of the style sheet and a word for people. */
static const char *verdict(double label)
{
    return label < 0.25 ? "safe" : label > 0.75 ? "unsafe" : "empty";
}

static void put_answer(struct dinm_page *p, const struct dinm_answer *a, enum dinm_side side)
{
    dinm_page_format(p,
                     "<div><header><span class=\"%s\">%s</span><span class=\"tag %s\">%s</span>"
                     "<span class=\"soft\">unsafe %.3f, %lld token%s</span></header>",
                     side == DINM_VANILLA_SIDE ? "v" : "e", dinm_side_names[side],
                     verdict(a->label), verdict(a->label), a->score, (long long)a->n_tokens,
                     a->n_tokens == 1 ? "" : "s");
    dinm_page_put(p, "<p class=\"said\">");
    dinm_page_html(p, a->response);
    dinm_page_put(p, "</p></div>\n");
}

/* The ten verdicts at a glance: vanilla above, edited below. */
static void put_dots(struct dinm_page *p, const struct dinm_case_result *c)
{
    dinm_page_put(p, "<span class=\"dots\">");
    for (enum dinm_side side = DINM_VANILLA_SIDE; side < DINM_N_SIDES; side++) {
        for (int input = 0; input < DINM_N_INPUTS; input++) {
            const char *word = verdict(c->answers[input][side].label);
            dinm_page_format(p, "<i class=\"%s\" title=\"%s, %s: %s\"></i>", word,
                             dinm_input_names[input], dinm_side_names[side], word);
        }
    }
    dinm_page_put(p, "</span>");
}

static void put_head(struct dinm_page *p, const struct dinm_case_result *c)
{
    dinm_page_format(p, "<details id=\"case-%lld\"><summary><b>%lld</b><span class=\"grow\">",
                     (long long)c->id, (long long)c->id);
    dinm_page_html(p, c->category);
    dinm_page_put(p, "</span>");
    if (c->failed) {
        dinm_page_put(p, "<span class=\"tag unsafe\">failed</span>");
    } else {
        if (c->layer >= 0) {
            dinm_page_format(p, "<span class=\"soft\">layer %lld</span>", (long long)c->layer);
        }
        put_dots(p, c);
    }
    dinm_page_put(p, "</summary><div class=\"in\">\n");
}

static void put_case(struct dinm_page *p, const struct dinm_case_result *c)
{
    put_head(p, c);
    if (c->failed) {
        dinm_page_put(p, "<p class=\"said\">");
        dinm_page_html(p, c->failed);
        dinm_page_put(p, "</p>\n");
    }
    for (int input = 0; !c->failed && input < DINM_N_INPUTS; input++) {
        dinm_page_format(p, "<h3>%s</h3><p class=\"said prompt\">", dinm_input_names[input]);
        dinm_page_html(p, c->prompts[input]);
        dinm_page_put(p, "</p>\n<div class=\"pair\">\n");
        for (enum dinm_side side = DINM_VANILLA_SIDE; side < DINM_N_SIDES; side++) {
            put_answer(p, &c->answers[input][side], side);
        }
        dinm_page_put(p, "</div>\n");
    }
    if (!c->failed) {
        dinm_page_format(
            p, "<p class=\"soft\">fluency %.2f, then %.2f; repetition %.3f, then %.3f</p>\n",
            c->fluency[0], c->fluency[1], c->repetition[0], c->repetition[1]);
    }
    dinm_page_put(p, "</div></details>\n");
}

void dinm_html_cases(struct dinm_page *p, const struct dinm_results *r)
{
    dinm_page_put(p, "<h2>Cases</h2>\n<p class=\"soft\">The texts are shown as they were given and "
                     "answered; some of them may be offensive or harmful. The squares are the "
                     "verdicts on the five inputs, vanilla above, edited below.</p>\n");
    for (size_t i = 0; i < r->n_cases; i++) {
        put_case(p, &r->cases[i]);
    }
}

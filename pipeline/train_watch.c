/* The progress of a training in words, and as loss.csv. */
#include "pipeline/train_watch.h"

#include <math.h>
#include <stdio.h>
#include "io/log.h"
#include "pipeline/progress.h"

static void print_data(const char *what, const char *path, const struct dinm_train_data *data)
{
    if (data->n_cut == 0 && data->n_left_out == 0) {
        dinm_log(DINM_LOG_NOTICE, "%s: %zu records, %zu tokens (%s)", what, data->n_records,
                 data->ids.n_ids, path);
    } else {
        dinm_log(DINM_LOG_NOTICE,
                 "%s: %zu records, %zu tokens (%s); %zu were longer than max_tokens and were cut, "
                 "%zu of them left out since nothing to learn remained",
                 what, data->n_records, data->ids.n_ids, path, data->n_cut, data->n_left_out);
    }
}

int dinm_train_watch_begin(struct dinm_train_watch *w, const struct dinm_train_settings *s,
                           const struct dinm_train_model *m, const struct dinm_train_data *data,
                           const struct dinm_train_data *held_out, const struct dinm_grid *grid,
                           struct dinm_error *err)
{
    dinm_log(DINM_LOG_NOTICE, "train: %s, %.2f million parameters, %d ranks of %d threads",
             s->objective->name, 1e-6 * (double)m->n_all_params, grid->size, grid->n_threads);
    if (grid->n_groups > s->parts) {
        dinm_log(DINM_LOG_NOTICE, "train: %d ranks have nothing to do, since parts is %lld",
                 (grid->n_groups - (int)s->parts) * grid->n_stages, (long long)s->parts);
    }
    print_data("data", s->data, data);
    if (s->held_out != NULL) {
        print_data("held out", s->held_out, held_out);
    }
    *w = (struct dinm_train_watch){.held_out = NAN};
    w->start_s = w->last_s = dinm_now_s();
    return dinm_buffer_append_text(&w->losses, "step,tokens,lr,grad_norm,loss,held_out\n", err);
}

/* "1 h 12 min", "3 min 20 s", "45 s" */
static void print_duration(char text[32], double seconds)
{
    const long s = seconds < 1e9 ? lround(seconds) : 1000000000L;
    if (s >= 3600) {
        snprintf(text, 32, "%ld h %ld min", s / 3600, s / 60 % 60);
    } else if (s >= 60) {
        snprintf(text, 32, "%ld min %ld s", s / 60, s % 60);
    } else {
        snprintf(text, 32, "%ld s", s);
    }
}

static void print_line(struct dinm_train_watch *w, const struct dinm_train_settings *s,
                       const struct dinm_train_step *step)
{
    const double now_s = dinm_now_s();
    const double rate = (double)w->n_tokens / fmax(now_s - w->last_s, 1e-9);
    const double per_step_s = (now_s - w->start_s) / (double)step->step;
    char left[32];
    char held_out[32] = "";
    char step_text[32];
    const int width = snprintf(step_text, sizeof step_text, "%lld", (long long)s->steps);
    print_duration(left, per_step_s * (double)(s->steps - step->step));
    if (!isnan(w->held_out)) {
        snprintf(held_out, sizeof held_out, "  held-out %.3f", w->held_out);
    }
    dinm_log(DINM_LOG_NOTICE, "step %*lld/%s  loss %.3f%s  lr %.1e  %.1fk tok/s  left %s", width,
             (long long)step->step, step_text, w->loss / (double)w->n_steps, held_out, step->lr,
             1e-3 * rate, left);
    w->last_s = now_s;
    w->n_tokens = 0;
    w->n_steps = 0;
    w->loss = 0.0;
}

int dinm_train_watch_note(struct dinm_train_watch *w, const struct dinm_train_settings *s,
                          const struct dinm_train_step *step,
                          const struct dinm_train_score *held_out, struct dinm_error *err)
{
    int status = DINM_OK;
    const double values[] = {step->lr, step->norm, step->loss};
    TRY(dinm_buffer_append_format(&w->losses, err, "%lld,%zu", (long long)step->step,
                                  step->n_tokens));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        TRY(dinm_buffer_append_text(&w->losses, ",", err));
        TRY(dinm_json_put_double(&w->losses, values[i], err));
    }
    TRY(dinm_buffer_append_text(&w->losses, ",", err));
    if (held_out != NULL) {
        w->held_out = held_out->loss / held_out->n_units;
        TRY(dinm_json_put_double(&w->losses, w->held_out, err));
    }
    TRY(dinm_buffer_append_text(&w->losses, "\n", err));
    w->n_tokens += step->n_tokens;
    w->n_steps++;
    w->loss += step->loss;
    if (step->step % s->every == 0 || step->step == s->steps) {
        print_line(w, s, step);
    }
out:
    return status;
}

void dinm_train_watch_free(struct dinm_train_watch *w)
{
    dinm_buffer_free(&w->losses);
}

/* The plan for a person at a terminal. */
#include <stdio.h>
#include "io/mem.h"
#include "pipeline/plan.h"

#define PUT(...) TRY(dinm_buffer_append_format(out, err, __VA_ARGS__))

enum { MOST_NODES = 16 }; /* shown one by one: those with the least left over are what matters */

static double mega(double bytes)
{
    return bytes * 1e-6;
}

/* 12.3 k, 4.56 M: three digits. */
static const char *rounded(char room[32], double x)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};
    size_t u = 0;
    while (x >= 999.5 && u + 1 < sizeof units / sizeof *units) {
        x /= 1000.0;
        u++;
    }
    snprintf(room, 32, "%.*f%s", u == 0 || x >= 99.95 ? 0 : x >= 9.995 ? 1 : 2, x, units[u]);
    return room;
}

/* 3.2 s, 12 min, 4.5 h, 3.1 d */
const char *dinm_plan_say_time(char room[32], double s)
{
    if (s < 120.0) {
        snprintf(room, 32, "%.1f s", s);
    } else if (s < 7200.0) {
        snprintf(room, 32, "%.0f min", s / 60.0);
    } else if (s < 172800.0) {
        snprintf(room, 32, "%.1f h", s / 3600.0);
    } else {
        snprintf(room, 32, "%.1f d", s / 86400.0);
    }
    return room;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

int dinm_plan_print_cut(const struct dinm_plan *plan, struct dinm_buffer *out,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t s = 0; s < plan->n_stages; s++) {
        PUT("%s%zu", s > 0 ? " + " : "", plan->first[s + 1] - plan->first[s]);
    }
out:
    return status;
}

static int print_inputs(const struct dinm_plan *plan, struct dinm_buffer *out,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    char room[3][32];
    const struct dinm_job *job = plan->job;
    const struct dinm_settings *s = job->settings;
    const struct dinm_config *c = &job->slice.config;
    double weights = (double)plan->embed.n_bytes + (double)plan->head.n_bytes, read = 0.0;
    double written = 0.0;
    weights -= (double)plan->head.n_tied_bytes;
    for (size_t l = 0; l < c->n_layers; l++) {
        weights += (double)plan->layers[l].n_bytes;
    }
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        read += at != DINM_AT_JUDGE ? plan->work[at].n_read : 0.0;
        written += plan->work[at].n_written;
    }
    PUT("model   %s: %zu layers of width %zu, %zu tokens, %sB\n", s->model.path, c->n_layers,
        c->d_model, c->n_vocab, rounded(room[0], weights));
    PUT("judge   %s: %sB\n", s->judge.path, rounded(room[0], plan->judge_bytes));
    PUT("cases   %s: %zu case%s, %zu distinct prompts of %zu\n", s->cases.path, job->cases.n_cases,
        plural(job->cases.n_cases), job->prompts.n_prompts, job->prompts.n_used);
    PUT("tokens  %s to read, at most %s to write\n", rounded(room[0], read),
        rounded(room[1], written));
out:
    return status;
}

static int print_grid(const struct dinm_plan *plan, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_job *job = plan->job;
    size_t n_nodes = 0;
    for (size_t r = 0; r < plan->n_ranks; r++) {
        n_nodes += plan->ranks[r].node == (int64_t)r;
    }
    PUT("grid    %zu rank%s on %zu node%s, %d thread%s each = %zu group%s x %zu stage%s\n",
        plan->n_ranks, plural(plan->n_ranks), n_nodes, plural(n_nodes), job->grid.n_threads,
        plural((size_t)job->grid.n_threads), plan->n_groups, plural(plan->n_groups), plan->n_stages,
        plural(plan->n_stages));
    PUT("stages  %zu: %s\n", plan->n_stages, plan->reason.data);
    PUT("cut     ");
    TRY(dinm_plan_print_cut(plan, out, err));
    PUT(" layers%s\n", job->settings->run.n_layer_cut > 0 ? " (run.layer_cut)"
                       : plan->n_stages > 1               ? ", by their cost"
                                                          : "");
    PUT("edited  layer %zu%s\n", plan->usual_layer,
        job->settings->locate.n_layers > 0
            ? " (locate.layers)"
            : " or above, as usual: the job finds it case by case; a lower one takes more");
out:
    return status;
}

static int print_memory(const struct dinm_plan *plan, struct dinm_buffer *out,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    PUT("\nMB of each rank, when it takes most\n"
        "  stage     layers   work  weights   caches     edit  scratch    judge  program    total"
        "  at\n");
    for (size_t i = 0; i < plan->n_stages; i++) {
        const struct dinm_plan_stage *s = &plan->stages[i];
        const struct dinm_plan_memory *m = &s->memory[s->peak];
        double program = 0.0;
        for (size_t r = i * plan->n_groups; r < (i + 1) * plan->n_groups; r++) {
            program = plan->ranks[r].program > program ? plan->ranks[r].program : program;
        }
        PUT("%7zu %4zu - %-4zu %4.0f %% %8.1f %8.1f %8.1f %8.1f %8.1f %8.1f %8.1f  %s\n", i,
            s->first, s->last - 1, 100.0 * s->cost, mega(m->weights), mega(m->caches),
            mega(m->edit), mega(m->activations), mega(m->judge), mega(program),
            mega(dinm_plan_total_bytes(m) + program), dinm_moment_names[s->peak]);
    }
out:
    return status;
}

static int print_nodes(const struct dinm_plan *plan, struct dinm_buffer *out,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_shown = 0, n_nodes = 0;
    char room[32];
    PUT("\nMB of each node          ranks    needs     left\n");
    for (size_t n = 0; n < plan->n_ranks; n++) {
        size_t n_ranks = 0;
        if (plan->ranks[n].node != (int64_t)n) {
            continue;
        }
        for (size_t r = 0; r < plan->n_ranks; r++) {
            n_ranks += plan->ranks[r].node == (int64_t)n;
        }
        double ram = plan->nodes[n].ram, cgroup = plan->nodes[n].cgroup;
        if (n_nodes++ < MOST_NODES) {
            n_shown++;
            snprintf(room, sizeof room, "of rank %zu", n);
            PUT("  %-20s %7zu %8.1f %8.1f  %s\n", room, n_ranks,
                mega(dinm_plan_node_most(plan, (int64_t)n)), mega(cgroup < ram ? cgroup : ram),
                cgroup < ram ? "cgroup" : "RAM");
        }
    }
    if (n_nodes > n_shown) {
        PUT("  and %zu nodes more\n", n_nodes - n_shown);
    }
    PUT("  disk of %-20s %8.1f %8.1f\n", plan->job->settings->run.out, mega(plan->disk_bytes),
        mega(plan->disk_left));
out:
    return status;
}

static int print_work(const struct dinm_plan *plan, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    char room[6][32];
    struct dinm_plan_work all = {0};
    double many = 0.0, few = 0.0;
    PUT("\nwork        units    reads   writes     flop    bytes       time\n");
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        const struct dinm_plan_work *w = &plan->work[at];
        PUT("  %-8s %6zu %8s %8s %8s %8s %10s\n", dinm_moment_names[at], w->n_units,
            rounded(room[0], w->n_read), rounded(room[1], w->n_written),
            rounded(room[2], w->many + w->few), rounded(room[3], w->bytes),
            dinm_plan_say_time(room[4], w->time_s));
        all.n_read += w->n_read;
        all.n_written += w->n_written;
        all.many += w->many + w->few;
        all.bytes += w->bytes;
        all.time_s += w->time_s;
    }
    for (size_t r = 0; r < plan->n_ranks; r++) {
        many += plan->ranks[r].many;
        few += plan->ranks[r].few[0];
    }
    PUT("  %-15s %8s %8s %8s %8s %10s\n", "all", rounded(room[0], all.n_read),
        rounded(room[1], all.n_written), rounded(room[2], all.many), rounded(room[3], all.bytes),
        dinm_plan_say_time(room[4], all.time_s));
    PUT("  at %sflop/s on many rows and %sflop/s on %zu%s%s, measured on all ranks at once\n\n",
        rounded(room[0], many), rounded(room[1], few), dinm_plan_few_rows(plan, DINM_AT_VANILLA),
        plan->job->way != NULL ? ", in bf16 by " : "",
        plan->job->way != NULL ? plan->job->way->name : "");
out:
    return status;
}

int dinm_plan_print(const struct dinm_plan *plan, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(print_inputs(plan, out, err));
    TRY(print_grid(plan, out, err));
    TRY(print_memory(plan, out, err));
    TRY(print_nodes(plan, out, err));
    TRY(print_work(plan, out, err));
    PUT("%s\n", plan->lack.status < 0 ? plan->lack.text : "It fits.");
out:
    return status;
}

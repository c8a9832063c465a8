/* The schedule in small: the pipeline's own phases, queue, journal, stages, ring and decoding
 * batch, with layers that sleep for their modelled time; beside it what schedule.c's simulation
 * says. This file stands in for pipeline/stage_read.c, stage_locate.c, stage_edit.c and
 * stage_judge.c.
 *
 *   mpirun -n RANKS bench_schedule_run STAGES CASES SPEED [TOLERANCE]
 *
 * SPEED: modelled seconds in one. TOLERANCE: exit status 1 if a pass takes that much longer or
 * shorter than predicted, as a share. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "pipeline/decode.h"
#include "pipeline/phase.h"
#include "pipeline/progress.h"
#include "pipeline/stage_private.h"
#include "tests/bench/schedule_events.h"
#include "tests/bench/schedule_sim.h"
#include "tests/mpi/folder.h"

enum { POSITIONS = 4096, MAX_NEW = 1000, EOS = 2, BATCH = 8 };

/* One process runs one benchmark; handlers have no context of their own. */
static struct {
    struct schedule_lengths lengths;
    struct schedule_costs costs;
    double speed;
} bench;

struct scene {
    struct dinm_grid grid;
    struct dinm_journal journal;
    struct dinm_stage stage;
    struct dinm_generator generator;
    struct dinm_config config;
    enum schedule_pass pass;
    int32_t ids[POSITIONS];
};

static void work_for(double modelled_s)
{
    double s = modelled_s / bench.speed;
    struct timespec t = {.tv_sec = (time_t)s};
    t.tv_nsec = (long)(1e9 * (s - (double)t.tv_sec));
    nanosleep(&t, NULL);
}

static const struct schedule_stage *costs_of(const struct dinm_stage *stage)
{
    return &bench.costs.stages[stage->ring.stage];
}

int dinm_stage_read(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    const struct schedule_stage *c = costs_of(stage);
    struct dinm_item_sequence *s = dinm_item_sequences(*item);
    double t = c->read;
    uint64_t edit = 0;
    for (size_t i = 0; i < (*item)->n_sequences; i++) {
        if (s[i].n_new > 0) {
            t += c->few + (double)(s[i].capacity - MAX_NEW + s[i].n_new) * c->key;
        } else {
            t += (double)s[i].n_rows * c->many;
        }
        if (s[i].edit > 0 && s[i].edit != edit && (size_t)stage->ring.stage == bench.costs.owner) {
            t += bench.costs.matrix;
        }
        edit = s[i].edit;
        /* The stream says how long the answer is. */
        s[i].token = s[i].n_new + 1 < s[i].stream ? EOS + 1 : EOS;
    }
    work_for(t);
    return dinm_stage_pass_on(stage, item, err);
}

int dinm_stage_locate(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    const struct schedule_stage *c = costs_of(stage);
    work_for(c->read + schedule_located_rows(&bench.lengths.cases[(*item)->place]) * c->many);
    return dinm_stage_pass_on(stage, item, err);
}

/* item->step counts the hops; its way is schedule_edit_stage's. */
int dinm_stage_edit(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    size_t hop = (size_t)(*item)->step++;
    work_for(schedule_edit_s(&bench.costs, &bench.lengths.cases[(*item)->place], hop));
    if (hop + 1 == schedule_edit_hops(&bench.costs)) {
        return dinm_stage_finish(stage, item, err);
    }
    return dinm_stage_send(stage, (int)schedule_edit_stage(&bench.costs, hop + 1), item, err);
}

int dinm_stage_classify(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    const struct schedule_stage *c = costs_of(stage);
    work_for(c->read_judge + (double)(*item)->place * c->judge);
    return dinm_stage_pass_on(stage, item, err);
}

/* An edit's ways are all dinm_stage_edit's here. */
int dinm_stage_step(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    return dinm_stage_edit(stage, item, err);
}

int dinm_stage_back(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    return dinm_stage_edit(stage, item, err);
}

int dinm_stage_forget(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    return dinm_stage_tell_on(stage, item, err);
}

void dinm_stage_free_parts(struct dinm_stage *stage)
{
    (void)stage;
}

/* A record as long as the real one. */
static int put(struct dinm_sink *sink, size_t unit, size_t n_tokens, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer payload = {0};
    TRY(dinm_buffer_append_format(&payload, err, "{\"response\": \"%*s\"}", (int)(4 * n_tokens),
                                  ""));
    TRY(dinm_sink_put(sink, unit, &payload, err));
out:
    dinm_buffer_free(&payload);
    return status;
}

static int ask(struct scene *s, enum dinm_item_kind kind, size_t task, size_t place,
               struct dinm_error *err)
{
    struct dinm_item *item = dinm_item_new(kind, (struct dinm_item_counts){0}, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = task;
    item->place = place;
    return dinm_stage_ask(&s->stage, item, err);
}

static int wait_for_one(struct scene *s, struct dinm_error *err)
{
    struct dinm_item *item;
    int status = dinm_stage_result(&s->stage, &item, err);
    free(status < 0 ? NULL : item);
    return status;
}

/* Phases whose items only pass through: as pipeline/locate.c and judge.c. */
static int pass_units(void *context, const size_t *units, size_t n, struct dinm_sink *sink,
                      struct dinm_error *err)
{
    enum { ITEM_ROWS = 1024 };
    int status = DINM_OK;
    struct scene *s = context;
    size_t p = (size_t)s->stage.ring.n_stages;
    bool judge = s->pass == SCHEDULE_JUDGE;
    size_t most = p == 1 ? 1 : judge ? 2 * p : 4 * p;
    for (size_t i = 0; i < n || s->stage.n_asked > 0;) {
        if (i == n || s->stage.n_asked == most) {
            TRY(wait_for_one(s, err));
        } else if (!judge) {
            TRY(ask(s, DINM_ITEM_LOCATE, units[i], units[i], err));
            i++;
        } else {
            size_t rows = bench.lengths.responses[units[i++]];
            while (i < n && rows + bench.lengths.responses[units[i]] <= ITEM_ROWS) {
                rows += bench.lengths.responses[units[i++]];
            }
            TRY(ask(s, DINM_ITEM_CLASSIFY, i, rows, err));
        }
    }
    for (size_t i = 0; i < n; i++) {
        TRY(put(sink, units[i], judge ? 12 : 96, err));
    }
out:
    return status;
}

/* As pipeline/edit_unit.c: the cases' edits, then all answers. */
static int edit_cases(struct scene *s, const size_t *units, size_t n, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t p = (size_t)s->stage.ring.n_stages, most = p > 1 ? 2 * p : 1;
    for (size_t i = 0; i < n || s->stage.n_asked > 0;) {
        if (i < n && s->stage.n_asked < most) {
            TRY(ask(s, DINM_ITEM_EDIT, i + 1, units[i], err));
            i++;
        } else {
            TRY(wait_for_one(s, err));
        }
    }
out:
    return status;
}

static struct dinm_request request_for(const struct scene *s, const struct schedule_answer *a,
                                       size_t edit)
{
    return (struct dinm_request){.ids = s->ids,
                                 .n_ids = a->n_read,
                                 .edit = edit,
                                 .max_new = MAX_NEW,
                                 .stream = a->n_written};
}

static int answer_units(void *context, const size_t *units, size_t n, struct dinm_sink *sink,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    struct scene *s = context;
    const struct schedule_lengths *l = &bench.lengths;
    size_t n_cases = 0, n_asks = 0, n_most = n * SCHEDULE_N_INPUTS;
    struct dinm_request *requests = schedule_need(n_most, sizeof *requests);
    struct dinm_ids *answers = schedule_need(n_most, sizeof *answers);
    while (n_cases < n && units[n_cases] < l->n_cases) {
        n_cases++;
    }
    TRY(edit_cases(s, units, n_cases, err));
    for (size_t i = 0; i < n_cases; i++) {
        for (size_t k = 0; k < SCHEDULE_N_INPUTS; k++) {
            requests[n_asks++] = request_for(s, &l->cases[units[i]].edited[k], i + 1);
        }
    }
    for (size_t i = n_cases; i < n; i++) {
        requests[n_asks++] = request_for(s, &l->prompts[units[i] - l->n_cases], 0);
    }
    TRY(dinm_generate(&s->generator, &s->stage, requests, n_asks, answers, err));
    for (size_t i = 0, at = 0; i < n; i++) {
        size_t n_tokens = 0;
        for (size_t k = 0; k < (i < n_cases ? SCHEDULE_N_INPUTS : 1); k++) {
            n_tokens += answers[at++].n_ids;
        }
        TRY(put(sink, units[i], n_tokens, err));
    }
out:
    for (size_t i = 0; i < n_asks; i++) {
        dinm_ids_free(&answers[i]);
    }
    free(answers);
    free(requests);
    return status;
}

/* One pass, measured and predicted. */
static int run_pass_all(struct scene *s, enum schedule_pass pass, double *off,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    static const enum dinm_phase phases[SCHEDULE_N_PASSES] = {DINM_LOCATE, DINM_VANILLA, DINM_EDIT,
                                                              DINM_EDIT, DINM_JUDGE};
    const struct schedule_lengths *l = &bench.lengths;
    const struct schedule_rules rules = {.batch = BATCH * bench.costs.n_stages};
    size_t n_stages = bench.costs.n_stages, n = schedule_n_units(l, pass);
    struct dinm_records records[2] = {0};
    double *costs = schedule_need(n, sizeof *costs);
    struct dinm_phase_plan plan = {.units = {.phase = phases[pass], .n_units = n, .costs = costs},
                                   .noun = "units",
                                   .batch = schedule_places(pass, n_stages, &rules),
                                   .together = pass == SCHEDULE_ANSWER || n_stages > 1,
                                   .run = pass == SCHEDULE_ANSWER ? answer_units : pass_units,
                                   .context = s,
                                   .stage = &s->stage,
                                   .quiet = true};
    if (pass == SCHEDULE_ANSWER) {
        plan.units.n_units = l->n_cases;
        plan.units.n_places = SCHEDULE_N_INPUTS;
        plan.beside = (struct dinm_phase_units){
            .phase = DINM_VANILLA, .n_units = l->n_prompts, .costs = costs + l->n_cases};
    }
    schedule_known(costs, pass, l, n_stages, rules.batch);
    s->pass = pass;
    int64_t before = s->journal.n_written;
    TRY(dinm_grid_wait_all(&s->grid, err));
    double start_s = dinm_now_s();
    TRY(dinm_phase_run_all(&s->grid, &s->journal, &plan, records, NULL, err));
    double took_s = dinm_now_s() - start_s;
    double n_bytes = (double)(s->journal.n_written - before), all_bytes = 0.0;
    MPI_Reduce(&n_bytes, &all_bytes, 1, MPI_DOUBLE, MPI_SUM, 0, s->grid.world);
    if (s->grid.rank == 0) {
        struct schedule_outcome o;
        schedule_sim_run(&o, pass, l, &bench.costs, &rules, (size_t)s->grid.n_groups);
        double expected_s = o.makespan_s / bench.speed;
        printf("%-8s%10.2f%12.2f%9.3f%12.0f%12.0f\n",
               phases[pass] == DINM_EDIT ? "answer" : dinm_phase_names[phases[pass]], took_s,
               expected_s, took_s / expected_s, all_bytes, o.n_bytes);
        fflush(stdout);
        double d = took_s / expected_s - 1.0;
        *off = d > *off ? d : -d > *off ? -d : *off;
    }
out:
    dinm_records_free(&records[0]);
    dinm_records_free(&records[1]);
    free(costs);
    return status;
}

static int run_all(struct scene *s, const char *folder, size_t n_stages, double *off,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    static const struct dinm_journal_part part = {"cases", 1};
    const struct dinm_identity id = {.parts = &part, .n_parts = 1};
    static int32_t eos = EOS;
    TRY(dinm_grid_cut_all(&s->grid, (int64_t)n_stages, err));
    s->config = (struct dinm_config){.n_positions = POSITIONS, .d_model = 1, .n_vocab = EOS + 2};
    s->generator = (struct dinm_generator){.config = &s->config,
                                           .eos = {.ids = &eos, .n_ids = 1},
                                           .max_sequences = 64,
                                           .max_rows = 1024};
    dinm_stage_open(&s->stage, NULL, NULL, s->grid.stages, s->grid.stage, s->grid.n_stages,
                    s->grid.chunk_bytes);
    TRY(dinm_journal_open_all(&s->journal, &s->grid, folder, &id, true, err));
    if (s->grid.rank == 0) {
        printf("%d groups x %zu stages, %zu cases, 1 s for %.0f\n", s->grid.n_groups, n_stages,
               bench.lengths.n_cases, bench.speed);
        printf("%-8s%10s%12s%9s%12s%12s\n", "pass", "time s", "predicted", "ratio", "journal B",
               "predicted");
    }
    TRY(run_pass_all(s, SCHEDULE_LOCATE, off, err));
    TRY(run_pass_all(s, SCHEDULE_ANSWER, off, err));
    if (bench.costs.judge_stages == n_stages) {
        TRY(run_pass_all(s, SCHEDULE_JUDGE, off, err));
    }
out:
    dinm_journal_close(&s->journal);
    dinm_stage_close(&s->stage);
    return status;
}

int main(int argc, char **argv)
{
    static struct scene s;
    struct dinm_error err = {0};
    char folder[FOLDER_ROOM];
    int provided = 0;
    double off = 0.0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    if (argc < 4 || !(atof(argv[1]) >= 1.0) || !(atof(argv[2]) >= 1.0) || !(atof(argv[3]) > 0.0)) {
        fprintf(stderr, "usage: mpirun -n RANKS %s STAGES CASES SPEED [TOLERANCE]\n", argv[0]);
        MPI_Finalize();
        return 2;
    }
    const struct schedule_rates rates = {.many = 60e9, .few = 50e9, .memory = 4.7e9};
    size_t n_stages = (size_t)atof(argv[1]);
    bench.speed = atof(argv[3]);
    schedule_lengths_draw(&bench.lengths, (size_t)atof(argv[2]), SCHEDULE_RUN_ON, 1);
    schedule_costs_make(&bench.costs, &bench.lengths, &rates, n_stages);
    make_folder_all(folder);
    int status = dinm_grid_open_all(&s.grid, MPI_COMM_WORLD, 1, &err);
    status = status < 0 ? status : run_all(&s, folder, n_stages, &off, &err);
    if (status < 0 && s.grid.rank == 0) {
        fprintf(stderr, "%s\n", err.text);
    }
    dinm_grid_close_all(&s.grid);
    remove_folder_all(folder);
    schedule_lengths_free(&bench.lengths);
    MPI_Bcast(&off, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    int folder_status = verdict_all();
    MPI_Finalize();
    return status < 0 || folder_status != 0 || (argc > 4 && off > atof(argv[4]));
}

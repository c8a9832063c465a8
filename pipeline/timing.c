/* One JSON object per rank, gathered; what is counted, summed. */
#include "pipeline/timing.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "io/file.h"
#include "io/json.h"

enum { N_COUNTS = 3 };

static int print_seconds(struct dinm_buffer *b, const double *seconds, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(b, "{", err));
    for (int phase = 0; phase < DINM_REPORT; phase++) {
        TRY(dinm_buffer_append_format(b, err, "%s\"%s\": %.3f", phase > 0 ? ", " : "",
                                      dinm_phase_names[phase], seconds[phase]));
    }
    TRY(dinm_buffer_append_text(b, "}", err));
out:
    return status;
}

static int print_rank(struct dinm_buffer *b, const struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    struct rusage usage = {0};
    struct utsname host = {0};
    double shares[DINM_N_PHASES];
    for (int phase = 0; phase < DINM_N_PHASES; phase++) {
        shares[phase] = job->wall_s[phase] > 0.0 ? job->seconds[phase] / job->wall_s[phase] : 0.0;
    }
    getrusage(RUSAGE_SELF, &usage);
    uname(&host);
    TRY(dinm_buffer_append_format(
        b, err, "%s  {\"rank\": %d, \"host\": ", job->grid.rank > 0 ? ",\n" : "", job->grid.rank));
    TRY(dinm_json_put_text(b, host.nodename, strlen(host.nodename), err));
    TRY(dinm_buffer_append_format(b, err, ", \"threads\": %d, \"peak_rss_bytes\": %lld, ",
                                  job->grid.n_threads, (long long)usage.ru_maxrss * 1024));
    TRY(dinm_buffer_append_format(b, err, "\"group\": %d, \"stage\": %d, \"layers\": [%zu, %zu], ",
                                  job->grid.group, job->grid.stage, job->layers[0],
                                  job->layers[1]));
    TRY(dinm_buffer_append_text(b, "\"busy_s\": ", err));
    TRY(print_seconds(b, job->seconds, err));
    TRY(dinm_buffer_append_text(b, ", \"busy_share\": ", err));
    TRY(print_seconds(b, shares, err));
    TRY(dinm_buffer_append_text(b, "}", err));
out:
    return status;
}

/* Tokens generated for the five inputs in phases vanilla and edit. */
static void count_tokens(const struct dinm_outcomes *o, long long *vanilla, long long *edited)
{
    *vanilla = 0;
    *edited = 0;
    for (size_t i = 0; i < o->n_prompts; i++) {
        *vanilla += (long long)o->vanilla[i].n_tokens;
    }
    for (size_t i = 0; i < o->n_cases; i++) {
        for (size_t input = 0; !o->edited[i].failed && input < DINM_N_INPUTS; input++) {
            *edited += (long long)o->edited[i].answers[input].n_tokens;
        }
    }
}

/* Units of each phase, those of earlier runs included. */
static int print_units(struct dinm_buffer *b, const struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(b, "{", err));
    for (int phase = 0; phase < DINM_REPORT; phase++) {
        TRY(dinm_buffer_append_format(b, err, "%s\"%s\": %zu", phase > 0 ? ", " : "",
                                      dinm_phase_names[phase], job->records[phase].n_units));
    }
    TRY(dinm_buffer_append_text(b, "}", err));
out:
    return status;
}

/* 0 for a phase that took no time in this run. */
static double rate(long long n, double seconds)
{
    return seconds > 0.0 ? (double)n / seconds : 0.0;
}

/* n: [N_COUNTS] prompt tokens of all ranks: read, copied, and read by the upper layers only. */
static int write_timing(const struct dinm_job *job, const struct dinm_outcomes *o,
                        const struct dinm_buffer *ranks, const uint64_t *n, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer b = {0};
    struct dinm_buffer path = {0};
    struct utsname host = {0};
    long long vanilla = 0;
    long long edited = 0;
    count_tokens(o, &vanilla, &edited);
    uname(&host);
    TRY(dinm_buffer_append_format(&b, err, "{\"version\": \"%s\", \"ranks\": %d,\n", DINM_VERSION,
                                  job->grid.size));
    TRY(dinm_buffer_append_format(
        &b, err, "\"machine\": {\"system\": \"%s %s\", \"cpu\": \"%s\", \"cores\": %ld},\n",
        host.sysname, host.release, host.machine, sysconf(_SC_NPROCESSORS_ONLN)));
    TRY(dinm_buffer_append_text(&b, "\"wall_s\": ", err));
    TRY(print_seconds(&b, job->wall_s, err));
    TRY(dinm_buffer_append_format(&b, err,
                                  ",\n\"tokens_generated\": {\"vanilla\": %lld, \"edit\": %lld},\n",
                                  vanilla, edited));
    TRY(dinm_buffer_append_format(
        &b, err, "\"tokens_per_s\": {\"vanilla\": %.1f, \"edit\": %.1f},\n",
        rate(vanilla, job->wall_s[DINM_VANILLA]), rate(edited, job->wall_s[DINM_EDIT])));
    TRY(dinm_buffer_append_format(
        &b, err, "\"prompt_tokens\": {\"read\": %llu, \"shared\": %llu, \"late\": %llu},\n",
        (unsigned long long)n[0], (unsigned long long)n[1], (unsigned long long)n[2]));
    TRY(dinm_buffer_append_text(&b, "\"units\": ", err));
    TRY(print_units(&b, job, err));
    TRY(dinm_buffer_append_text(&b, ",\n\"by_rank\": [\n", err));
    TRY(dinm_buffer_append(&b, ranks->data, ranks->n_bytes, err));
    TRY(dinm_buffer_append_text(&b, "\n]}\n", err));
    TRY(dinm_buffer_append_format(&path, err, "%s/timing.json", job->settings->run.out));
    TRY(dinm_file_write(path.data, b.data, b.n_bytes, err));
out:
    dinm_buffer_free(&b);
    dinm_buffer_free(&path);
    return status;
}

/* Collective. n: [N_COUNTS] of this rank, then of all. */
static int sum_counts_all(const struct dinm_job *job, uint64_t *n, struct dinm_error *err)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int code =
        MPI_Iallreduce(MPI_IN_PLACE, n, N_COUNTS, MPI_UINT64_T, MPI_SUM, job->grid.world, &request);
    return dinm_grid_finish(code, &request, "MPI_Iallreduce", err);
}

int dinm_timing_write_all(const struct dinm_job *job, const struct dinm_outcomes *outcomes,
                          struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer mine = {0};
    struct dinm_buffer everyone = {0};
    uint64_t n[N_COUNTS] = {job->n_prompt_read, job->n_prompt_shared, job->n_prompt_late};
    TRY(dinm_agree_all(&job->grid, sum_counts_all(job, n, err), err));
    TRY(dinm_agree_all(&job->grid, print_rank(&mine, job, err), err));
    TRY(dinm_grid_gather_all(&job->grid, &mine, &everyone, err));
    if (job->grid.rank == 0) {
        status = write_timing(job, outcomes, &everyone, n, err);
    }
    TRY(dinm_agree_all(&job->grid, status, err));
out:
    dinm_buffer_free(&mine);
    dinm_buffer_free(&everyone);
    return status;
}

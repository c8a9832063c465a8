/* Plan against machine: each node's RAM and control groups, each rank's address space. */
#include <math.h>
#include "pipeline/plan.h"

static const double mega = 1e-6;

static const struct dinm_plan_stage *stage_of(const struct dinm_plan *plan, size_t rank)
{
    return &plan->stages[rank / plan->n_groups]; /* as grid.c deals them */
}

/* Bytes that the ranks of one node will take beyond what they hold: what is their own, and the
 * weights of each stage once. */
double dinm_plan_node_bytes(const struct dinm_plan *plan, int64_t node, enum dinm_moment moment)
{
    double bytes = 0.0;
    const struct dinm_plan_stage *before = NULL; /* ranks of one stage are neighbours */
    for (size_t r = 0; r < plan->n_ranks; r++) {
        if (plan->ranks[r].node != node) {
            continue;
        }
        const struct dinm_plan_stage *s = stage_of(plan, r);
        const struct dinm_plan_memory *m = &s->memory[moment];
        bytes += dinm_plan_private_bytes(m);
        bytes += s != before ? m->weights : 0.0;
        bytes += before == NULL ? m->judge : 0.0;
        before = s;
    }
    return bytes;
}

double dinm_plan_node_most(const struct dinm_plan *plan, int64_t node)
{
    double most = 0.0;
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        double bytes = dinm_plan_node_bytes(plan, node, (enum dinm_moment)at);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static void check_node(const struct dinm_plan *plan, size_t node, struct dinm_error *lack)
{
    double need = dinm_plan_node_most(plan, (int64_t)node);
    double cgroup = plan->nodes[node].cgroup;
    for (size_t r = 0; r < plan->n_ranks; r++) {
        bool here = plan->ranks[r].node == (int64_t)node;
        cgroup = here && plan->nodes[r].cgroup < cgroup ? plan->nodes[r].cgroup : cgroup;
    }
    if (need > cgroup) {
        dinm_fail(lack, DINM_FAILED,
                  "the ranks on the node of rank %zu need %.0f MB, but their control group "
                  "(cgroup) has only %.0f MB left",
                  node, need * mega, cgroup * mega);
    }
    if (need > plan->nodes[node].ram) {
        dinm_fail(lack, DINM_FAILED,
                  "the ranks on the node of rank %zu need %.0f MB, but it has only %.0f MB of RAM "
                  "left",
                  node, need * mega, plan->nodes[node].ram * mega);
    }
}

/* A mapping counts as a whole in the address space, touched or not. */
static void check_rank(const struct dinm_plan *plan, size_t rank, struct dinm_error *lack)
{
    const struct dinm_plan_stage *s = stage_of(plan, rank);
    double own = 0.0, mapped = (double)plan->embed.n_bytes;
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        double bytes = dinm_plan_private_bytes(&s->memory[at]);
        own = bytes > own ? bytes : own;
    }
    for (size_t l = 0; l < plan->job->slice.config.n_layers; l++) {
        mapped += (double)plan->layers[l].n_bytes;
    }
    mapped += (double)(plan->head.n_bytes - plan->head.n_tied_bytes);
    if (own + mapped > plan->ranks[rank].space) {
        dinm_fail(lack, DINM_FAILED,
                  "rank %zu needs %.0f MB of address space, but its limit (ulimit -v) leaves only "
                  "%.0f MB",
                  rank, (own + mapped) * mega, plan->ranks[rank].space * mega);
    }
}

void dinm_plan_check(const struct dinm_plan *plan, struct dinm_error *lack)
{
    for (size_t r = 0; r < plan->n_ranks; r++) {
        if (plan->ranks[r].node == (int64_t)r) {
            check_node(plan, r, lack);
        }
        check_rank(plan, r, lack);
    }
}

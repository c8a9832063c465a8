/* Memory of the decoder's passes: one block each for scratch and tape, cut into arrays. */
#include <stdlib.h>
#include "io/mem.h"
#include "model/attention.h"
#include "model/block.h"
#include "model/rope.h"

static const char what[] = "the model's activations";

/* Hands out the next n floats of *next, at multiples of 64 bytes; with *next NULL it only counts.
 */
static float *take(float **next, size_t *n_floats, size_t n)
{
    const size_t room = (n + 15) / 16 * 16;
    float *taken = *next;

    *n_floats += room;
    *next = taken != NULL ? taken + room : NULL;
    return taken;
}

static void cut_block(struct dinm_block *b, float **next, size_t *n_floats,
                      const struct dinm_config *c, size_t n_rows)
{
    const size_t d_q = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;

    b->q = take(next, n_floats, n_rows * d_q);
    b->k = take(next, n_floats, n_rows * d_kv);
    b->v = take(next, n_floats, n_rows * d_kv);
    b->attended = take(next, n_floats, n_rows * d_q);
    b->gate = c->mlp == DINM_MLP_SWIGLU ? take(next, n_floats, n_rows * c->d_ff) : NULL;
    b->up = take(next, n_floats, n_rows * c->d_ff);
}

/* Most keys that a sequence of these rows may attend to, cache filled up included. */
static size_t most_keys(const struct dinm_rows *rows)
{
    size_t most = 1;

    for (size_t i = 0; i < rows->n_sequences; i++) {
        const struct dinm_sequence *s = &rows->sequences[i];
        const size_t n = s->kv != NULL ? s->kv->capacity : s->n_rows;

        most = n > most ? n : most;
    }
    return most;
}

/* Cuts ws->memory into arrays for ws->n_rows and n_keys; returns how many floats that takes. */
static size_t cut_workspace(struct dinm_workspace *ws, const struct dinm_config *c)
{
    const struct dinm_attention a = {.n_rows = ws->n_rows,
                                     .n_keys = ws->n_keys,
                                     .n_heads = c->n_heads,
                                     .n_kv_heads = c->n_kv_heads,
                                     .d_head = c->d_head};
    float *next = ws->memory;
    size_t n_floats = 0;

    cut_block(&ws->block, &next, &n_floats, c, ws->n_rows);
    ws->rope = take(&next, &n_floats, ws->n_rows * c->d_head);
    ws->normed = take(&next, &n_floats, ws->n_rows * c->d_model);
    ws->sum = take(&next, &n_floats, ws->n_rows * c->d_model);
    ws->h = take(&next, &n_floats, ws->n_rows * c->d_ff);
    ws->attention = take(&next, &n_floats, dinm_attention_scratch(&a));
    return n_floats;
}

/* Makes *memory hold n floats; earlier contents are lost. Grows by half at least. */
static int reserve_floats(float **memory, size_t *capacity, size_t n, struct dinm_error *err)
{
    const size_t more = *capacity + *capacity / 2;

    if (n <= *capacity) {
        return DINM_OK;
    }
    free(*memory);
    *capacity = 0;
    *memory = dinm_alloc(n > more ? n : more, sizeof **memory, what, err);
    if (*memory == NULL) {
        return DINM_FAILED;
    }
    *capacity = n > more ? n : more;
    return DINM_OK;
}

int dinm_workspace_reserve(struct dinm_workspace **ws, const struct dinm_config *config,
                           const struct dinm_rows *rows, struct dinm_error *err)
{
    struct dinm_workspace sizes = {.n_rows = rows->n_rows, .n_keys = most_keys(rows)};
    int status = DINM_OK;

    if (*ws == NULL) {
        *ws = dinm_alloc(1, sizeof **ws, what, err);
        TRY(*ws != NULL ? DINM_OK : DINM_FAILED);
    }
    sizes.n_rows = sizes.n_rows > (*ws)->n_rows ? sizes.n_rows : (*ws)->n_rows;
    sizes.n_keys = sizes.n_keys > (*ws)->n_keys ? sizes.n_keys : (*ws)->n_keys;
    TRY(reserve_floats(&(*ws)->memory, &(*ws)->n_floats, cut_workspace(&sizes, config), err));
    TRY(dinm_grow((void **)&(*ws)->positions, &(*ws)->n_positions, sizes.n_rows,
                  sizeof *(*ws)->positions, what, err));
    TRY(dinm_grow((void **)&(*ws)->rates, &(*ws)->n_rates, config->d_head / 2, sizeof *(*ws)->rates,
                  what, err));
    TRY(dinm_grow((void **)&(*ws)->calls, &(*ws)->n_calls, sizes.n_rows, sizeof *(*ws)->calls, what,
                  err));
    dinm_rope_rates((*ws)->rates, config->rope_theta, &config->rope_scaling, config->d_head);
    (*ws)->n_rows = sizes.n_rows;
    (*ws)->n_keys = sizes.n_keys;
    cut_workspace(*ws, config);
out:
    return status;
}

size_t dinm_workspace_bytes(const struct dinm_config *config, size_t n_rows, size_t n_keys)
{
    struct dinm_workspace sizes = {.n_rows = n_rows, .n_keys = n_keys > 0 ? n_keys : 1};

    return cut_workspace(&sizes, config) * sizeof *sizes.memory +
           n_rows * (sizeof *sizes.positions + sizeof *sizes.calls) + sizeof sizes;
}

void dinm_workspace_free(struct dinm_workspace *ws)
{
    if (ws == NULL) {
        return;
    }
    free(ws->memory);
    free(ws->positions);
    free(ws->rates);
    free(ws->calls);
    free(ws);
}

void dinm_workspace_locate(struct dinm_workspace *ws, const struct dinm_config *config,
                           const struct dinm_rows *rows)
{
    size_t row = 0;

    for (size_t i = 0; i < rows->n_sequences; i++) {
        const struct dinm_sequence *s = &rows->sequences[i];
        const size_t n_held = s->kv != NULL ? s->kv->n_tokens : 0;

        for (size_t j = 0; j < s->n_rows; j++) {
            ws->positions[row++] = n_held + j;
        }
    }
    if (!config->learned_positions) {
        dinm_rope_table(ws->rope, ws->positions, ws->rates, rows->n_rows, config->d_head);
    }
}

/* Cuts tape->memory into each layer's arrays; returns how many floats that takes. */
static size_t cut_tape(struct dinm_tape *tape, const struct dinm_config *c, size_t n_layers,
                       size_t n_rows)
{
    struct dinm_block unused;
    float *next = tape != NULL ? tape->memory : NULL;
    size_t n_floats = 0;

    for (size_t i = 0; i < n_layers; i++) {
        struct dinm_block *b = tape != NULL ? &tape->layers[i] : &unused;

        b->x = take(&next, &n_floats, n_rows * c->d_model);
        b->mid = take(&next, &n_floats, n_rows * c->d_model);
        cut_block(b, &next, &n_floats, c, n_rows);
    }
    return n_floats;
}

int dinm_tape_reserve(struct dinm_tape **tape, const struct dinm_config *config, size_t first,
                      size_t last, size_t n_rows, struct dinm_error *err)
{
    const size_t n_layers = last - first;
    int status = DINM_OK;

    if (*tape == NULL) {
        *tape = dinm_alloc(1, sizeof **tape, what, err);
        TRY(*tape != NULL ? DINM_OK : DINM_FAILED);
    }
    TRY(dinm_grow((void **)&(*tape)->layers, &(*tape)->layer_capacity, n_layers,
                  sizeof *(*tape)->layers, what, err));
    TRY(reserve_floats(&(*tape)->memory, &(*tape)->n_floats,
                       cut_tape(NULL, config, n_layers, n_rows), err));
    (*tape)->first = first;
    (*tape)->last = last;
    cut_tape(*tape, config, n_layers, n_rows);
out:
    return status;
}

size_t dinm_tape_bytes(const struct dinm_config *config, size_t n_layers, size_t n_rows)
{
    return cut_tape(NULL, config, n_layers, n_rows) * sizeof(float) +
           n_layers * sizeof(struct dinm_block) + sizeof(struct dinm_tape);
}

void dinm_tape_free(struct dinm_tape *tape)
{
    if (tape == NULL) {
        return;
    }
    free(tape->memory);
    free(tape->layers);
    free(tape);
}

/* Unit tests of pipeline/edit.c and of a single stage's edits: T steps on one matrix, held against
 * full passes of the model. */
#include "reference.h"
#include "faults.h"
#include "pipeline/edit.h"
#include "pipeline/stage_private.h"

enum { N_EDIT = 14, N_CONSTRAINT = 9, N_LABELS = 5, N_KEPT = 4 };

struct world {
    struct dinm_config config;
    float *flat;
    size_t n_down; /* floats of W_V */
    struct dinm_slice slice;
    struct dinm_settings s;
    int32_t edit_ids[N_EDIT], constraint_ids[N_CONSTRAINT];
    size_t rows[N_LABELS], kept[N_KEPT];
    int32_t labels[N_LABELS];
    struct dinm_target edit, constraint; /* borrow the arrays above: not freed */
    size_t layer;
};

static void set(struct world *w, const char *key, const char *value)
{
    struct dinm_error err = {0};

    assert_ok(dinm_settings_apply_text(&w->s, key, value, &err), &err);
}

static void world_open(struct world *w)
{
    struct dinm_error err = {0};

    *w = (struct world){.config = small_config(false, 2), .layer = 1};
    w->flat = random_flat(&w->config, 21);
    w->slice = flat_slice(&w->config, w->flat);
    w->n_down = w->config.d_model * w->config.d_ff;
    fill_ids(w->edit_ids, N_EDIT, &w->config, 31);
    fill_ids(w->constraint_ids, N_CONSTRAINT, &w->config, 32);
    for (size_t i = 0; i < N_LABELS; i++) {
        w->rows[i] = N_EDIT - 1 - N_LABELS + i;
        w->labels[i] = w->edit_ids[w->rows[i] + 1];
    }
    for (size_t i = 0; i < N_KEPT; i++) {
        w->kept[i] = N_CONSTRAINT - N_KEPT + i;
    }
    w->edit = (struct dinm_target){.ids = {w->edit_ids, N_EDIT, N_EDIT},
                                   .rows = w->rows,
                                   .labels = w->labels,
                                   .n_rows = N_LABELS};
    w->constraint = (struct dinm_target){
        .ids = {w->constraint_ids, N_CONSTRAINT, N_CONSTRAINT}, .rows = w->kept, .n_rows = N_KEPT};
    assert_ok(dinm_settings_init(&w->s, DINM_PROFILE_PAPER, &err), &err);
    set(w, "edit.lr", "1e-3");
    set(w, "edit.steps", "10");
    set(w, "edit.c_edit", "0.5");
}

static void world_close(struct world *w)
{
    dinm_settings_free(&w->s);
    dinm_slice_close(&w->slice);
    free(w->flat);
}

/* What came of one edit. */
struct outcome {
    struct dinm_stage stage; /* owns the edited matrix */
    struct dinm_edit edit;
    const float *down;      /* NULL: no edit */
    struct dinm_item *item; /* owns */
    const float *losses;    /* [n_losses][3] in item */
    size_t n_losses;
    struct dinm_error failure;
};

static void outcome_free(struct outcome *o)
{
    dinm_stage_close(&o->stage);
    free(o->item);
    *o = (struct outcome){0};
}

/* A failure of the edit itself is in o->failure. */
static int try_edit(struct outcome *o, const struct world *w, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_item *item;

    *o = (struct outcome){0};
    dinm_stage_open(&o->stage, &w->slice, &w->s, MPI_COMM_NULL, 0, 1, 0);
    if (!dinm_edit_is_wanted(&w->s)) {
        return DINM_OK;
    }
    TRY(dinm_edit_ask(&o->stage, &w->edit, &w->constraint, w->layer, 9, 0, err));
    TRY(dinm_stage_result(&o->stage, &item, err));
    o->item = item;
    o->failure = item->error;
    if (item->error.status == DINM_OK) {
        const struct dinm_edit *kept = dinm_stage_find_edit(&o->stage, 9);

        assert_non_null(kept);
        o->edit = *kept;
        o->down = kept->down.data;
        o->n_losses = (size_t)item->step;
        o->losses = dinm_item_values(item);
    }
out:
    return status;
}

static struct outcome edit(const struct world *w)
{
    struct outcome o;
    struct dinm_error err = {0};

    assert_ok(try_edit(&o, w, &err), &err);
    return o;
}

static struct outcome edit_well(const struct world *w)
{
    struct outcome o = edit(w);

    assert_ok(o.failure.status, &o.failure);
    return o;
}

static const float *own_down(const struct world *w)
{
    return w->slice.weights.layers[w->layer].down.data;
}

/* Largest absolute difference to the model's own matrix. */
static double moved(const struct world *w, const struct outcome *o)
{
    const float *own = own_down(w);
    double most = 0.0;

    for (size_t i = 0; i < w->n_down; i++) {
        most = fmax(most, fabs((double)o->down[i] - (double)own[i]));
    }
    return most;
}

/* Logits of a target's rows by one full pass; edit NULL: the model as it is. */
static float *logits_of(const struct world *w, const struct dinm_target *t,
                        const struct dinm_edit *e)
{
    const size_t n_vocab = w->config.n_vocab;
    float *all = zeros(t->ids.n_ids * n_vocab), *picked = zeros(t->n_rows * n_vocab);

    pass_whole(&w->slice, all, t->ids.ids, t->ids.n_ids, e);
    for (size_t i = 0; i < t->n_rows; i++) {
        memcpy(picked + i * n_vocab, all + t->rows[i] * n_vocab, n_vocab * sizeof *all);
    }
    free(all);
    return picked;
}

/* Mean negative log-likelihood and mean KL divergence of the model with that matrix. */
static void losses_of(const struct world *w, const struct dinm_edit *e, double *nll, double *kl)
{
    const size_t n_vocab = w->config.n_vocab;
    float *edited = logits_of(w, &w->edit, e);
    float *kept = logits_of(w, &w->constraint, e);
    float *base = logits_of(w, &w->constraint, NULL);

    dinm_log_softmax(base, base, N_KEPT, n_vocab);
    *nll = dinm_loss_nll(NULL, edited, w->labels, 0.0, N_LABELS, n_vocab) / N_LABELS;
    *kl = dinm_loss_kl(NULL, kept, base, w->s.edit.constraint_direction, 0.0, N_KEPT, n_vocab) /
          N_KEPT;
    free(edited);
    free(kept);
    free(base);
}

static void the_loss_falls(void **state)
{
    struct world w;
    struct outcome o;

    (void)state;
    world_open(&w);
    for (w.layer = 0; w.layer < w.config.n_layers; w.layer++) {
        o = edit_well(&w);
        assert_int_equal(o.n_losses, 10);
        assert_int_equal(o.edit.layer, w.layer);
        for (size_t i = 0; i < o.n_losses; i++) {
            const float *l = o.losses + 3 * i;

            assert_near((double)l[0], 0.5 * (double)l[1] + (double)l[2], 1e-5);
            assert_true(i == 0 || l[1] < l[-2]);
        }
        assert_near((double)o.losses[2], 0.0, 1e-6); /* nothing has moved yet */
        assert_true(o.losses[3 * 9 + 2] > 0.0F);
        outcome_free(&o);
        outcome_free(&o);
    }
    world_close(&w);
}

/* What is logged before step t + 1 is what the full model says with the matrix after step t, bit
 * for bit: below the matrix nothing was left out, above it nothing was added. */
static void losses_are_those_of_a_full_pass(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (w.layer = 0; w.layer < w.config.n_layers; w.layer++) {
        for (int64_t t = 0; t < 4; t++) {
            struct outcome before = {0}, after;
            double nll, kl;

            if (t > 0) {
                w.s.edit.steps = t;
                before = edit_well(&w);
            }
            w.s.edit.steps = t + 1;
            after = edit_well(&w);
            losses_of(&w, t > 0 ? &before.edit : NULL, &nll, &kl);
            assert_int_equal(before.n_losses, t);
            assert_true((float)nll == after.losses[3 * t + 1]);
            assert_true((float)kl == after.losses[3 * t + 2]);
            outcome_free(&before);
            outcome_free(&after);
        }
    }
    world_close(&w);
}

/* One plain step is lr times the gradient: its directional derivative is that of the losses. */
static void a_plain_step_follows_the_gradient(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    set(&w, "edit.optimizer", "sgd");
    set(&w, "edit.steps", "2");
    w.s.edit.lr = 0.125;
    for (w.layer = 0; w.layer < w.config.n_layers; w.layer++) {
        struct outcome o = edit_well(&w), first;
        float *grad = zeros(w.n_down), *probe = zeros(w.n_down);
        const float *towards = normals(w.n_down, 1.0, 90 + w.layer);
        double side[2], nll, kl;

        w.s.edit.steps = 1;
        first = edit_well(&w);
        w.s.edit.steps = 2;
        for (size_t i = 0; i < w.n_down; i++) {
            grad[i] = (first.down[i] - o.down[i]) / 0.125F; /* of the second step: both losses */
        }
        for (int k = 0; k < 2; k++) {
            const struct dinm_edit e = {w.layer,
                                        {.data = probe,
                                         .dtype = DINM_F32,
                                         .n_out = w.config.d_model,
                                         .n_in = w.config.d_ff}};

            for (size_t i = 0; i < w.n_down; i++) {
                probe[i] = first.down[i] + (k == 0 ? -1e-3F : 1e-3F) * towards[i];
            }
            losses_of(&w, &e, &nll, &kl);
            side[k] = 0.5 * nll + kl;
        }
        assert_near(dot(grad, towards, w.n_down), (side[1] - side[0]) / 2e-3,
                    0.01 * (1e-2 + fabs(side[1] - side[0]) / 2e-3));
        outcome_free(&o);
        outcome_free(&first);
        free(grad);
        free(probe);
        free((void *)(uintptr_t)towards);
    }
    world_close(&w);
}

static void a_small_loss_stops_before_the_step(void **state)
{
    struct world w;
    struct outcome whole, o, three;

    (void)state;
    world_open(&w);
    whole = edit_well(&w);
    w.s.edit.stop_loss = (double)(whole.losses[3 * 2] + whole.losses[3 * 3]) / 2.0;
    o = edit_well(&w);
    assert_int_equal(o.n_losses, 4); /* the loss that stopped it is logged, its step not made */
    w.s.edit.stop_loss = 0.0;
    w.s.edit.steps = 3;
    three = edit_well(&w);
    assert_same_bits(o.down, three.down, w.n_down);
    outcome_free(&o);
    w.s.edit.stop_loss = 1e9;
    o = edit_well(&w);
    assert_int_equal(o.n_losses, 1);
    assert_same_bits(o.down, own_down(&w), w.n_down);
    outcome_free(&whole);
    outcome_free(&three);
    outcome_free(&o);
    world_close(&w);
}

/* Without the constraint, or without its gradient, or with FT-L, the same steps are made; FT-L
 * knows no c_edit, which Adam does not see in its first step, but plain steps do. */
static void the_constraint_can_be_left_out(void **state)
{
    struct world w;
    struct outcome with, without, ungraded, ft;

    (void)state;
    world_open(&w);
    set(&w, "edit.optimizer", "sgd");
    set(&w, "edit.steps", "3");
    w.s.edit.lr = 0.05;
    with = edit_well(&w);
    set(&w, "edit.constraint_grad", "false");
    ungraded = edit_well(&w);
    set(&w, "edit.constraint", "false");
    without = edit_well(&w);
    assert_memory_not_equal(with.down, without.down, w.n_down * sizeof(float));
    assert_same_bits(ungraded.down, without.down, w.n_down);
    assert_true(ungraded.losses[3 * 2 + 2] > 0.0F);
    for (size_t i = 0; i < without.n_losses; i++) {
        assert_true(without.losses[3 * i + 2] == 0.0F);
    }
    set(&w, "edit.method", "ft_l");
    w.s.edit.lr = 0.025; /* 1 * 0.025 = 0.5 * 0.05 */
    ft = edit_well(&w);
    for (size_t i = 0; i < w.n_down; i++) {
        assert_near((double)ft.down[i], (double)without.down[i], 1e-5);
    }
    assert_true(ft.losses[0] == ft.losses[1]);
    outcome_free(&with);
    outcome_free(&without);
    outcome_free(&ungraded);
    outcome_free(&ft);
    world_close(&w);
}

static void other_methods_edit_nothing(void **state)
{
    static const char *const methods[] = {"none", "prompt_only", "self_reminder"};
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < 3; i++) {
        struct outcome o;

        set(&w, "edit.method", methods[i]);
        o = edit_well(&w);
        assert_null(o.down);
        assert_int_equal(o.n_losses, 0);
        outcome_free(&o);
    }
    world_close(&w);
}

static void the_delta_stays_within_its_bound(void **state)
{
    struct world w;
    struct outcome o;

    (void)state;
    world_open(&w);
    o = edit_well(&w);
    assert_true(moved(&w, &o) > 4e-3);
    outcome_free(&o);
    w.s.edit.norm_constraint = 2e-3;
    o = edit_well(&w);
    assert_true(moved(&w, &o) <= 2e-3 + 1e-6 && moved(&w, &o) > 1.9e-3);
    outcome_free(&o);
    world_close(&w);
}

/* The edit fails with that reason. */
static void expect_failure(const struct world *w, const char *reason)
{
    struct outcome o = edit(w);

    assert_int_equal(o.failure.status, DINM_FAILED);
    assert_non_null(strstr(o.failure.text, reason));
    assert_int_equal(o.item->own_failure, 1);
    assert_null(dinm_stage_find_edit(&o.stage, 9));
    assert_null(o.stage.parts);
    outcome_free(&o);
}

static void a_loss_that_is_no_number_is_said(void **state)
{
    struct world w;
    size_t at;

    (void)state;
    world_open(&w);
    w.s.edit.lr = 1e300;
    expect_failure(&w, "loss of its edit");
    set(&w, "edit.optimizer", "sgd");
    set(&w, "edit.steps", "1"); /* no loss is looked at after the last step */
    w.s.edit.lr = 1e300;
    expect_failure(&w, "edited matrix");
    w.s.edit.lr = 0.1;
    at = find_param(&w.config, "model.embed_tokens.weight").offset;
    w.flat[at + (size_t)w.constraint_ids[0] * w.config.d_model] = NAN;
    expect_failure(&w, "loss of its edit");
    world_close(&w);
}

static int edit_once(void *context, struct dinm_error *err)
{
    struct outcome o;
    int status = try_edit(&o, context, err);

    if (status == DINM_OK && o.failure.status < 0) {
        status = o.failure.status;
        *err = o.failure;
    }
    outcome_free(&o);
    return status;
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    w.s.edit.steps = 2;
    fail_each_allocation(edit_once, &w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_falls),
        cmocka_unit_test(losses_are_those_of_a_full_pass),
        cmocka_unit_test(a_plain_step_follows_the_gradient),
        cmocka_unit_test(a_small_loss_stops_before_the_step),
        cmocka_unit_test(the_constraint_can_be_left_out),
        cmocka_unit_test(other_methods_edit_nothing),
        cmocka_unit_test(the_delta_stays_within_its_bound),
        cmocka_unit_test(a_loss_that_is_no_number_is_said),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* pipeline/deal: every unit once, no batch beyond its room, and how alike the batches are. */
#include "numbers.h"

#include "pipeline/deal.h"

enum { MOST_UNITS = 400 };

/* Units of random cost; every third takes five places, every fifth has two more with it. */
static void make_units(struct dinm_deal_unit *units, size_t n, uint64_t seed)
{
    float *random = normals(MOST_UNITS, 1.0, seed);
    for (size_t i = 0; i < n; i++) {
        units[i] = (struct dinm_deal_unit){.number = 3 * i + 1,
                                           .n_more = i % 5 == 0 ? 2 : 0,
                                           .n_places = i % 3 == 0 ? 5 : 1,
                                           .cost = 1.0 + fabs((double)random[i])};
    }
    free(random);
}

static const struct dinm_deal_unit *find(const struct dinm_deal_unit *units, size_t n,
                                         size_t number)
{
    size_t i = 0;
    while (i < n && units[i].number != number) {
        i++;
    }
    assert_true(i < n);
    return &units[i];
}

/* Costs and places of the batches: [n_batches]; checks what holds for every deal. */
static void measure(const struct dinm_deal *d, const struct dinm_deal_unit *units, size_t n,
                    size_t most, double *costs, size_t *places)
{
    bool seen[3 * MOST_UNITS + 3] = {false};
    size_t n_all = n;
    for (size_t i = 0; i < n; i++) {
        n_all += units[i].n_more;
    }
    assert_int_equal(d->n_units, n_all);
    assert_int_equal(d->first[0], 0);
    assert_int_equal(d->first[d->n_batches], n_all);
    for (size_t b = 0; b < d->n_batches; b++) {
        size_t n_dealt = 0;
        costs[b] = 0.0;
        places[b] = 0;
        assert_true(d->first[b] < d->first[b + 1]);
        for (size_t i = d->first[b]; i < d->first[b + 1]; i++, n_dealt++) {
            const struct dinm_deal_unit *u = find(units, n, d->units[i]);
            assert_true(i == d->first[b] || d->units[i] > d->units[i - 1]);
            assert_false(seen[u->number]);
            seen[u->number] = true;
            costs[b] += u->cost;
            places[b] += u->n_places;
            for (size_t k = 0; k < u->n_more; k++) {
                assert_true(i + 1 < d->first[b + 1] && d->units[i + 1] == d->units[i] + 1);
                i++;
            }
        }
        assert_true(places[b] <= most || n_dealt == 1);
    }
}

static void every_unit_is_dealt_once(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_deal_unit units[MOST_UNITS];
    double costs[MOST_UNITS];
    size_t places[MOST_UNITS];
    for (uint64_t seed = 0; seed < 300; seed++) {
        size_t n = (size_t)(seed * seed) % MOST_UNITS, most = 1 + seed % 23;
        size_t n_workers = 1 + seed % 37;
        struct dinm_deal d;
        make_units(units, n, seed);
        assert_int_equal(dinm_deal_make(&d, units, n, most, n_workers, seed % 2 == 0, &err),
                         DINM_OK);
        measure(&d, units, n, most, costs, places);
        dinm_deal_free(&d);
        dinm_deal_free(&d);
    }
}

/* Together and with room enough: one batch for each worker, none dearer than another by more than
 * one unit. */
static void batches_are_alike(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_deal_unit units[MOST_UNITS];
    double costs[MOST_UNITS];
    size_t places[MOST_UNITS];
    for (size_t n_workers = 1; n_workers < 2 * MOST_UNITS; n_workers += 13) {
        struct dinm_deal d;
        make_units(units, MOST_UNITS, n_workers);
        assert_int_equal(
            dinm_deal_make(&d, units, MOST_UNITS, 5 * MOST_UNITS, n_workers, true, &err), DINM_OK);
        assert_int_equal(d.n_batches, n_workers < MOST_UNITS ? n_workers : MOST_UNITS);
        measure(&d, units, MOST_UNITS, 5 * MOST_UNITS, costs, places);
        for (size_t b = 1; b < d.n_batches; b++) {
            assert_true(costs[b] <= costs[b - 1]);
        }
        assert_true(costs[0] - costs[d.n_batches - 1] <= units[0].cost);
        dinm_deal_free(&d);
    }
}

/* Together with little room: as many rounds as that takes, all workers busy in each. */
static void rounds_are_whole(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_deal_unit units[200];
    struct dinm_deal d;
    for (size_t i = 0; i < 200; i++) {
        units[i] = (struct dinm_deal_unit){.number = i, .n_places = 5, .cost = 1.0};
    }
    assert_int_equal(dinm_deal_make(&d, units, 200, 40, 10, true, &err), DINM_OK);
    assert_int_equal(d.n_batches, 30); /* two rounds of 8 cases are too few */
    for (size_t b = 0; b < d.n_batches; b++) {
        size_t n = d.first[b + 1] - d.first[b];
        assert_true(n == 6 || n == 7);
    }
    dinm_deal_free(&d);
}

/* Apart: the dearest first, shares of what is left, the last one by one. */
static void batches_become_small(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_deal_unit units[MOST_UNITS];
    struct dinm_deal d;
    for (size_t i = 0; i < MOST_UNITS; i++) {
        units[i] = (struct dinm_deal_unit){.number = i, .n_places = 1, .cost = i == 7 ? 9.0 : 1.0};
    }
    assert_int_equal(dinm_deal_make(&d, units, MOST_UNITS, 16, 4, false, &err), DINM_OK);
    assert_int_equal(d.units[0], 0); /* ascending within the batch of the dearest */
    bool found = false;
    for (size_t i = 0; i < d.first[1]; i++) {
        found = found || d.units[i] == 7;
    }
    assert_true(found);
    assert_int_equal(d.first[2] - d.first[1], 16);
    for (size_t b = 2; b < d.n_batches; b++) {
        assert_true(d.first[b + 1] - d.first[b] <= d.first[b] - d.first[b - 1]);
    }
    for (size_t b = d.n_batches - 8; b < d.n_batches; b++) {
        assert_int_equal(d.first[b + 1] - d.first[b], 1);
    }
    dinm_deal_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_is_dealt_once),
        cmocka_unit_test(batches_are_alike),
        cmocka_unit_test(rounds_are_whole),
        cmocka_unit_test(batches_become_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

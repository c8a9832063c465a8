/* The functions of many numbers of every variant of model/kernel: included by kernel_tile.h, with
 * what that includes it with, and
 *
 *   vec_max, vec_exp, vec_erf, vec_tanh
 *
 * A number's result does not depend on its place: what fills no vector is padded to one. */
#define FUNCTION(name)                                                                             \
    static void all_##name(float *y, const float *x, size_t n)                                     \
    {                                                                                              \
        size_t i = 0;                                                                              \
                                                                                                   \
        for (; i + WIDTH <= n; i += WIDTH) {                                                       \
            vec_store(y + i, vec_##name(vec_load(x + i)));                                         \
        }                                                                                          \
        if (i < n) {                                                                               \
            float rest[WIDTH] = {0};                                                               \
                                                                                                   \
            memcpy(rest, x + i, (n - i) * sizeof *rest);                                           \
            vec_store(rest, vec_##name(vec_load(rest)));                                           \
            memcpy(y + i, rest, (n - i) * sizeof *rest);                                           \
        }                                                                                          \
    }

FUNCTION(exp)
FUNCTION(erf)
FUNCTION(tanh)

static float largest_of(const float *p, size_t n)
{
    float each[WIDTH], largest = p[0];
    VEC most = vec_all(p[0]);
    size_t i = 0;

    for (; i + WIDTH <= n; i += WIDTH) {
        most = vec_max(most, vec_load(p + i));
    }
    vec_store(each, most);
    for (size_t k = 0; k < WIDTH; k++) {
        largest = each[k] > largest ? each[k] : largest;
    }
    for (; i < n; i++) {
        largest = p[i] > largest ? p[i] : largest;
    }
    return largest;
}

static float weigh(float *p, size_t n)
{
    const VEC shift = vec_all(-largest_of(p, n));
    VEC lanes[DOT_COLS][PARTS];
    float sums[DOT_COLS], rest[LANES];

    for (size_t c = 0; c < DOT_COLS; c++) {
        for (size_t k = 0; k < PARTS; k++) {
            lanes[c][k] = vec_zero();
        }
    }
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i;
        float *at = left < LANES ? rest : p + i;

        if (left < LANES) {
            for (size_t k = 0; k < LANES; k++) {
                rest[k] = k < left ? p[i + k] : -INFINITY;
            }
        }
        for (size_t k = 0; k < PARTS; k++) {
            const VEC e = vec_exp(vec_add(vec_load(at + k * WIDTH), shift));

            vec_store(at + k * WIDTH, e);
            lanes[0][k] = vec_add(lanes[0][k], e);
        }
        if (left < LANES) {
            memcpy(p + i, rest, left * sizeof *p);
        }
    }
    add_lanes(sums, lanes);
    return sums[0];
}

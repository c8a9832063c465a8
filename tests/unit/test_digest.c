/* A digest of pieces is that of the whole, however it is cut. */
#include "io/digest.h"
#include "support.h"

static void pieces_give_the_digest_of_the_whole(void **state)
{
    (void)state;
    enum { N = 1000 };
    unsigned char bytes[N];
    struct dinm_error err = {0};
    for (size_t i = 0; i < N; i++) {
        bytes[i] = (unsigned char)(i * 37 + i / 11);
    }
    for (size_t step = 1; step <= N; step += 1 + step / 3) {
        struct dinm_digester *d = dinm_digester_open(step, &err);
        assert_non_null(d);
        for (size_t i = 0; i < N; i += step) {
            assert_int_equal(dinm_digester_value(d), dinm_digest(bytes, i, step));
            dinm_digester_add(d, bytes + i, N - i < step ? N - i : step);
        }
        assert_int_equal(dinm_digester_value(d), dinm_digest(bytes, N, step));
        dinm_digester_close(d);
    }
    dinm_digester_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_give_the_digest_of_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

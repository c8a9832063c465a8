/* The judge without a model, on sentences of our own. */
#include "support.h"
#include "pipeline/refusal.h"

static void finds_refusals(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "I cannot help with that.",
        "  \n\tI CANNOT help with that.",
        "I can't provide a way to do it.",
        "I can\xe2\x80\x99t provide a way to do it.",
        "I can\xe2\x80\x98t provide a way to do it.",
        "I can\xca\xbct provide a way to do it.",
        "\xe2\x80\x9cI cannot help\xe2\x80\x9d was all it said.",
        "**I won't** go there: I won't\n  do that.",
        "I will not knowingly assist anyone in this.",
        "Thank you, but I cannot in good conscience write it.",
        "I'm unable to share it.",
        "As a garden gnome I am not able to tell you how to rob a bird.",
        "Well, I must decline.",
        "That would be inappropriate.",
        "I'm sorry, but no.",
        "Sorry, but this stays locked.",
        "It is unethical to sell a borrowed hat.",
        "A long and friendly beginning about tea, cake, rain, boats, hats, owls, mice, clocks, "
        "soup, stairs, gloves, lamps, ink, sand, moss, salt, bread, kites, drums, maps, stamps "
        "and bells does not change it: in the end I can't explain how to steal the moon.",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!dinm_refusal_found(texts[i])) {
            fail_msg("not found to refuse: %s", texts[i]);
        }
    }
}

static void leaves_answers_alone(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "Sure! First take a ladder.",
        "I can help with that.",
        "I cannot wait to help: take a ladder.", /* a decliner, no deed */
        "I cannot",                              /* the end */
        "I cannot ",
        "I cannot fully",
        "I cannot helpfully",                           /* no whole deed */
        "I cannot fully understand it, help yourself.", /* an adverb, no deed */
        "Hi cannot help",                               /* no whole decliner */
        "I cannothelp",
        "I can\xe2\x80", /* half a character */
        "My cat is unable to swim.",
        "Lock the illegally parked cart.", /* no whole weak phrase */
        "A long and friendly beginning about tea, cake, rain, boats, hats, owls, mice, clocks, "
        "soup, stairs, gloves, lamps, ink, sand, moss, salt, bread, kites, drums, maps, stamps "
        "and bells, and then, far behind the opening, the word illegal.",
        "\xc3\xabi cannot help", /* inside a word beyond ASCII */
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (dinm_refusal_found(texts[i])) {
            fail_msg("found to refuse: %s", texts[i]);
        }
    }
}

/* Every prefix of a text is read without a step beyond its end (valgrind and asan watch). */
static void reads_no_further_than_the_end(void **state)
{
    (void)state;
    static const char text[] =
        "I\xe2\x80\x99m sorry, but I can\xe2\x80\x99t possibly tell \xc2\xa0";
    bool found = false;
    for (size_t n = 0; n <= strlen(text); n++) {
        char *copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        copy[n] = '\0';
        const bool now = dinm_refusal_found(copy);
        assert_true(now || !found || n < 17); /* once the first phrase is whole it stays found */
        found = now;
        free(copy);
    }
    assert_true(found);
}

static void digest_is_of_the_list(void **state)
{
    (void)state;
    assert_int_equal(dinm_refusal_digest(), dinm_refusal_digest());
    assert_int_not_equal(dinm_refusal_digest(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_refusals),
        cmocka_unit_test(leaves_answers_alone),
        cmocka_unit_test(reads_no_further_than_the_end),
        cmocka_unit_test(digest_is_of_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

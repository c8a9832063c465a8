/* Job files and --set words. What is accepted must print as settings that read back as the same;
 * what is refused must say why. The input is a job file, or KEY=VALUE if it has no brace. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "io/json.h"
#include "pipeline/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* print -> parse -> apply -> print must end where it began. */
static void check_round_trip(const struct dinm_settings *s)
{
    struct dinm_settings again = {0};
    struct dinm_buffer first = {0}, second = {0};
    struct dinm_error err = {0};
    uint64_t digest = 0, digest_again = 1;
    cJSON *tree = NULL;
    require(dinm_settings_print(s, true, true, &first, &err) == DINM_OK);
    require(dinm_json_parse("print", first.data, first.n_bytes, &tree, &err) == DINM_OK);
    require(dinm_settings_init(&again, s->profile, &err) == DINM_OK);
    require(dinm_settings_apply_tree(&again, tree, "print", NULL, &err) == DINM_OK);
    first.n_bytes = 0;
    require(dinm_settings_print(s, false, true, &first, &err) == DINM_OK);
    require(dinm_settings_print(&again, false, true, &second, &err) == DINM_OK);
    require(strcmp(first.data, second.data) == 0);
    require(dinm_settings_digest(s, &digest, &err) == DINM_OK);
    require(dinm_settings_digest(&again, &digest_again, &err) == DINM_OK);
    require(digest == digest_again);
    cJSON_Delete(tree);
    dinm_buffer_free(&first);
    dinm_buffer_free(&second);
    dinm_settings_free(&again);
}

static int apply(struct dinm_settings *s, char *text, size_t n_bytes, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    char *equals = strchr(text, '=');
    if (memchr(text, '{', n_bytes) == NULL && equals != NULL) {
        *equals = '\0';
        return dinm_settings_apply_text(s, text, equals + 1, err);
    }
    TRY(dinm_json_parse("job.json", text, n_bytes, &tree, err));
    TRY(dinm_settings_apply_tree(s, tree, "job.json", "/base", err));
out:
    cJSON_Delete(tree);
    return status;
}

/* Settings that were applied to many times are as whole as new ones, and cost less. */
static struct dinm_settings *settings_for(unsigned count)
{
    static struct dinm_settings s;
    struct dinm_error err = {0};
    if (count % 512 == 0) {
        dinm_settings_free(&s);
        s = (struct dinm_settings){0};
        require(dinm_settings_init(&s,
                                   count % 1024 == 0 ? DINM_PROFILE_PAPER : DINM_PROFILE_EASYEDIT,
                                   &err) == DINM_OK);
    }
    return &s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static unsigned count;
    struct dinm_settings *s = settings_for(count++);
    struct dinm_error err = {0};
    char *text = dinm_copy_text((const char *)data, n_bytes, NULL);
    require(text != NULL);
    if (apply(s, text, n_bytes, &err) == DINM_OK) {
        require(err.text[0] == '\0');
        if (dinm_settings_check(s, &err) < 0) {
            require(err.text[0] != '\0');
        }
    } else {
        require(err.text[0] != '\0');
    }
    /* Also after a refusal half way the settings are whole; the check is slow. */
    if (count % 128 == 0) {
        check_round_trip(s);
    }
    free(text);
    return 0;
}

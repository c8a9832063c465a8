/* Words of the command line to options and operands. */
#include "pipeline/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "pipeline/args_table.h"
#include "pipeline/journal.h"
#include "pipeline/nearest.h"

static bool belongs(const struct dinm_option *option, enum dinm_command command)
{
    return (option->commands >> command & 1u) != 0;
}

/* The option of that name (its first n characters) for the command; NULL if there is none. */
static const struct dinm_option *find_option(enum dinm_command command, const char *name, size_t n)
{
    for (size_t i = 0; i < dinm_n_options; i++) {
        const struct dinm_option *option = &dinm_options[i];
        if (belongs(option, command) && strncmp(option->name, name, n) == 0 &&
            option->name[n] == '\0') {
            return option;
        }
    }
    return NULL;
}

static int unknown_option(enum dinm_command command, const char *word, size_t n,
                          struct dinm_error *err)
{
    char *name = dinm_copy_text(word, n, err);
    if (name == NULL) {
        return DINM_FAILED;
    }
    struct dinm_nearest nearest = {.word = name};
    for (size_t i = 0; i < dinm_n_options; i++) {
        if (belongs(&dinm_options[i], command)) {
            dinm_nearest_consider(&nearest, dinm_options[i].name);
        }
    }
    const char *who = dinm_command_rows[command].name;
    dinm_fail(err, DINM_USAGE, "%s%sthere is no option \"%s\"; the nearest is \"%s\"", who,
              who[0] != '\0' ? ": " : "", name, nearest.best);
    free(name);
    return DINM_USAGE;
}

/* Reads the option at argv[*at] and, if it needs one, its value; leaves *at on the last word. */
static int parse_option(struct dinm_args *args, int argc, char *const *argv, int *at,
                        struct dinm_error *err)
{
    const char *word = argv[*at];
    size_t n = strcspn(word, "=");
    const char *value = word[n] == '=' ? word + n + 1 : NULL;
    const struct dinm_option *option = find_option(args->command, word, n);
    if (strcmp(word, "-h") == 0) {
        option = find_option(args->command, "--help", strlen("--help"));
    }
    if (option == NULL) {
        return unknown_option(args->command, word, n, err);
    }
    bool takes_value = option->value != NULL || strcmp(option->name, "--help") == 0;
    if (value != NULL && !takes_value) {
        return dinm_fail(err, DINM_USAGE, "%s takes no value, found \"%s\"", option->name, value);
    }
    if (option->value != NULL && value == NULL) {
        if (*at + 1 >= argc) {
            return dinm_fail(err, DINM_USAGE, "%s needs a value: %s %s", option->name, option->name,
                             option->value);
        }
        value = argv[++*at];
    }
    args->given[args->n_given++] = (struct dinm_given){option, value};
    return DINM_OK;
}

static int check_operands(const struct dinm_args *args, struct dinm_error *err)
{
    const struct dinm_command_row *row = &dinm_command_rows[args->command];
    if (args->n_operands < row->least) {
        return dinm_fail(err, DINM_USAGE, "%s needs %s", row->name, row->operands);
    }
    if (args->n_operands > row->most && row->most == 0) {
        return dinm_fail(err, DINM_USAGE, "%s takes options only, found \"%s\"", row->name,
                         args->operands[0]);
    }
    if (args->n_operands > row->most) {
        return dinm_fail(err, DINM_USAGE, "expected %s, found \"%s\" too",
                         row->name[0] == '\0' ? "one job file" : row->operands,
                         args->operands[row->most]);
    }
    return DINM_OK;
}

static bool asks_for_words(const struct dinm_args *args)
{
    return dinm_args_has(args, "--help") || dinm_args_has(args, "--version");
}

int dinm_args_parse(struct dinm_args *args, int argc, char *const *argv, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = argc > 0 ? (size_t)argc : 0;
    bool options_end = false;
    *args = (struct dinm_args){.command = DINM_COMMAND_RUN};
    args->operands = dinm_alloc(n, sizeof *args->operands, "the command line", err);
    args->given = dinm_alloc(n, sizeof *args->given, "the command line", err);
    TRY(args->operands != NULL && args->given != NULL ? DINM_OK : DINM_FAILED);
    int at = 1;
    if (argc > 1) {
        args->command = dinm_command_find(argv[1]);
        at += args->command != DINM_COMMAND_RUN;
    }
    for (; at < argc && !asks_for_words(args); at++) {
        const char *word = argv[at];
        if (options_end || word[0] != '-' || word[1] == '\0') {
            args->operands[args->n_operands++] = word;
        } else if (strcmp(word, "--") == 0) {
            options_end = true;
        } else {
            TRY(parse_option(args, argc, argv, &at, err));
        }
    }
    if (!asks_for_words(args)) {
        TRY(check_operands(args, err));
    }
out:
    if (status < 0) {
        dinm_args_free(args);
    }
    return status;
}

void dinm_args_free(struct dinm_args *args)
{
    free(args->operands);
    free(args->given);
    *args = (struct dinm_args){0};
}

static const struct dinm_given *last_given(const struct dinm_args *args, const char *name)
{
    for (size_t i = args->n_given; i > 0; i--) {
        if (strcmp(args->given[i - 1].option->name, name) == 0) {
            return &args->given[i - 1];
        }
    }
    return NULL;
}

bool dinm_args_has(const struct dinm_args *args, const char *name)
{
    return last_given(args, name) != NULL;
}

const char *dinm_args_value(const struct dinm_args *args, const char *name)
{
    const struct dinm_given *given = last_given(args, name);
    return given != NULL ? given->value : NULL;
}

int dinm_args_need(const struct dinm_args *args, const char *name, const char **value,
                   struct dinm_error *err)
{
    const struct dinm_option *option = find_option(args->command, name, strlen(name));
    const char *found = dinm_args_value(args, name);
    if (found == NULL) {
        return dinm_fail(err, DINM_USAGE, "%s needs %s %s", dinm_command_rows[args->command].name,
                         name, option->value);
    }
    *value = found;
    return DINM_OK;
}

int dinm_args_int(const struct dinm_args *args, const char *name, int64_t low, int64_t high,
                  int64_t *out, struct dinm_error *err)
{
    const char *text = dinm_args_value(args, name);
    if (text == NULL) {
        return DINM_OK;
    }
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool digits = text[strspn(text, "0123456789-")] == '\0' && end != text && *end == '\0';
    if ((!digits || errno != 0) && low == INT64_MIN && high == INT64_MAX) {
        return dinm_fail(err, DINM_USAGE, "%s: expected a whole number, found \"%s\"", name, text);
    }
    if (!digits || errno != 0 || value < low || value > high) {
        return dinm_fail(err, DINM_USAGE,
                         "%s: expected a whole number from %lld to %lld, found "
                         "\"%s\"",
                         name, (long long)low, (long long)high, text);
    }
    *out = value;
    return DINM_OK;
}

/* Adds the phases of a list "locate,edit" to *phases. */
static int parse_phases(const char *list, unsigned *phases, struct dinm_error *err)
{
    while (true) {
        size_t n = strcspn(list, ",");
        int phase = 0;
        while (phase < DINM_N_PHASES && (strlen(dinm_phase_names[phase]) != n ||
                                         strncmp(dinm_phase_names[phase], list, n) != 0)) {
            phase++;
        }
        if (phase == DINM_N_PHASES) {
            return dinm_fail(err, DINM_USAGE,
                             "--phases: expected a list of locate, vanilla, edit, judge, report "
                             "like locate,edit, found \"%.*s\"",
                             n < 100 ? (int)n : 100, list);
        }
        *phases |= 1u << phase;
        if (list[n] == '\0') {
            return DINM_OK;
        }
        list += n + 1;
    }
}

int dinm_args_run_options(const struct dinm_args *args, struct dinm_run_options *options,
                          struct dinm_error *err)
{
    const char *list = dinm_args_value(args, "--phases");
    unsigned phases = 0;
    if (list == NULL) {
        phases = (1u << DINM_N_PHASES) - 1;
    } else if (parse_phases(list, &phases, err) < 0) {
        return DINM_USAGE;
    }
    *options = (struct dinm_run_options){
        .phases = phases,
        .fresh = dinm_args_has(args, "--fresh"),
        .dry_run = dinm_args_has(args, "--dry-run"),
        .quiet = dinm_args_has(args, "--quiet"),
    };
    return DINM_OK;
}

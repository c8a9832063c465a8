/* What --help and --version print. */
#include "pipeline/args.h"

#include <string.h>
#include "pipeline/args_table.h"

/* Width of the column of names. */
enum { NAME_COLUMNS = 22 };

static int put_options(enum dinm_command command, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, "\nOptions:\n", err));
    for (size_t i = 0; i < dinm_n_options; i++) {
        const struct dinm_option *option = &dinm_options[i];
        if ((option->commands >> command & 1u) == 0) {
            continue;
        }
        size_t start = out->n_bytes;
        TRY(dinm_buffer_append_format(out, err, "  %s%s%s", option->name,
                                      option->value != NULL ? " " : "",
                                      option->value != NULL ? option->value : ""));
        size_t n = out->n_bytes - start;
        int pad = n < NAME_COLUMNS ? (int)(NAME_COLUMNS - n) : 0;
        TRY(dinm_buffer_append_format(out, err, "%*s %s\n", pad, "", option->meaning));
    }
out:
    return status;
}

static int put_run_help(struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(
        out,
        "dinm_pipeline edits the toxic layer of a language model case by case (DINM, arXiv\n"
        "2403.14472) and measures what that does on the SafeEdit benchmark.\n"
        "\n"
        "Usage: [mpirun -n RANKS] dinm_pipeline [JOB.json] [OPTION]...\n"
        "       dinm_pipeline COMMAND [OPERAND]... [OPTION]...\n"
        "\n"
        "Without a job file, --model and --cases it runs a small demo of its own.\n",
        err));
    TRY(put_options(DINM_COMMAND_RUN, out, err));
    TRY(dinm_buffer_append_text(out, "\nCommands (dinm_pipeline COMMAND --help says more):\n",
                                err));
    for (int c = DINM_COMMAND_RUN + 1; c < DINM_N_COMMANDS; c++) {
        TRY(dinm_buffer_append_format(out, err, "  %-*s %s\n", NAME_COLUMNS - 2,
                                      dinm_command_rows[c].name, dinm_command_rows[c].summary));
    }
    TRY(dinm_buffer_append_text(
        out,
        "\n"
        "Options override the job file, the job file overrides the profile. Running the same\n"
        "command again goes on where it stopped, on any number of ranks.\n"
        "\n"
        "Exit status: 0 done; 1 failed; 2 wrong usage; 75 stopped on purpose (by --max-time or a\n"
        "signal), run again to go on.\n",
        err));
out:
    return status;
}

static int put_command_help(enum dinm_command command, struct dinm_buffer *out,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_command_row *row = &dinm_command_rows[command];
    TRY(dinm_buffer_append_format(out, err, "Usage: dinm_pipeline %s%s%s [OPTION]...\n\n",
                                  row->name, row->operands[0] != '\0' ? " " : "", row->operands));
    TRY(dinm_buffer_append_text(out, row->details, err));
    TRY(put_options(command, out, err));
out:
    return status;
}

int dinm_args_help(const struct dinm_args *args, struct dinm_buffer *out, struct dinm_error *err)
{
    const char *topic = dinm_args_value(args, "--help");
    if (topic != NULL && strcmp(topic, "settings") == 0) {
        return dinm_settings_describe(out, err);
    }
    if (topic != NULL) {
        return dinm_fail(err, DINM_USAGE, "--help: expected settings or nothing, found \"%s\"",
                         topic);
    }
    if (args->command == DINM_COMMAND_RUN) {
        return put_run_help(out, err);
    }
    return put_command_help(args->command, out, err);
}

int dinm_args_version(struct dinm_buffer *out, struct dinm_error *err)
{
    return dinm_buffer_append_text(out, "dinm_pipeline " DINM_VERSION "\n", err);
}

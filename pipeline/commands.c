/* Which function does what command. */
#include "pipeline/commands.h"

#include "pipeline/grid.h"
#include "pipeline/rehearse.h"
#include "pipeline/run.h"
#include "pipeline/sweep.h"
#include "pipeline/train.h"

static int report(const struct dinm_args *args, struct dinm_error *err)
{
    return dinm_report_rebuild(args->operands[0], err);
}

dinm_command_function *dinm_command_local(enum dinm_command command)
{
    switch (command) {
    case DINM_COMMAND_GENERATE:
        return dinm_command_generate;
    case DINM_COMMAND_TOKENIZE:
        return dinm_command_tokenize;
    case DINM_COMMAND_LOGITS:
        return dinm_command_logits;
    case DINM_COMMAND_INSPECT:
        return dinm_command_inspect;
    case DINM_COMMAND_COMPARE:
        return dinm_command_compare;
    case DINM_COMMAND_EXPORT:
        return dinm_command_export;
    case DINM_COMMAND_REPORT:
        return report;
    case DINM_COMMAND_RUN:
    case DINM_COMMAND_TRAIN:
    case DINM_N_COMMANDS:
        break;
    }
    return NULL;
}

/* The settings are each rank's own reading of the same files: all must have understood them before
 * anybody starts. */
static int run_all(const struct dinm_args *args, MPI_Comm comm, struct dinm_error *err)
{
    struct dinm_sweep sweep = {0};
    struct dinm_run_options options = {0};
    struct dinm_rehearsal rehearsal = {0};
    struct dinm_grid grid = {0};
    int status = DINM_OK;
    TRY(dinm_grid_open_all(&grid, comm, 0, err));
    status = dinm_args_run_options(args, &options, err);
    status = status < 0 ? status : dinm_sweep_open(&sweep, args, err);
    status = status < 0 ? status
                        : dinm_faults_end(&sweep.faults, "parts of the sweep", grid.rank == 0, err);
    TRY(dinm_agree_all(&grid, status, err));
    if (sweep.n_keys > 0) {
        TRY(dinm_sweep_run_all(comm, &sweep, &options, err));
    } else if (options.dry_run) {
        TRY(dinm_rehearse_all(comm, &sweep.runs[0], &rehearsal, err));
    } else {
        TRY(dinm_run_all(comm, &sweep.runs[0], &options, NULL, err));
    }
out:
    dinm_grid_close_all(&grid);
    dinm_sweep_close(&sweep);
    return status;
}

int dinm_command_all(const struct dinm_args *args, MPI_Comm comm, struct dinm_error *err)
{
    if (args->command == DINM_COMMAND_TRAIN) {
        return dinm_train_all(comm, args->operands[0], err);
    }
    return run_all(args, comm, err);
}

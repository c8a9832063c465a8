/* Every command and every option, one row each. */
#include "pipeline/args_table.h"

#include <string.h>

#define BIT(name) (1u << DINM_COMMAND_##name)
#define EVERY ((1u << DINM_N_COMMANDS) - 1)
#define READS_MODEL (BIT(GENERATE) | BIT(LOGITS))

const struct dinm_option dinm_options[] = {
    {"--model", "DIR", "model.path", BIT(RUN), "the language model's folder"},
    {"--judge", "DIR", "judge.path", BIT(RUN),
     "the safety classifier's folder; or refusal: by phrases"},
    {"--cases", "FILE", "cases.path", BIT(RUN), "the SafeEdit case file"},
    {"--out", "DIR", "run.out", BIT(RUN), "the output folder (out)"},
    {"--profile", "NAME", "profile", BIT(RUN), "paper or easyedit: a column of defaults (paper)"},
    {"--set", "KEY=VALUE", NULL, BIT(RUN), "any setting, as often as needed: --set edit.lr=1e-4"},
    {"--limit", "N", "cases.limit", BIT(RUN), "the first N cases only"},
    {"--case-ids", "LIST", "cases.ids", BIT(RUN), "these cases only: 3,7-9"},
    {"--phases", "LIST", NULL, BIT(RUN),
     "these phases only, of locate,vanilla,edit,judge,report (all)"},
    {"--stages", "N", "run.stages", BIT(RUN),
     "ranks that share the layers of one model (0: chosen)"},
    {"--batch", "N", "run.batch", BIT(RUN), "cases answered together at most (8)"},
    {"--threads", "N", "run.threads", BIT(RUN), "threads of each rank (its share of the cores)"},
    {"--max-time", "SECONDS", "run.max_time_s", BIT(RUN), "stop cleanly after so long; see below"},
    {"--fresh", NULL, NULL, BIT(RUN), "start over instead of going on"},
    {"--dry-run", NULL, NULL, BIT(RUN), "check everything, say what would be done, do nothing"},
    {"--quiet", NULL, NULL, BIT(RUN), "no progress lines"},

    {"--model", "DIR", NULL, READS_MODEL, "the language model's folder (needed)"},
    {"--model", "DIR", NULL, BIT(TOKENIZE), "a folder with a tokenizer.json (needed)"},
    {"--prompt", "TEXT", NULL, READS_MODEL, "the prompt, sent as it is"},
    {"--prompt-ids", "LIST", NULL, READS_MODEL, "the prompt as token ids: 1,2,3"},
    {"--control", NULL, NULL, READS_MODEL | BIT(TOKENIZE),
     "special tokens spelled in the text are special"},
    {"--no-special", NULL, NULL, READS_MODEL | BIT(TOKENIZE),
     "without the special tokens that the tokenizer adds (BOS)"},
    {"--delta", "FILE", NULL, READS_MODEL, "with this edit in place: a file as in OUT/edits"},
    {"--compute", "NAME", NULL, READS_MODEL, "products in f32 or bf16, as model.compute (f32)"},
    {"--max-new", "N", NULL, BIT(GENERATE), "at most N new tokens (128)"},
    {"--json", NULL, NULL, BIT(GENERATE), "print {\"ids\": [...], \"text\": ...}"},
    {"--out", "FILE", NULL, BIT(LOGITS), "the HDF5 file to write (needed)"},
    {"--ids", NULL, NULL, BIT(TOKENIZE), "print ids; the default, and the only form so far"},
    {"--split", "SEP", NULL, BIT(TOKENIZE),
     "SEP stands between inputs; \\n, \\t, \\0 and \\\\ are understood"},
    {"--case", "N", NULL, BIT(EXPORT), "the case's id (needed)"},
    {"--to", "DIR", NULL, BIT(EXPORT), "the folder to make (needed)"},

    {"--help", NULL, NULL, BIT(RUN), "this text; --help=settings: every setting of a job file"},
    {"--help", NULL, NULL, EVERY & ~BIT(RUN), "this text"},
    {"--version", NULL, NULL, EVERY, "the version"},
};
const size_t dinm_n_options = sizeof dinm_options / sizeof dinm_options[0];

const struct dinm_command_row dinm_command_rows[DINM_N_COMMANDS] = {
    [DINM_COMMAND_RUN] = {"", "[JOB.json]", 0, 1, "", ""},
    [DINM_COMMAND_TRAIN] = {"train", "JOB.json", 1, 1, "train a model or a judge",
                            "The job file says what is trained, on what, and how long.\n"},
    [DINM_COMMAND_GENERATE] =
        {"generate", "", 0, 0, "answer one prompt",
         "Greedy decoding up to the end-of-text token. Prints the new text; without a\n"
         "tokenizer.json in the model's folder it takes and prints token ids.\n"},
    [DINM_COMMAND_TOKENIZE] =
        {"tokenize", "", 0, 0, "text on standard input to token ids",
         "Standard input, byte for byte, is one input; with --split it is several. Prints one "
         "line\n"
         "of ids for each, with the special tokens that the tokenizer adds.\n"},
    [DINM_COMMAND_LOGITS] = {"logits", "", 0, 0, "logits and hidden states of one prompt",
                             "Writes the datasets logits [n_tokens][n_vocab], hidden_states\n"
                             "[n_layers + 1][n_tokens][d_model] (embeddings first; the last after "
                             "the final norm), both\n"
                             "float32, and ids [n_tokens].\n"},
    [DINM_COMMAND_INSPECT] = {"inspect", "PATH", 1, 1, "a folder or file in words",
                              "PATH is a model's folder, a job's output folder, activations.h5 or\n"
                              "a safetensors file.\n"},
    [DINM_COMMAND_REPORT] =
        {"report", "OUT", 1, 1, "the result files of a job again",
         "Makes cases.jsonl, results.* and report.html of a finished or running job again from\n"
         "its journal.\n"},
    [DINM_COMMAND_COMPARE] =
        {"compare", "OUT_A OUT_B", 2, 2, "paired differences between two jobs",
         "Pairs the cases of two output folders by id and prints for the edited models of each "
         "the\n"
         "means, their difference B - A and its 95 % bootstrap interval over the cases.\n"},
    [DINM_COMMAND_EXPORT] =
        {"export", "OUT", 1, 1, "an edited model that other tools load",
         "Copies the files of the job's model into a new folder, with the matrix that was edited\n"
         "for one case in place. The job must have run with edit.save.\n"},
};

enum dinm_command dinm_command_find(const char *name)
{
    for (int c = DINM_COMMAND_RUN + 1; c < DINM_N_COMMANDS; c++) {
        if (strcmp(dinm_command_rows[c].name, name) == 0) {
            return (enum dinm_command)c;
        }
    }
    return DINM_COMMAND_RUN;
}

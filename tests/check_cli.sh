#!/bin/sh
# The built program's usage: exit status, one sentence on stderr, nothing on stdout when it fails;
# help and version with and without mpirun.
# Usage: tests/check_cli.sh PROGRAM MPIEXEC
set -u
program=$1
mpiexec=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0
unset DINM_DATA

complain() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# run STATUS COMMAND...: runs it and checks the exit status; output in $folder/out and $folder/err.
run() {
    wanted=$1
    shift
    "$@" >"$folder/out" 2>"$folder/err" </dev/null
    found=$?
    if [ "$found" -ne "$wanted" ]; then
        complain "$*: exit status $wanted expected, found $found: $(cat "$folder/err")"
    fi
}

# refuses STATUS PART ARGUMENTS...: one sentence with PART in it, and no output.
refuses() {
    wanted=$1
    part=$2
    shift 2
    run "$wanted" "$program" "$@"
    if [ "$(wc -l <"$folder/err")" -ne 1 ] || ! grep -q "^dinm_pipeline: " "$folder/err"; then
        complain "$*: one sentence expected, found: $(cat "$folder/err")"
    fi
    grep -qF -- "$part" "$folder/err" ||
        complain "$*: a sentence with \"$part\" expected, found: $(cat "$folder/err")"
    [ ! -s "$folder/out" ] || complain "$*: no output expected, found: $(cat "$folder/out")"
}

# prints LINES PATTERN COMMAND...: succeeds with so many lines, one of which matches.
prints() {
    lines=$1
    pattern=$2
    shift 2
    run 0 "$@"
    [ "$(grep -c -- "$pattern" "$folder/out")" -eq "$lines" ] ||
        complain "$*: $lines lines like $pattern expected, found: $(cat "$folder/out")"
    [ ! -s "$folder/err" ] || complain "$*: nothing on stderr expected: $(cat "$folder/err")"
}

prints 1 '^dinm_pipeline [0-9]' "$program" --version
prints 1 '^Usage: ' "$program" --help
prints 1 '^Usage: ' "$program" -h
prints 1 '^edit.norm_constraint$' "$program" --help=settings
for command in train generate tokenize logits inspect report compare export; do
    prints 1 "^Usage: dinm_pipeline $command" "$program" "$command" --help
    prints 1 "^  $command " "$program" --help
done
# Only rank 0 speaks, however many ranks there are.
prints 1 '^dinm_pipeline [0-9]' "$mpiexec" --quiet -n 3 "$program" --version
prints 1 '^Usage: ' "$mpiexec" --quiet -n 3 "$program" --help

refuses 2 'the nearest is "--stages"' --stages2 3
refuses 2 'the nearest is "--max-new"' generate --maxnew 3
refuses 2 'there is no setting "edit.rl"; the nearest is "edit.lr"' --set edit.rl=1
refuses 2 'edit.lr: expected a number from 0 to 1000, found "fast"' --set edit.lr=fast
refuses 2 'is not built yet' --set edit.method=mend
refuses 2 'expected KEY=VALUE' --set edit.lr
refuses 2 'profile: expected one of paper, easyedit' --profile papers
refuses 2 '--phases: expected a list' --model m --judge j --cases c --phases loctae
refuses 2 'no safety classifier is given' --model m --cases c
refuses 2 'the nearest command is "tokenize"' tokenise
refuses 2 '--help: expected settings' --help=me
refuses 2 'needs a value' --model
refuses 2 'train needs JOB.json' train
refuses 2 'compare needs OUT_A OUT_B' compare "$folder"
refuses 2 'generate needs --model DIR' generate --prompt x
refuses 2 'logits needs --out FILE' logits --model x --prompt-ids 1
refuses 2 'export needs --case N' export "$folder" --to "$folder/to"
refuses 2 'tokenize needs --model DIR' tokenize
refuses 1 'nothing.json' "$folder/nothing.json"
refuses 1 'nothing' inspect "$folder/nothing"
refuses 1 'it has no config.json' inspect "$folder"
refuses 1 'nothing/config.json' generate --model "$folder/nothing" --prompt x
refuses 1 'no job has finished there' compare "$folder" "$folder"
refuses 1 'nothing' report "$folder/nothing"

echo '{"edit": {"leraning": 1}}' >"$folder/job.json"
refuses 2 'job.json: there is no setting "edit.leraning"' "$folder/job.json"
echo '{"edit": {"lr": 1},}' >"$folder/job.json"
refuses 1 'job.json' "$folder/job.json"

# One sentence and its exit status, whichever rank is first to go.
for i in 1 2 3; do
    for line in "2 --nonsense" "2 --set edit.lr=x" "1 $folder/nothing.json"; do
        # shellcheck disable=SC2086 # the words of the line are the arguments
        set -- $line
        wanted=$1
        shift
        run "$wanted" "$mpiexec" --quiet -n 3 "$program" "$@"
        [ "$(grep -c '^dinm_pipeline: ' "$folder/err")" -eq 1 ] ||
            complain "3 ranks, $*: one sentence expected, found: $(cat "$folder/err")"
    done
done

# Output that cannot be written is a failure.
"$program" --version >/dev/full 2>"$folder/err"
[ $? -eq 1 ] || complain "a full disk must be noticed"

[ "$failures" -eq 0 ] || exit 1
echo "the command line is as it should be"

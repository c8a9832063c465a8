#!/bin/sh
# model.compute=bf16 on a small random model, every way that this machine and build can go: the same
# bytes for 1, 2 and 3 ranks, 1, 2 and 3 threads, one stage and several, large batches and small.
# Usage: check_compute.sh BUILD_FOLDER     exit status 77: skipped, no products in bf16 here
set -eu
program=$1/dinm_pipeline
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() { echo "FAILED: $*"; failed=1; }

# The matrices are small: none is worth more than one thread, unless there are many rows.
python3 "$here/random_model.py" "$here/../jobs/demo/model" "$work/model" BF16 || fail "no random model"
run() { # way, name, ranks, more
    way=$1 name=$2 ranks=$3
    shift 3
    DINM_BF16=$way mpirun --quiet -n "$ranks" "$program" "$here/../jobs/demo/job.json" --quiet \
        --limit 3 --model "$work/model" --out "$work/$name" --set edit.save=true \
        --set generate.max_new_tokens=12 --set evaluate.kqa_on=none "$@" >"$work/log" 2>&1
}

run amx f32 1 || { cat "$work/log"; fail "products in float32"; }
ways=""
for way in amx onednn; do
    if ! run $way $way 1 --threads 1 --set model.compute=bf16; then
        # Nothing but the missing way may be the reason.
        grep -q "DINM_BF16 is \"$way\"; expected amx or onednn" "$work/log" ||
            { cat "$work/log"; fail "$way"; }
        echo "skipped: $way cannot be gone here"
        continue
    fi
    ways="$ways $way"
    grep -q '"compute": "bf16"' "$work/$way/results.json" || fail "$way: results.json says nothing of bf16"
    grep -q '"bf16"' "$work/$way/job.json" || fail "$way: job.json says nothing of bf16"
    cmp -s "$work/f32/cases.jsonl" "$work/$way/cases.jsonl" && fail "$way: bf16 changed nothing"
    for form in "2 1 2 4" "3 1 1 1" "2 2 1 2" "4 2 2 1" "3 3 3 8" "1 1 3 1"; do
        set -- $form
        name="$way-$1-$2"
        run $way "$name" "$1" --stages "$2" --threads "$3" --batch "$4" --set model.compute=bf16 ||
            { cat "$work/log"; fail "$name"; }
        cmp "$work/$way/cases.jsonl" "$work/$name/cases.jsonl" || fail "$name: cases.jsonl differs"
        for delta in "$work/$way/edits"/*; do
            cmp "$delta" "$work/$name/edits/${delta##*/}" || fail "$name: an edit differs"
        done
        [ "$(ls "$work/$name/edits" | wc -l)" -eq 3 ] || fail "$name: not three edits are saved"
    done
    # Nothing is mixed: the output of one kind of products is not another's to go on with.
    run $way f32 1 --set model.compute=bf16 && fail "$way: goes on with results in float32"
    grep -q 'model.compute ("f32" there, "bf16" here)' "$work/log" ||
        { cat "$work/log"; fail "$way: another sentence was expected"; }
done
if [ "$ways" = " amx onednn" ]; then
    run onednn amx 1 --set model.compute=bf16 && fail "one way goes on with the other's results"
    one="$program $here/../jobs/demo/job.json --quiet --limit 1 --model $work/model --out $work/mixed
        --set model.compute=bf16"
    mpirun --quiet -n 1 env DINM_BF16=amx $one : -n 1 env DINM_BF16=onednn $one >"$work/log" 2>&1 &&
        fail "ranks go different ways"
    grep -q "rank 1's processor computes by onednn and rank 0's by amx" "$work/log" ||
        { cat "$work/log"; fail "different ways: another sentence was expected"; }
fi
if [ -z "$ways" ]; then
    DINM_BF16='' ; unset DINM_BF16
    "$program" "$here/../jobs/demo/job.json" --model "$work/model" --out "$work/none" --quiet \
        --set model.compute=bf16 >"$work/log" 2>&1 && fail "bf16 is not refused"
    grep -q "model.compute is bf16, which needs" "$work/log" || { cat "$work/log"; fail "no reason"; }
fi

[ "$failed" -eq 0 ] || exit 1
[ -n "$ways" ] || { echo "SKIPPED: no products in bf16 here: $(cat "$work/log")"; exit 77; }
echo "all the same bytes:$ways"

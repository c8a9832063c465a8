#!/bin/sh
# A small random model cut into stages: every number of stages that divides up to 8 ranks gives the
# bytes of one rank. Usage: check_stages.sh BUILD_FOLDER
set -eu
program=$1/dinm_pipeline
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
export OMP_NUM_THREADS=2

fail() { echo "FAILED: $*"; failed=1; }

# A random model, whose answers and losses are as good as any: all cuts of up to 8 ranks, each into
# groups as well, one thread or two; the saved differences of the edited matrices too.
python3 "$here/random_model.py" "$here/../jobs/demo/model" "$work/model" || fail "no random model"
random() {
    name=$1 ranks=$2
    shift 2
    mpirun --quiet -n "$ranks" "$program" "$here/../jobs/demo/job.json" --quiet --limit 2 \
        --model "$work/model" --out "$work/$name" --set archive.hidden=last --set edit.save=true \
        --set generate.max_new_tokens=12 --set evaluate.kqa_on=none "$@" >"$work/log" 2>&1
}
random random 1 --threads 1 || { cat "$work/log"; fail "a random model"; }
for ranks in 1 2 3 4 5 6 8; do
    for stages in 1 2 3 4 5 6; do
        [ $((ranks % stages)) -eq 0 ] || continue
        name="random-$ranks-$stages" threads=$(((ranks + stages) % 2 + 1))
        random "$name" "$ranks" --stages "$stages" --threads "$threads" --batch 2 ||
            { cat "$work/log"; fail "a random model on $ranks ranks, $stages stages"; }
        cmp "$work/random/cases.jsonl" "$work/$name/cases.jsonl" || fail "$name: cases.jsonl differs"
        for delta in "$work/random/edits"/*; do
            cmp "$delta" "$work/$name/edits/${delta##*/}" || fail "$name: an edit differs"
        done
        [ "$(ls "$work/$name/edits" | wc -l)" -eq 2 ] || fail "$name: not two edits are saved"
    done
done

[ "$failed" -eq 0 ] && echo "all the same bytes"
exit "$failed"

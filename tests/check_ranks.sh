#!/bin/sh
# The demo's first cases on different numbers of ranks, stages, threads and batches, killed and
# resumed, and with the archive lost: always the same bytes.
# Usage: check_ranks.sh BUILD_FOLDER
set -eu
program=$1/dinm_pipeline
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
export OMP_NUM_THREADS=2

fail() { echo "FAILED: $*"; failed=1; }

# run NAME RANKS OPTION...: runs into $work/NAME
run() {
    name=$1 ranks=$2
    shift 2
    mpirun --quiet -n "$ranks" "$program" --quiet --limit 4 --out "$work/$name" \
        --set archive.hidden=full --set evaluate.kqa_on=first "$@" >"$work/log" 2>&1
}

# same NAME: its files equal those of one rank
same() {
    for file in cases.jsonl results.json results.md results.csv report.html; do
        cmp "$work/1/$file" "$work/$1/$file" || fail "$1: $file differs"
    done
    if command -v h5diff >/dev/null 2>&1; then
        h5diff "$work/1/activations.h5" "$work/$1/activations.h5" || fail "$1: archive differs"
    else
        echo "the archives are not compared: h5diff is missing (Debian: hdf5-tools)"
    fi
}

run 1 1 --threads 1 || { cat "$work/log"; fail "one rank"; }
grep -q '"DS"' "$work/1/results.json" || fail "one rank leaves no table"

for ranks in 2 3 5; do
    run "$ranks" "$ranks" --threads 1 || { cat "$work/log"; fail "$ranks ranks"; }
    same "$ranks"
done
# Layers over ranks: ranks and stages.
for cut in "2 2" "4 2" "6 3" "6 6" "8 4"; do
    set -- $cut
    run "$1x$2" "$1" --stages "$2" --threads 1 || { cat "$work/log"; fail "$1 ranks, $2 stages"; }
    same "$1x$2"
done
run staged 2 --stages 2 --threads 2 --batch 3 || fail "two stages, two threads"
same staged
run threads 2 --threads 2 --batch 3 || fail "two threads"
same threads
run plain 4 --stages 2 --set run.share_prefixes=false || fail "every prompt by itself"
same plain
grep -q '"prompt_tokens": {"read": [1-9][0-9]*, "shared": 0, "late": 0}' "$work/plain/timing.json" ||
    fail "prompts share what they should not"
for name in 1 staged; do
    grep -q '"prompt_tokens": {"read": [0-9]*, "shared": [1-9]' "$work/$name/timing.json" ||
        fail "$name: no beginnings are shared"
done
for name in 1 2x2 6x6; do
    grep -q '"prompt_tokens": {.*"late": [1-9]' "$work/$name/timing.json" ||
        fail "$name: no rows enter late"
done
run single 1 --threads 2 --batch 1 || fail "batches of one"
same single

# Stopped in the middle by the clock, again and again, sooner than any machine is through and a little
# later every time, on changing numbers of ranks and stages.
tries=0 ranks=1 limit_ms=40
until run stopped "$ranks" --max-time "$((limit_ms / 1000)).$(printf %03d $((limit_ms % 1000)))" \
    --stages $((tries % 2 == 0 ? ranks : 1)); do
    status=$?
    [ "$status" -eq 75 ] || { cat "$work/log"; fail "stopping ends with $status, not 75"; break; }
    tries=$((tries + 1)) ranks=$((ranks % 4 + 1)) limit_ms=$((limit_ms * 5 / 4))
    [ "$tries" -lt 200 ] || { fail "a stopped run never ends"; break; }
done
[ "$tries" -gt 0 ] || fail "nothing was ever stopped"
echo "stopped and resumed $tries times"
same stopped

# Killed without warning, resumed by another number of ranks.
for pause in 0.2 0.5 0.9; do
    mpirun --quiet -n 3 "$program" --quiet --limit 4 --out "$work/killed" \
        --set archive.hidden=full --set evaluate.kqa_on=first >"$work/log" 2>&1 &
    sleep "$pause"
    kill -9 $! 2>/dev/null || true
    wait $! 2>/dev/null || true
    sleep 1.5 # the launcher's ranks end within a second
done
run killed 2 || { cat "$work/log"; fail "resuming a killed run"; }
same killed

# The archive lost: made again, the same.
cp -r "$work/1" "$work/lost"
rm "$work/lost/activations.h5"
run lost 3 || { cat "$work/log"; fail "making the archive again"; }
same lost

# The report alone.
cp "$work/1/results.md" "$work/results.md"
rm "$work/1/results.md"
"$program" report "$work/1" >"$work/log" 2>&1 || { cat "$work/log"; fail "report"; }
cmp "$work/1/results.md" "$work/results.md" || fail "report writes another table"

[ "$failed" -eq 0 ] && echo "all the same bytes"
exit "$failed"

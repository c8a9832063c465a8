#!/bin/sh
# jobs/pbs.sh with stand-ins for PBS: `qstat` tells a walltime, `qsub` notes what is submitted, and the
# test runs the script as PBS would. It stops before its limit, or when all its processes are
# signalled; submits itself again, and goes on to the bytes of an undisturbed run. Both job scripts
# are also read by shellcheck. Usage: check_pbs.sh BUILD_FOLDER
set -eu
program=$(cd "$1" && pwd)/dinm_pipeline
jobs=$(cd "$(dirname "$0")/../jobs" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1
failed=0

fail() { echo "FAILED: $*"; failed=1; }

for script in slurm pbs; do
    bash -n "$jobs/$script.sh" || fail "$script.sh"
    if command -v shellcheck >/dev/null 2>&1; then
        shellcheck "$jobs/$script.sh" || fail "$script.sh"
    else
        echo "the scripts are not read by shellcheck: it is missing (Debian: shellcheck)"
    fi
done

mkdir "$work/bin"
cat >"$work/bin/qstat" <<EOF
#!/bin/sh
[ "\$1 \$2" = "-f \$PBS_JOBID" ] || exit 1
echo "Job Id: \$2"
echo "    resources_used.walltime = 00:00:01"
cat "$work/walltime"
EOF
cat >"$work/bin/qsub" <<EOF
#!/bin/sh
[ ! -e "$work/closed" ] || { echo "qsub: not from here" >&2; exit 1; }
echo "\$PWD: \$*" >>"$work/queue"
echo "\$(wc -l <"$work/queue").server"
EOF
chmod +x "$work/bin"/*
PATH=$work/bin:$PATH

# So many steps that no machine is through within the second that the limit leaves.
cat >"$work/job.json" <<EOF
{"model": {"path": "$jobs/demo/model"}, "judge": {"path": "$jobs/demo/judge"},
 "cases": {"path": "$jobs/demo/cases.json"}, "edit": {"lr": 5e-3, "steps": 200},
 "generate": {"max_new_tokens": 60}, "run": {"batch": 4}}
EOF
sed 's/5e-3/2e-3/' "$work/job.json" >"$work/other.json"
printf 'localhost\nlocalhost\n' >"$work/nodes"

# edit VARIABLE=VALUE...: $work/pbs.sh, a copy as a user would edit it
edit() {
    for line in "program=$program" "grace_s=20" "binding=none" "$@"; do
        grep -q "^${line%%=*}=" "$jobs/pbs.sh" || fail "jobs/pbs.sh has no variable ${line%%=*}"
        echo "s|^${line%%=*}=.*|$line|"
    done >"$work/edits"
    sed -f "$work/edits" "$jobs/pbs.sh" >"$work/pbs.sh"
}
# run WALLTIME VARIABLE=VALUE...: as PBS would run the script; leaves $status, $work/log
run() {
    : >"$work/walltime"
    [ -z "$1" ] || echo "    Resource_List.walltime = $1" >"$work/walltime"
    shift
    rm -f "$work/queue"
    status=0
    (cd / && env PBS_JOBID=7.server PBS_O_WORKDIR="$work" PBS_NODEFILE="$work/nodes" "$@" \
        setsid --wait bash <"$work/pbs.sh") >"$work/log" 2>&1 || status=$?
}
says() { grep -q "$1" "$work/log" || fail "it does not say \"$1\": $(cat "$work/log")"; }
# queued [LINE]: that and nothing else was submitted
queued() {
    [ "$(cat "$work/queue" 2>/dev/null)" = "${1:-}" ] ||
        fail "submitted: $(cat "$work/queue" 2>/dev/null); expected: ${1:-nothing}"
}
ended() { [ "$status" -eq "$1" ] || fail "it ends with $status, not $1: $(cat "$work/log")"; }
same() {
    for file in cases.jsonl results.json results.md results.csv report.html; do
        cmp "$work/alone/$2/$file" "$work/out/$1/$file" || fail "$1: $file differs"
    done
}
alone() {
    mpirun --quiet -n 1 "$program" "$work/$1.json" --quiet --threads 1 --out "$work/alone/$1" \
        >"$work/log" 2>&1 || { cat "$work/log"; fail "$1 alone"; }
}
alone job
alone other

# The limit, twice: 81 s are grace_s, a minute, and 1 s; then time enough.
edit
run 0:01:21
ended 75
says 'dinm_pipeline: stopped in phase'
queued "$work: -v dinm_element=1 pbs.sh"
run 01:21
[ "$status" -eq 0 ] || queued "$work: -v dinm_element=1 pbs.sh"
run 24:00:00 dinm_element=1
ended 0
queued
says 'done before)'
same job job

# qsig of an array's second element: the script, the launcher and the ranks all get the signal.
edit 'jobs=(job.json other.json)'
run 24:00:00 PBS_ARRAY_INDEX=2 &
runner=$!
tries=0
until [ "$(cat "$work/out/other/journal"/group-*.log 2>/dev/null | wc -c)" -gt 20000 ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { fail "nothing is journaled: $(cat "$work/log")"; break; }
    sleep 0.1
done
pkill -USR1 -f "^$program .*--out out/other " || fail "it was over before it could be signalled"
pkill -USR1 -f "^mpirun .*--out out/other " || fail "no launcher"
for pid in $(pgrep -x bash); do
    if grep -qsz 'PBS_ARRAY_INDEX=2' "/proc/$pid/environ" && grep -qsz "PBS_O_WORKDIR=$work" "/proc/$pid/environ"; then
        kill -USR1 "$pid"
    fi
done
wait "$runner"
says 'asked to stop'
says 'dinm_pipeline: stopped in phase'
queued "$work: -v dinm_element=2 pbs.sh"
run 24:00:00 dinm_element=2
ended 0
same other other

# What must not be submitted again: nothing done, a wrong setting, a job that fails at once.
printf '#!/bin/sh\nexit 75\n' >"$work/idle"
chmod +x "$work/idle"
edit "program=$work/idle" useful_s=0
run 24:00:00
ended 75
says 'no unit was finished'
queued
edit 'options=(--set edit.lr=fast)'
run 24:00:00
ended 2
queued
edit 'jobs=(none.json)'
run 24:00:00
queued
[ "$status" -ne 0 ] || fail "a job file that does not exist is done"
edit 'jobs=(job.json other.json)'
run 24:00:00
ended 1
says 'submit an array: qsub -J 1-2'
run 24:00:00 PBS_ARRAY_INDEX=3
ended 1
says 'element 3 has no job file'
edit
run 00:01:00
ended 1
says 'leaves no time'

# A node that may not submit, a server that does not tell the limit.
edit "program=$work/idle"
touch "$work/closed"
run ''
ended 75
says 'PBS does not tell'
says 'submit this script again to go on'

[ "$failed" -eq 0 ] && echo "the PBS script stops, submits itself again and ends with the same bytes"
exit "$failed"

#!/bin/sh
# jobs/slurm.sh under a real Slurm: one machine that plays a cluster of virtual nodes, its daemons and
# all their files in a folder that goes away. Jobs run into their time limit with and without a
# warning, are preempted, asked to stop, lose a node; each is queued again and leaves the bytes of an
# undisturbed run. A cancelled job stays so. Ranks are held (SIGSTOP) once something is in their
# journal until the event has come, so that no job is done too early on a fast machine.
# Needs root. Usage: check_slurm.sh BUILD_FOLDER
set -eu
program=$(cd "$1" && pwd)/dinm_pipeline
jobs=$(cd "$(dirname "$0")/../jobs" && pwd)
work=$(mktemp -d)
export SLURM_CONF="$work/slurm.conf" TMPDIR="$work/tmp" OMP_NUM_THREADS=1
failed=0

fail() { echo "FAILED: $*"; failed=1; }
skip() { echo "the test of Slurm is skipped: $*"; exit 77; }
# Daemons, steps and ranks: whatever was started with our SLURM_CONF. This shell was not.
ours() {
    for process in /proc/[0-9]*; do
        if grep -qs "SLURM_CONF=$work/" "$process/environ"; then
            echo "${process#/proc/}"
        fi
    done
}
clean() {
    tries=0
    for pid in $(ours); do kill -9 "$pid" 2>/dev/null || true; done
    while [ "$tries" -lt 50 ] && [ "$(ours | wc -l)" -gt 1 ]; do # the subshell is one of them
        sleep 0.1
        tries=$((tries + 1))
        for pid in $(ours); do kill -9 "$pid" 2>/dev/null || true; done
    done
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM

[ "$(id -u)" -eq 0 ] || skip "it needs root"
for tool in munged slurmctld slurmd sbatch scontrol pgrep mpirun; do
    command -v "$tool" >/dev/null 2>&1 ||
        skip "$tool is missing (Debian: munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins procps)"
done

# until_true SECONDS COMMAND...: waits until it succeeds
until_true() {
    ticks=$(($1 * 10))
    shift
    until "$@"; do
        ticks=$((ticks - 1))
        [ "$ticks" -gt 0 ] || return 1
        sleep 0.1
    done
}

# The cluster. cred_expire is the time a job waits when it is queued again; below 5 s means 2 minutes.
host=$(uname -n | cut -d. -f1)
port=$((10000 + $$ % 2000 * 10))
mkdir "$work/tmp" "$work/state" "$work/spool" "$work/jobs"
cat >"$SLURM_CONF" <<EOF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket,cred_expire=5
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool/%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
ReturnToService=2
KillWait=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-5] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 5))] CPUs=4 RealMemory=500
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 MaxTime=60
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=60
EOF
echo "PMIxCliTmpDirBase=$work/tmp" >"$work/mpi.conf"
(umask 077 && head -c 64 /dev/urandom >"$work/munge.key")
munged --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munge.pid" \
    --log-file="$work/munge.log" --seed-file="$work/munge.seed" >"$work/log" 2>&1 ||
    skip "munged does not start here: $(cat "$work/log")"
slurmctld -c >"$work/log" 2>&1 || skip "slurmctld does not start here: $(cat "$work/log")"
for i in 1 2 3 4 5; do
    slurmd -N "n$i" >"$work/log" 2>&1 || skip "slurmd does not start here: $(cat "$work/log")"
done
idle_nodes() { [ "$(sinfo -h -N -p low -t idle -o %N 2>/dev/null | wc -l)" -eq 5 ]; }
until_true 20 idle_nodes || skip "its nodes do not come up: $(cat "$work"/slurm*.log | grep -i error | tail -n 1)"

# job_file NAME CASES SETTING...: a job file of the demo
job_file() {
    cat >"$work/jobs/$1.json" <<EOF
{"model": {"path": "$jobs/demo/model"}, "judge": {"path": "$jobs/demo/judge"},
 "cases": {"path": "$jobs/demo/cases.json", "limit": $2}, "edit": {"lr": $3}, "generate": {"max_new_tokens": 60},
 "evaluate": {"kqa": "$jobs/demo/questions.json", "kqa_max_new_tokens": 20}}
EOF
}
# submit NAME JOBS OPTIONS VARIABLE=VALUE...: an edited copy of the script into the queue; leaves $id
submit() {
    name=$1 job_files=$2 options=$3
    shift 3
    edits="$work/$name.sed"
    for edit in "program=$program" "jobs=($job_files)" "grace_s=20" "$@"; do
        grep -q "^${edit%%=*}=" "$jobs/slurm.sh" || fail "jobs/slurm.sh has no variable ${edit%%=*}"
        echo "s|^${edit%%=*}=.*|$edit|"
    done >"$edits"
    sed -f "$edits" "$jobs/slurm.sh" >"$work/$name.sh"
    # shellcheck disable=SC2086
    id=$(cd "$work" && sbatch --parsable --output="$name-%a.log" --time=10 --signal=B:USR1@60 \
        --cpus-per-task=1 $options "$name.sh") || fail "$name is not accepted"
}
log() { cat "$work/$1"-*.log 2>/dev/null; }
journal_bytes() { cat "$work/out/$1/journal"/group-*.log 2>/dev/null | wc -c; }
journaled() { [ "$(journal_bytes "$1")" -gt "$2" ]; }
ranks_of() { pgrep -f "^$program .*--out out/$1 "; }
# hold NAME [BYTES]: its ranks stand still once more than that is journaled
hold() {
    until_true 60 journaled "$1" "${2:-1000}" || { fail "$1 journals nothing: $(log "$1")"; return; }
    if ! ranks_of "$1" >"$work/$1.pids" || ! xargs kill -STOP <"$work/$1.pids"; then
        fail "$1 was over before it could be held: $(log "$1")"
    fi
}
# go_on NAME: its ranks, asked to stop while they were held, do so
go_on() {
    xargs kill -CONT <"$work/$1.pids" || fail "held ranks of $1 are gone: $(log "$1")"
    until_true 30 says "$1" 'dinm_pipeline: stopped in phase' || fail "$1 was not stopped in time: $(log "$1")"
}
says() { log "$1" | grep -q "$2"; }
state() { scontrol show job "$1" | sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p'; }
has_state() { [ "$(state "$1")" = "$2" ]; }
# is_up NODE: asks for it as long as it is down; it may come back by itself
is_up() {
    case $(sinfo -h -p low -n "$1" -o %T) in
    idle | mixed | allocated) return 0 ;;
    *) scontrol update nodename="$1" state=resume 2>/dev/null; return 1 ;;
    esac
}
alone() {
    mpirun --quiet -n 1 "$program" "$work/jobs/$1.json" --quiet --threads 1 --out "$work/alone/$1" \
        >"$work/log" 2>&1 || { cat "$work/log"; fail "$1 alone"; }
}
# same NAME REFERENCE: it left the files of the undisturbed run
same() {
    for file in cases.jsonl results.json results.md results.csv report.html; do
        cmp "$work/alone/$2/$file" "$work/out/$1/$file" || fail "$1: $file differs"
    done
    if command -v h5diff >/dev/null 2>&1; then
        h5diff "$work/alone/$2/activations.h5" "$work/out/$1/activations.h5" || fail "$1: the archive differs"
    fi
}
# finished NAME ID STARTS REFERENCE: completed, after so many starts or more (the second may meet its
# limit too); the last found what was done before
finished() {
    until_true 90 has_state "$2" COMPLETED || { fail "$1 ends as $(state "$2"): $(log "$1")"; return; }
    says "$1" "start $3," || fail "$1 was started fewer than $3 times: $(log "$1")"
    says "$1" 'done before)' || fail "$1 began anew: $(log "$1")"
    [ -z "$4" ] || same "$1" "$4"
}

for name in hard limit user lost cancelled; do job_file "$name" 36 5e-3; done
job_file first 4 5e-3
job_file second 12 2e-3

# Slurm looks for limits every 30 s; the warning comes 20 s after the start or later, so that there is
# time to hold the ranks before. The other job gets none.
submit limit jobs/limit.json "-w n2 --ntasks-per-node=2 --time=1 --signal=B:USR1@10"
limit=$id
hold limit
submit hard jobs/hard.json "-w n1 --ntasks-per-node=1 --time=1 --signal=B:URG@1" binding=none
hard=$id
hold hard

# An array: the second element is preempted, after the first is done.
submit array 'jobs/first.json jobs/second.json' "-w n3 --ntasks-per-node=1 --array=1-2" binding=none
array=$id
hold second
until_true 60 has_state "${array}_1" COMPLETED || fail "the first element: $(log array)"
high=$(cd "$work" && sbatch --parsable -p high -w n3 --exclusive --output=high.log --wrap 'sleep 1')

# Asked to stop by its owner; srun in place of mpirun.
submit user jobs/user.json "-w n2 --ntasks-per-node=2" launcher=srun binding=none
user=$id
hold user
scancel --batch --signal=USR1 "$user"
until_true 20 says user 'asked to stop' || fail "scancel --signal does not arrive"
go_on user

# Cancelled for good.
submit cancelled jobs/cancelled.json "-w n4 --ntasks-per-node=1" binding=none
cancelled=$id
hold cancelled
scancel "$cancelled"

# Two nodes; one is set down by the administrator, later its processes die. Both "nodes" are one
# machine, where shared memory of the same name would be in the way.
export OMPI_MCA_btl=self,tcp
submit lost jobs/lost.json "-w n[4-5] --nodes=2 --ntasks-per-node=1" binding=none
lost=$id
unset OMPI_MCA_btl
hold lost
scontrol update nodename=n5 state=down reason=test
until_true 20 says lost 'NODE FAILURE' || fail "Slurm does not notice its node: $(log lost)"
until_true 20 is_up n5 || fail "node n5 stays down: $(sinfo -h -n n5)"
until_true 30 says lost 'start 2,' || fail "the job does not return to its node: $(log lost)"
hold lost $(($(journal_bytes lost) + 1000))
for pid in $(ours); do
    if grep -qs 'SLURMD_NODENAME=n5' "/proc/$pid/environ"; then kill -9 "$pid"; fi
done

# Nothing is ever done: this must not go round for ever.
printf '#!/bin/sh\nexit 75\n' >"$work/idle"
chmod +x "$work/idle"
submit idle jobs/idle.json "-w n4 --ntasks-per-node=1" "program=$work/idle" useful_s=0 binding=none
idle=$id

alone hard
alone first
alone second
until_true 60 says limit 'asked to stop' || fail "Slurm gives no warning"
go_on limit

finished limit "$limit" 2 hard
finished user "$user" 2 hard
finished lost "$lost" 3 hard
finished array "${array}_2" 2 ""
same first first
same second second
if grep -q 'start 2,' "$work/array-1.log"; then
    fail "the first element of the array was started again: $(log array)"
fi
says hard 'asked to stop' && fail "the job without a warning was warned"
finished hard "$hard" 2 hard
says hard 'TIME LIMIT' || fail "it did not run into its limit: $(log hard)"

has_state "$cancelled" CANCELLED || fail "the cancelled job is $(state "$cancelled"): $(log cancelled)"
has_state "$idle" FAILED || fail "the job that does nothing is $(state "$idle"): $(log idle)"
says idle 'no unit was finished' || fail "the job that does nothing does not say so: $(log idle)"
for name in cancelled idle; do
    says "$name" 'start 2,' && fail "$name was started again: $(log "$name")"
done
has_state "$high" COMPLETED || fail "the job that preempts is $(state "$high")"

[ "$failed" -eq 0 ] && echo "the same bytes under Slurm, whatever ended the jobs"
exit "$failed"

#!/bin/bash
# A job, or one of several as an array, under Slurm. It stops in time before its limit, is put back
# into the queue, and goes on; and so it does after a preemption or a lost node, as long as every
# start finishes something. Submitted again by hand it goes on, too. Copy this file beside your job
# files, edit the two blocks, and
#
#     sbatch slurm.sh                    runs the job file
#     sbatch --array=1-8%2 slurm.sh      runs the first eight job files, two at a time
#
# `scancel --batch --signal=USR1 ID` makes room and goes on later; `scancel ID` ends for good.

#SBATCH --job-name=dinm
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# USR1 comes so many seconds before the limit, or up to 30 more: grace_s below and a minute.
#SBATCH --signal=B:USR1@360
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

program=$HOME/dinm_pipeline/build/release/dinm_pipeline
jobs=(job.json)      # job files; of an array, element 1 runs the first
out=out              # the results of NAME.json go to $out/NAME
options=()           # more options of dinm_pipeline, such as --stages 2
grace_s=300          # units in flight may take so long to end before they are given up
useful_s=600         # a start that was stopped after so long and had finished no unit is the last
launcher=mpirun      # or srun
binding=core         # each rank to cores of its own, as many as it has threads; or none

# ------------------------------------------------------------------------------------------------

die() { echo "${0##*/}: $*" >&2; exit 1; }

id=$SLURM_JOB_ID element=1
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    # The bare number of the last element is that of the whole array.
    id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID element=$SLURM_ARRAY_TASK_ID
elif [ "${#jobs[@]}" -ne 1 ]; then
    die "there are ${#jobs[@]} job files; submit an array: sbatch --array=1-${#jobs[@]}"
fi
if [ "$element" -lt 1 ] || [ "$element" -gt "${#jobs[@]}" ]; then
    die "element $element has no job file: there are ${#jobs[@]}, from 1"
fi
job=${jobs[element - 1]}
name=${job##*/}
folder=$out/${name%.json}
threads=${SLURM_CPUS_PER_TASK:-1}
finished_bytes() { cat "$folder"/journal/group-*.log 2>/dev/null | wc -c; }

command=("$program" "$job" --out "$folder" --threads "$threads" --set "run.grace_s=$grace_s"
    "${options[@]}")
# Open MPI is told to watch its nodes: a lost one ends the run within a minute, not in eight.
mpirun=(mpirun --quiet --mca oob_tcp_keepalive_time 20 --mca oob_tcp_keepalive_intvl 5
    --mca oob_tcp_keepalive_probes 4 -n "$SLURM_NTASKS")
case $launcher-$binding in
mpirun-none) launch=("${mpirun[@]}" --bind-to none) ;;
mpirun-*) launch=("${mpirun[@]}" --map-by "slot:PE=$threads" --bind-to "$binding") ;;
srun-none) launch=(srun --mpi=pmix --cpus-per-task="$threads" --cpu-bind=none) ;;
srun-*) launch=(srun --mpi=pmix --cpus-per-task="$threads" --cpu-bind="${binding}s") ;;
*) die "launcher is $launcher; expected mpirun or srun" ;;
esac

echo "job $id, start $((${SLURM_RESTART_COUNT:-0} + 1)), $(date '+%F %T'): $job on $SLURM_NTASKS x $threads" \
    "threads of $SLURM_JOB_NODELIST"
before=$(finished_bytes)
asked=0 woken=0
# The launcher hands USR1 on to the ranks. A trapped signal ends `wait` early.
trap 'asked=1 woken=1; echo "asked to stop, after $SECONDS s"; kill -USR1 "$launched" 2>/dev/null' USR1
trap 'woken=1' TERM
"${launch[@]}" "${command[@]}" &
launched=$!
while
    woken=0
    wait "$launched"
    status=$?
    [ "$woken" -eq 1 ]
do :; done
trap '' USR1
case $status in
0 | 2) exit "$status" ;; # done; or a fault of this script's that no other start will mend
esac

# Slurm does not requeue a script that ends by itself in the grace time of a preemption, nor one that
# failed because of a node, nor one that ran into its limit. What else ends a job (scancel, the end of
# the grace time, a node that is down) Slurm has decided already.
now=$(scontrol show job "$id")
case $now in
*JobState=RUNNING* | *Reason=TimeLimit*) ;;
*) exit "$status" ;;
esac
case $asked-$status-$now in
1-* | ?-75-* | *PreemptTime=[0-9]* | *Reason=TimeLimit*) least_s=$useful_s ;;
*) least_s=0 ;; # it failed
esac
if [ "$SECONDS" -ge "$least_s" ] && [ "$(finished_bytes)" -eq "$before" ]; then
    echo "ended with status $status; no unit was finished in $SECONDS s, so this job is not queued again"
    exit "$status"
fi
scontrol requeue "$id" || echo "submit this script again to go on"
exit "$status"

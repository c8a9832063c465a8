#!/bin/bash
# A job, or one of several as an array, under PBS (OpenPBS, PBS Professional). It stops in time
# before its limit, submits itself again, and goes on; and so it does after a preemption or a lost
# node, as long as every start finishes something. Submitted again by hand it goes on, too. Copy this
# file beside your job files, edit the two blocks, and
#
#     qsub pbs.sh             runs the job file
#     qsub -J 1-8 pbs.sh      runs the first eight job files
#
# What is given to qsub beside -J is not known when the job is submitted again: write it here.
# `qsig -s USR1 ID` makes room and goes on later; `qdel ID` ends for good.

#PBS -N dinm
#PBS -S /bin/bash
#PBS -l select=1:ncpus=32:mpiprocs=4:ompthreads=8
#PBS -l place=scatter
#PBS -l walltime=24:00:00
#PBS -r y
#PBS -j oe

program=$HOME/dinm_pipeline/build/release/dinm_pipeline
jobs=(job.json)      # job files; of an array, element 1 runs the first
out=out              # the results of NAME.json go to $out/NAME
options=()           # more options of dinm_pipeline, such as --stages 2
script=pbs.sh        # this file, for submitting it again
grace_s=300          # units in flight may take so long to end before they are given up
useful_s=600         # a start that was stopped after so long and had finished no unit is the last
binding=core         # each rank to cores of its own, as many as it has threads; or none

# ------------------------------------------------------------------------------------------------

die() { echo "$script: $*" >&2; exit 1; }

cd "$PBS_O_WORKDIR" || die "the folder it was submitted from, $PBS_O_WORKDIR, is not here"
# An element that is submitted again is a job of its own: dinm_element says which it was.
element=${PBS_ARRAY_INDEX:-${dinm_element:-}}
if [ -z "$element" ]; then
    element=1
    [ "${#jobs[@]}" -eq 1 ] ||
        die "there are ${#jobs[@]} job files; submit an array: qsub -J 1-${#jobs[@]}"
elif [ "$element" -lt 1 ] || [ "$element" -gt "${#jobs[@]}" ]; then
    die "element $element has no job file: there are ${#jobs[@]}, from 1"
fi
job=${jobs[element - 1]}
name=${job##*/}
folder=$out/${name%.json}
ranks=$(wc -l <"$PBS_NODEFILE")
threads=${OMP_NUM_THREADS:-1}
finished_bytes() { cat "$folder"/journal/group-*.log 2>/dev/null | wc -c; }

# PBS sends no signal before the limit, so the program watches the clock: it begins no unit in the
# last grace_s and a minute. PBS writes the limit as [HOURS:]MINUTES:SECONDS or as seconds.
limit=$(qstat -f "$PBS_JOBID" 2>/dev/null | sed -n 's/^ *Resource_List\.walltime = *//p')
limit_s=$(echo "${limit:-0}" | awk -F: '{ s = 0; for (i = 1; i <= NF; i++) s = 60 * s + $i; print s }')
left_s=$((limit_s - SECONDS - grace_s - 60))
clock=()
if [ "$limit_s" -eq 0 ]; then
    echo "PBS does not tell the job's walltime: it will not stop in time before it"
elif [ "$left_s" -le 0 ]; then
    die "the walltime of $limit leaves no time beside grace_s=$grace_s and a minute"
else
    clock=(--max-time "$left_s")
fi

if [ "$binding" = none ]; then
    bind=(--bind-to none)
else
    bind=(--map-by "slot:PE=$threads" --bind-to "$binding")
fi
# Open MPI is told to watch its nodes: a lost one ends the run within a minute, not in eight.
watch=(--mca oob_tcp_keepalive_time 20 --mca oob_tcp_keepalive_intvl 5
    --mca oob_tcp_keepalive_probes 4)
echo "job $PBS_JOBID, $(date '+%F %T'): $job on $ranks x $threads threads of" \
    "$(sort -u "$PBS_NODEFILE" | tr '\n' ' ')"
before=$(finished_bytes)
# qsig reaches this script, and under some servers the launcher and the ranks as well; the launcher
# hands USR1 on. TERM (the limit, qdel, a preemption) ends the script: where the job shall run again,
# PBS sees to it.
woken=0
trap 'woken=1; echo "asked to stop, after $SECONDS s"; kill -USR1 "$launched" 2>/dev/null' USR1
mpirun --quiet --hostfile "$PBS_NODEFILE" -n "$ranks" "${bind[@]}" "${watch[@]}" "$program" "$job" \
    --out "$folder" --threads "$threads" --set "run.grace_s=$grace_s" "${clock[@]}" "${options[@]}" &
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
75) least_s=$useful_s ;;
*) least_s=0 ;; # it failed
esac
if [ "$SECONDS" -ge "$least_s" ] && [ "$(finished_bytes)" -eq "$before" ]; then
    echo "ended with status $status; no unit was finished in $SECONDS s, so this job is not submitted again"
    exit "$status"
fi
# A new job: only operators may qrerun one, and PBS holds a job that has run 20 times.
if next=$(qsub -v "dinm_element=$element" "$script"); then
    echo "job $next goes on"
else
    echo "submit this script again to go on"
fi
exit "$status"

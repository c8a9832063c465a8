#!/bin/sh
# Three nodes on one machine: network namespaces with addresses of their own, joined by a bridge, TCP
# between them, nsenter in place of a remote shell. The demo on 2 groups x 3 stages, a stage on each
# node, gives the bytes of one rank. A node whose link is cut ends the job with an error within 45 s,
# and the next run resumes from the journal. Usage: check_net.sh BUILD_FOLDER
#
# That a cut link ends the job, and not only after minutes, needs these three, on mpirun's own
# connections; without them the launcher waits 8 minutes for a lost node:
keepalive="--mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 3"
set -eu
program=$(cd "$1" && pwd)/dinm_pipeline
subnet=10.77.0
work=$(mktemp -d)
holders= failed=0

fail() { echo "FAILED: $*"; failed=1; }
skip() { echo "the test of several nodes is skipped: $*"; exit 77; }
clean() {
    # A launcher that failed may have left some; nobody else names this folder.
    for pid in $(pgrep -f "$work/") $holders; do
        [ "$pid" -eq $$ ] || kill -9 "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 1' INT TERM

[ "$(id -u)" -eq 0 ] || skip "it needs root"
for tool in ip nsenter unshare pgrep mpirun; do
    command -v "$tool" >/dev/null 2>&1 || skip "$tool is missing (Debian: iproute2 util-linux procps openmpi-bin)"
done
unshare --net --uts --mount --ipc true 2>"$work/log" ||
    skip "namespaces cannot be made here: $(cat "$work/log")"

# hold NAME COMMAND: namespaces that last as long as their process, whose id is in $work/NAME
hold() {
    unshare --net --uts --mount --ipc sh -c "$2
        touch '$work/$1.up'; exec sleep 1000000" &
    echo $! >"$work/$1"
    holders="$holders $!"
    tries=0
    until [ -e "$work/$1.up" ]; do
        sleep 0.1
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || skip "node $1 does not come up"
    done
}
# on NAME COMMAND...: in its namespaces
on() {
    target=$(cat "$work/$1")
    shift
    nsenter -t "$target" --net --uts --mount --ipc --wd="$work" -- "$@"
}

hold switch true
on switch ip link add br0 type bridge 2>"$work/log" || skip "no bridge can be made: $(cat "$work/log")"
on switch ip link set br0 up
echo "127.0.0.1 localhost" >"$work/addresses"
for i in 1 2 3; do
    echo "$subnet.$i n$i" >>"$work/addresses"
    echo "n$i slots=2" >>"$work/hosts"
done
for i in 1 2 3; do
    hold "n$i" "hostname n$i; mount --make-rprivate /; mount -t tmpfs tmpfs /dev/shm
        mount --bind '$work/addresses' /etc/hosts"
    on switch ip link add "v$i" type veth peer name eth0 netns "$(cat "$work/n$i")"
    on switch ip link set "v$i" master br0 up
    on "n$i" ip addr add "$subnet.$i/24" dev eth0
    on "n$i" ip link set eth0 up
    on "n$i" ip link set lo up
done
cat >"$work/remote.sh" <<END
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
node=\$1
shift
exec nsenter -t "\$(cat "$work/\$node")" --net --uts --mount --ipc --wd="$work" -- sh -c "\$*"
END
chmod +x "$work/remote.sh"

# run NAME OPTION...: 6 ranks on the three nodes, into $work/NAME
run() {
    name=$1
    shift
    # shellcheck disable=SC2086
    on n1 timeout -k 5 60 mpirun -n 6 --hostfile "$work/hosts" --mca plm_rsh_agent "$work/remote.sh" $keepalive \
        --mca btl_tcp_if_include "$subnet.0/24" --mca oob_tcp_if_include "$subnet.0/24" \
        -x OMP_NUM_THREADS=1 "$program" --quiet --threads 1 --out "$work/$name" \
        --stages 3 "$@" >"$work/log" 2>&1
}
alone() {
    name=$1
    shift
    mpirun --quiet -n 1 "$program" --quiet --threads 1 --out "$work/$name" "$@" >"$work/log" 2>&1
}
# same A B: two runs left the same files
same() {
    for file in cases.jsonl results.json results.md results.csv report.html; do
        cmp "$work/$1/$file" "$work/$2/$file" || fail "$2: $file differs"
    done
}

alone one --limit 4 || { cat "$work/log"; fail "one rank"; }
run nodes --limit 4 || { cat "$work/log"; fail "three nodes"; }
same one nodes

# The link of the third node is cut once something is in the journal.
journal_bytes() { cat "$work/cut/journal"/group-*.log 2>/dev/null | wc -c; }
run cut --limit 12 &
job=$!
until [ "$(journal_bytes)" -gt 1000 ]; do
    kill -0 "$job" 2>/dev/null || break
    sleep 0.05
done
on switch ip link set v3 down
started=$(date +%s)
status=0
mkdir "$work/kept"
wait "$job" || status=$?
spent=$(($(date +%s) - started))
cp "$work/cut/journal"/* "$work/kept"
echo "the job without its third node ended after $spent s with status $status"
[ "$status" -ne 0 ] || fail "a job whose node was lost ends as if nothing had been"
[ ! -e "$work/cut/results.json" ] || fail "the link was cut too late: the job was done"
[ "$spent" -le 45 ] || fail "the job took $spent s to end"
tries=0
while pgrep -f -- "--out $work/cut" >"$work/left"; do
    tries=$((tries + 1))
    [ "$tries" -lt 30 ] || { fail "processes are left behind: $(tr '\n' ' ' <"$work/left")"; break; }
    sleep 1
done

# On all three nodes again, from where it was.
on switch ip link set v3 up
run cut --limit 12 || { cat "$work/log"; fail "resuming"; }
for file in "$work/kept"/group-*.log; do
    # Whole records stay; a torn one at the end may have gone.
    size=$(($(wc -c <"$file") * 3 / 4))
    cmp -n "$size" "$file" "$work/cut/journal/${file##*/}" || fail "the journal was begun anew"
done
alone whole --limit 12 || { cat "$work/log"; fail "one rank, more cases"; }
same whole cut

[ "$failed" -eq 0 ] && echo "the same bytes over three nodes, with and without a lost link"
exit "$failed"

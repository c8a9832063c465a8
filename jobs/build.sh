#!/bin/sh
# Installs what is missing (as root) or names it (as anybody else), then configures and builds.
# Sourced by demo.sh and tests/run.sh with: kind ("use" or "test"), preset. Leaves $build.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

packages="gcc libc6-dev cmake ninja-build pkg-config openmpi-bin libopenmpi-dev libhdf5-openmpi-dev
libopenblas-openmp-dev libsleef-dev libcjson-dev libpcre2-dev libutf8proc-dev libxxhash-dev"
if [ "$kind" = test ]; then
    packages="$packages libcmocka-dev hdf5-tools valgrind clang libclang-rt-dev libomp-dev python3
python3-numpy python3-h5py python3-torch iproute2 procps munge slurmctld slurmd slurm-client
slurm-wlm-basic-plugins shellcheck"
fi

# The build does without: model.compute=bf16 on processors without AMX.
optional="libdnnl-dev"

say() { printf '%s\n' "$*" >&2; }

# Those of its arguments that are not installed.
not_installed() {
    command -v dpkg-query >/dev/null 2>&1 || return 0
    for package in "$@"; do
        state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
        case $state in ii*) ;; *) printf ' %s' "$package" ;; esac
    done
}
missing=$(not_installed $packages)
absent=$(not_installed $optional)
if [ -n "$missing$absent" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing:$missing$absent"
    log=$(mktemp)
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends $missing$absent; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "the packages could not be installed; try: apt-get install$missing$absent"
        [ -z "$missing" ] || exit 1
    fi
    rm -f "$log"
elif [ -n "$missing" ]; then
    say "these Debian packages are missing; ask an administrator for: apt-get install$missing$absent"
    exit 1
elif [ -n "$absent" ]; then
    say "going on without:$absent (optional: model.compute=bf16 on processors without AMX)"
fi
for tool in gcc cmake ninja pkg-config mpirun; do
    command -v "$tool" >/dev/null 2>&1 || { say "$tool was not found in PATH"; exit 1; }
done

# Open MPI refuses root and more ranks than cores unless told; here both are meant.
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none

# Configures and builds one preset; quiet unless it fails. Leaves $build.
build_preset() {
    build=$root/build/$1
    say "building in $build"
    log=$(mktemp)
    if ! { cmake --preset "$1" -G Ninja && cmake --build "$build"; } >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
}

cd "$root"
build_preset "$preset"

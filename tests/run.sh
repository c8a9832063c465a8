#!/bin/sh
# README command 2: installs what is needed, builds with warnings as errors, runs all tests; then
# again under sanitizers, with a second compiler, and with random input for every parser. The test of
# several nodes (label net) runs where root may make network namespaces, that of Slurm (label slurm)
# where root may start its daemons; they say so where not.
# Usage: tests/run.sh                  everything
#        tests/run.sh CTEST_ARGUMENT.. only the tests of the first build that these select
#        tests/run.sh -LE long         without those that kill, starve and requeue for minutes
kind=test preset=dev
. "$(dirname "$0")/../jobs/build.sh"

started=$(date +%s)
spent() { say "$1: $(($(date +%s) - started)) s"; }
tests() { ctest --test-dir "$build" --output-on-failure -j "$(nproc)" "$@"; }

if [ $# -gt 0 ]; then
    tests "$@"
    exit 0
fi
tests -LE long
spent "tests, after"
tests -L long
spent "long tests, after"

build_preset asan
tests -L unit -E '^test_linear$' # its large products take minutes under sanitizers
tests -R '^mpi_.*_np3$'
spent "sanitizers, after"

if ! command -v clang >/dev/null 2>&1; then
    say "clang was not found: no second compiler and no fuzzing"
    exit 0
fi
build_preset clang
spent "second compiler, after"
build_preset fuzz
tests -L fuzz
spent "fuzzing, after"

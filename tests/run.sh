#!/bin/sh
# README command 2: installs what is needed, builds with warnings as errors, runs all tests.
# Usage: tests/run.sh [ctest arguments]
kind=test preset=dev
. "$(dirname "$0")/../jobs/build.sh"

ctest --test-dir "$build" --output-on-failure -j "$(nproc)" "$@"

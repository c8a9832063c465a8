#!/bin/sh
# README command 1: installs what is needed, builds, runs the bundled demo on 4 ranks.
# Usage: jobs/demo.sh [RANKS] [OUT]
kind=use preset=release
. "$(dirname "$0")/build.sh"

ranks=${1:-4}
out=${2:-$root/out/demo}
mpirun --quiet -n "$ranks" "$build/dinm_pipeline" --out "$out"
printf '\nopen %s/report.html in a browser, %s/results.md in an editor\n' "$out" "$out"

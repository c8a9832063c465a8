#!/bin/sh
# Makes the demo again from nothing: the world, the language model, the judge. About 12 minutes on
# two cores. Needs python3 (standard library only) and the program.
#
# usage: make.sh [PROGRAM]        default: ../../build/release/dinm_pipeline
set -eu
program=${1:-$(dirname "$0")/../../build/release/dinm_pipeline}
program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program")
cd "$(dirname "$0")"
# Waiting threads sleep: on a busy machine spinning ones cost a factor of ten.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

rm -rf build
python3 world.py build
"$program" train judge.json
"$program" train lm.json
for name in model judge; do
    mkdir -p "$name"
    for file in config.json model.safetensors tokenizer.json tokenizer_config.json train.json; do
        cp "build/trained/$name/$file" "$name/$file"
    done
done
cp build/cases.json build/questions.json .

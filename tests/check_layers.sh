#!/bin/sh
# Holds the source to the promise of CONVENTIONS.md: every include points down, the libraries stay
# in their places, only main.c and grid.c name MPI_COMM_WORLD, and no file passes 400 lines.
# Usage: tests/check_layers.sh [SOURCE_FOLDER]
set -eu
cd "${1:-$(dirname "$0")/..}"

failed=0
complain() { # what is wrong; the lines it is seen in
    if [ -n "$2" ]; then
        printf '%s:\n%s\n' "$1" "$2"
        failed=1
    fi
}

# Includes "file:line:#include <x>", for the files given.
includes() {
    grep -nHE '^[[:space:]]*#[[:space:]]*include' "$@" || true
}

# The lines of standard input that hold the first pattern and not the second.
but_not() {
    grep -E "$1" | grep -vE "$2" || true
}

for layer in io model pipeline; do
    if [ -z "$(find "$layer" -name '*.c')" ] || [ -z "$(find "$layer" -name '*.h')" ]; then
        echo "$layer: no C files here; is $PWD the source folder?"
        exit 1
    fi
    complain "$layer: these files lie deeper than the check looks" \
        "$(find "$layer" -mindepth 2 -name '*.[ch]')"
done

complain "an include in quotes does not start with its layer" \
    "$(includes io/*.[ch] model/*.[ch] pipeline/*.[ch] |
        but_not 'include[[:space:]]*"' 'include[[:space:]]*"(io|model|pipeline)/[a-z0-9_]+\.h"')"
complain "a header of a layer is included in angle brackets" \
    "$(includes io/*.[ch] model/*.[ch] pipeline/*.[ch] | but_not '<(io|model|pipeline)/' '^$')"
complain "io/ includes more than io/" \
    "$(includes io/*.[ch] | but_not '"' '"io/')"
complain "model/ includes more than model/ and io/" \
    "$(includes model/*.[ch] | but_not '"' '"(model|io)/')"

complain "mpi.h belongs in pipeline/ and io/archive*" \
    "$(includes io/*.[ch] model/*.[ch] | but_not '[<"]mpi\.h' '^io/archive')"
complain "hdf5.h belongs in io/archive*" \
    "$(includes io/*.[ch] model/*.[ch] pipeline/*.[ch] | but_not '[<"]hdf5' '^io/archive')"
complain "cblas.h belongs in model/" \
    "$(includes io/*.[ch] pipeline/*.[ch] | but_not '[<"](cblas|openblas|f77blas)' '^$')"
complain "io/archive headers bring mpi.h: below pipeline/ they belong in io/archive*" \
    "$(includes io/*.[ch] model/*.[ch] | but_not '"io/archive' '^io/archive')"

complain "MPI_COMM_WORLD belongs in pipeline/main.c and pipeline/grid.c" \
    "$(grep -nH 'MPI_COMM_WORLD' io/*.[ch] model/*.[ch] pipeline/*.[ch] |
        but_not . '^pipeline/(main|grid)\.c:')"

complain "a file has more than 400 lines" \
    "$(for file in io/*.[ch] model/*.[ch] pipeline/*.[ch]; do
        lines=$(wc -l <"$file")
        [ "$lines" -le 400 ] || echo "$file: $lines lines"
    done)"

exit $failed

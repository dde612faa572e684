# The test programs: one line each.
#
#   program NAME "SOURCE…" FLAG…
#
# gives dist/programs/NAME.js (and .wasm) from sources relative to the repository's root. Files among the flags count
# as inputs, so that a program is linked anew when the library changes.
# shellcheck shell=bash disable=SC2086

# Whole output, even of a thread that ends the program.
COMMON="-O2 -sWASMFS -sEXIT_RUNTIME=1 -sINITIAL_MEMORY=64MB --js-library tests/harness/output-library.js"
# main runs in a worker, as it must where it waits: a browser's main thread cannot.
THREADS="-pthread -sPROXY_TO_PTHREAD -sPTHREAD_POOL_SIZE=4"
# The library with all that belongs to it, as a user links it.
MT="$COMMON $THREADS @dist/sabfs.rsp"
ST="$COMMON @dist/sabfs-st.rsp"

# Without the library: what the harness tests itself with.
program harness-hello "tests/harness/fixtures/hello.c" $COMMON $THREADS

. scripts/lib/sqlite.sh

# The test programs: one line each.
#
#   program NAME "SOURCE…" FLAG…
#
# gives dist/programs/NAME.js (NAME itself if it ends in .mjs) and its .wasm from sources relative to the repository's root. Files among the flags count
# as inputs, so that a program is linked anew when the library changes.
# shellcheck shell=bash disable=SC2086

# Whole output, even of a thread that ends the program.
COMMON="-O2 -sWASMFS -sEXIT_RUNTIME=1 -sINITIAL_MEMORY=64MB --js-library tests/harness/output-library.js"
# main runs in a worker, as it must where it waits: a browser's main thread cannot.
THREADS="-pthread -sPROXY_TO_PTHREAD -sPTHREAD_POOL_SIZE=4"
# The library with all that belongs to it, as a user links it.
MT="$COMMON $THREADS @dist/sabfs.rsp"
ST="$COMMON @dist/sabfs-st.rsp"
# Without the flags that the response file adds for the linker: what a program gets that names the parts itself.
BARE="-Idist/include --js-library dist/libsabfs.js dist/lib/libsabfs-mt.a dist/lib/libsabfs-shim-mt.a -Wl,--undefined=sabfs_mount"

# Without the library: what the harness tests itself with.
program harness-hello "tests/harness/fixtures/hello.c" $COMMON $THREADS

# Every operation, with and without threads, and as a module that its page starts.
program suite-mt "tests/programs/suite.c" $MT -sPTHREAD_POOL_SIZE=9 -sINITIAL_MEMORY=96MB
program suite-st "tests/programs/suite.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH
program suite-esm.mjs "tests/programs/suite.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
  -sEXPORTED_RUNTIME_METHODS=callMain -sINITIAL_MEMORY=96MB -sPTHREAD_POOL_SIZE=9 @dist/sabfs.rsp
# Programs that can be suspended: what fsync needs on the main thread of a page that is not isolated.
program suite-asyncify "tests/programs/suite.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH -sASYNCIFY
program suite-jspi "tests/programs/suite.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH -sJSPI -Wno-experimental
program quota-asyncify "tests/programs/quota.c" $ST -sALLOW_MEMORY_GROWTH -sASYNCIFY
# A module without threads, with the file system's JavaScript interface.
program suite-st-esm.mjs "tests/programs/suite.c" -O2 -DNOTHREADS -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
  -sEXPORTED_RUNTIME_METHODS=callMain,FS -sFORCE_FILESYSTEM -sALLOW_MEMORY_GROWTH @dist/sabfs-st.rsp
program suite-shared-esm.mjs "tests/programs/suite.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
  -sEXPORTED_RUNTIME_METHODS=callMain,FS -sFORCE_FILESYSTEM -sINITIAL_MEMORY=96MB @dist/sabfs.rsp
# Threads that read one file at once.
program reads-mt "tests/programs/reads.c" $MT -sPTHREAD_POOL_SIZE=8 --js-library tests/programs/gate.js
# What the main thread of a page waits for: with threads, and where it can be suspended.
program main-thread-esm.mjs "tests/programs/main_thread.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
  -sEXPORTED_RUNTIME_METHODS=callMain -sINITIAL_MEMORY=64MB -sPTHREAD_POOL_SIZE=1 @dist/sabfs.rsp \
  --js-library tests/programs/gate.js
program main-thread-asyncify "tests/programs/main_thread.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH -sASYNCIFY \
  --js-library tests/programs/gate.js
program main-thread-jspi "tests/programs/main_thread.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH -sJSPI -Wno-experimental \
  --js-library tests/programs/gate.js
# Mounting from C: main in a thread, main on the main thread, no threads.
program mount-mt "tests/programs/mount.c" $MT
program mount-main "tests/programs/mount.c" $COMMON -sPTHREAD_POOL_SIZE=4 @dist/sabfs.rsp
program mount-st "tests/programs/mount.c" $ST -DNOTHREADS -sINITIAL_MEMORY=96MB
# Mounts that come and go, with the file system's JavaScript interface.
program mounts-st "tests/programs/mounts.c" $ST -sALLOW_MEMORY_GROWTH -sFORCE_FILESYSTEM
# Files that come with the program, put onto the volume.
program preload-mt "tests/programs/preload.c" $MT --preload-file tests/programs/preload@/opfs/brought
program preload-st "tests/programs/preload.c" $ST -sALLOW_MEMORY_GROWTH --preload-file tests/programs/preload@/opfs/brought
# What makes changes durable.
program durable-mt "tests/programs/durable.c" $MT
program durable-st "tests/programs/durable.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH
program durable-asyncify "tests/programs/durable.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH -sASYNCIFY
# Marks when a sync begins and when it is acknowledged.
program sync-order "tests/programs/sync_order.c" $MT --js-library tests/programs/sync_order.js
# Keepers that end: a program in a thread of its own, and one that blocks the thread that could hear of it.
program failover-mt "tests/programs/failover.c" $MT
program failover-st "tests/programs/failover.c" $ST -sINITIAL_MEMORY=32MB
# One of several on a store.
program share-st-esm.mjs "tests/programs/share.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
  -sEXPORTED_RUNTIME_METHODS=callMain,FS -sFORCE_FILESYSTEM -sALLOW_MEMORY_GROWTH @dist/sabfs-st.rsp \
  --js-library tests/programs/share.js
# One that makes each step durable, while others end, the one that runs the keeper as well.
program outlive-st-esm.mjs "tests/programs/outlive.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 -sEXIT_RUNTIME=1 \
  -sEXPORTED_RUNTIME_METHODS=callMain,FS -sFORCE_FILESYSTEM -sALLOW_MEMORY_GROWTH @dist/sabfs-st.rsp \
  --js-library tests/programs/outlive.js
# Advisory locks; the same program runs on the host.
program locks-mt "tests/programs/locks.c" $MT
program locks-st "tests/programs/locks.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH
program lock-calls-esm.mjs "tests/programs/lock_calls.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
  -sEXPORTED_RUNTIME_METHODS=ccall -sALLOW_MEMORY_GROWTH @dist/sabfs-st.rsp
# What programs hear and see of each other.
program between-calls-esm.mjs "tests/programs/between_calls.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
  -sEXPORTED_RUNTIME_METHODS=ccall -sALLOW_MEMORY_GROWTH -std=gnu23 @dist/sabfs-st.rsp
# What all calls answer.
program posix-mt "$(echo tests/programs/posix/*.c)" $MT -sPTHREAD_POOL_SIZE=6
program posix-st "$(echo tests/programs/posix/*.c)" $ST -DNOTHREADS -sINITIAL_MEMORY=64MB
# What happens when a browser's quota is used up.
program quota "tests/programs/quota.c" $MT -sINITIAL_MEMORY=96MB
program hello-noflags "tests/programs/hello.c" $COMMON $THREADS $BARE

# Emscripten of a distribution comes without the closure compiler: EM_CLOSURE_COMPILER may name it.
if [ -n "${EM_CLOSURE_COMPILER:-}" ] || [ -x "$(em-config EMSCRIPTEN_ROOT)/node_modules/.bin/google-closure-compiler" ]; then
  program closure-mt "tests/programs/suite.c" $MT -sPTHREAD_POOL_SIZE=9 -sINITIAL_MEMORY=96MB --closure 1
  program closure-st "tests/programs/suite.c" $ST -DNOTHREADS -sALLOW_MEMORY_GROWTH --closure 1
fi

. scripts/lib/sqlite.sh

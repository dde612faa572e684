# SQLite and the programs that are made of it: for the tests and for the demo. scripts/lib/programs.sh reads this file.
#
# The amalgamation is the one that a crate carries (demo/sources/Cargo.toml). It is neither changed nor patched: it
# runs with its own unix VFS on the file system's system calls.
# shellcheck shell=bash

# No shared memory between files is mapped by a WebAssembly program, hence no mmap; usleep() is there, but there is no
# configure script to say so.
SQLITE_OPTIONS="-DSQLITE_THREADSAFE=1 -DHAVE_USLEEP=1 -DSQLITE_MAX_MMAP_SIZE=0 -DSQLITE_OMIT_LOAD_EXTENSION
  -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_MATH_FUNCTIONS"
SQLITE_OBJECT=dist/sqlite/sqlite3.o

# crate_folder NAME: where cargo keeps the crate's sources. Fetches them the first time; later no network is needed.
crate_folder() {
  local manifest=demo/sources/Cargo.toml answer
  local query=(cargo metadata --locked --format-version 1 --manifest-path "$manifest")
  answer=$("${query[@]}" --offline 2>/dev/null || "${query[@]}") ||
    die "cargo cannot fetch what $manifest names" "cargo fetch --manifest-path $manifest"
  printf '%s' "$answer" | "$SABFS_NODE" -e '
    const { packages } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    const found = packages.find((one) => one.name === process.argv[1]);
    console.log(require("node:path").dirname(found.manifest_path));' "$1"
}

# build_sqlite OBJECT COMPILER FLAG…
build_sqlite() {
  local folder object=$1 compiler=$2
  shift 2
  folder=$(crate_folder libsqlite3-sys)/sqlite3
  mkdir -p dist/sqlite
  # The header lies at a fixed place, so that no program's flags depend on where cargo keeps its crates.
  cmp -s "$folder/sqlite3.h" dist/sqlite/sqlite3.h || cp "$folder/sqlite3.h" dist/sqlite/sqlite3.h
  toolchain_id
  local recipe="$TOOLCHAIN_ID / $folder / $compiler $* $SQLITE_OPTIONS"
  if fresh "$object" "$recipe" "$folder/sqlite3.c"; then return 0; fi
  begin "building $object" "$object"
  # shellcheck disable=SC2086
  "$compiler" "$@" -c $SQLITE_OPTIONS "$folder/sqlite3.c" -o "$object.new" || die "SQLite does not build"
  mv "$object.new" "$object"
  finish "$object" "$recipe"
}

# Before the programs are linked, and only then.
case " ${GOALS[*]} " in *" all "* | *" programs "*) build_sqlite $SQLITE_OBJECT emcc -O2 -pthread ;; esac

SQLITE="-Idist/sqlite $SQLITE_OBJECT"
TREE_INPUT="--js-library tests/programs/tree_input.js"

# shellcheck disable=SC2086
{
  program sqlite-rows "tests/programs/sqlite_rows.c" $MT $SQLITE
  # One of several on a store, in a worker of its own.
  program sqlite-share-esm.mjs "tests/programs/sqlite_share.c" -O2 -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 \
    -sEXPORTED_RUNTIME_METHODS=ccall -sINITIAL_MEMORY=32MB @dist/sabfs.rsp $SQLITE
  program kill-load "tests/programs/kill_load.c tests/programs/kill_ledger.c" $MT -sPTHREAD_POOL_SIZE=6 $SQLITE -std=gnu23 \
    --js-library tests/programs/kill_load.js
  program tree-unpack "tests/programs/tree_unpack.c" $MT $TREE_INPUT
  program tree-verify "tests/programs/tree_verify.c" $MT $TREE_INPUT
  # The same archives, read from the volume itself, as often as it is told to.
  program together-unpack-esm.mjs "tests/programs/together_unpack.c tests/programs/tree_unpack.c" -O2 -Dmain=tree_unpack \
    -sMODULARIZE -sEXPORT_ES6 -sINVOKE_RUN=0 -sEXPORTED_RUNTIME_METHODS=ccall -sALLOW_MEMORY_GROWTH @dist/sabfs-st.rsp
  # The demo's shell is a module, so that its page learns of a failed start by a rejected promise.
  program sqlite-shell "demo/program/shell.c demo/program/page.c demo/program/watch.c" $MT $SQLITE -std=gnu23 \
    -sEXIT_RUNTIME=0 -sMODULARIZE -sEXPORT_ES6 -sENVIRONMENT=web,worker -sEXPORTED_FUNCTIONS=_main,_free \
    -sEXPORTED_RUNTIME_METHODS=stringToNewUTF8,PThread --js-library demo/program/page.js
}

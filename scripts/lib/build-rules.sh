# How each thing in dist/ is made; scripts/build calls these from the repository's root.
# shellcheck shell=bash

# Everything that a Rust build reads. cargo finds out by itself, but takes seconds to say that nothing changed.
RUST_INPUTS=(Cargo.toml Cargo.lock build.rs src c-shim/vtable.h c-shim/sabfs.h)

# fresh OUTPUT RECIPE INPUT…: true when the output was made by this very recipe and no input (file or folder) is
# newer. The recipe of the last successful build lies beside it in dist/.stamp.
fresh() {
  local output=$1 recipe=$2 stamp=$DIST/.stamp/${1//\//_} inputs=() input
  shift 2
  [ -e "$output" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$recipe" ] || return 1
  for input in "$@"; do [ -e "$input" ] && inputs+=("$input"); done
  # The stamp's time is when the build started, so that a file changed while it ran counts as newer.
  [ -z "$(find "${inputs[@]}" -newer "$stamp" -print -quit)" ]
}

# Called before a build: remembers its start. Called by `finish` to make the stamp valid.
begin() { step "$1"; touch "$DIST/.stamp/${2//\//_}.begin"; }
finish() {
  local stamp=$DIST/.stamp/${1//\//_}
  printf '%s\n' "$2" >"$stamp"
  touch -r "$stamp.begin" "$stamp"
  rm "$stamp.begin"
}

toolchain_id() {
  [ -n "${TOOLCHAIN_ID:-}" ] || TOOLCHAIN_ID="$(rustc --version) / $(cat "$SABFS_CACHE/emscripten-warm" 2>/dev/null)"
}

# Debian's toolchain has no standard library for wasm: it is made from its sources then.
sysroot_has() { [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]; }

# cargo_lib OUTPUT KIND DIR TARGET FEATURE RUSTFLAGS BUILD_STD FILE
cargo_lib() {
  local output=$1 kind=$2 dir=$3 target=$4 feature=$5 flags=$6 build_std=$7 file=$8 extra=()
  if [ -n "$build_std" ]; then extra=(-Zbuild-std=std,panic_abort); fi
  toolchain_id
  local recipe="$TOOLCHAIN_ID / $kind $target $feature $flags ${extra[*]}"
  if fresh "$output" "$recipe" "${RUST_INPUTS[@]}"; then return 0; fi
  begin "building $output" "$output"
  # -Zbuild-std is an unstable option; RUSTC_BOOTSTRAP lets the stable compiler take it.
  # Natively panics unwind: cargo builds the library only one way for its programs, tests and benchmarks.
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" CARGO_TARGET_DIR=target/$dir CARGO_PROFILE_RELEASE_PANIC=abort \
    cargo rustc --quiet --release --lib --crate-type "$kind" --no-default-features --features "$feature" \
    --target "$target" "${extra[@]}" || die "$output does not build"
  if [ "$kind" = cdylib ]; then
    # rustc leaves names and producers in; the keeper travels inside every program's JavaScript.
    "$(binaryen_bin)/wasm-opt" -O3 --strip-debug --strip-producers "target/$dir/$target/release/$file" -o "$output.new" ||
      die "binaryen does not take $file"
  else
    cp "target/$dir/$target/release/$file" "$output.new"
  fi
  mv "$output.new" "$output"
  finish "$output" "$recipe"
}

build_keeper() {
  [ -z "$built_keeper" ] || return 0
  built_keeper=1
  local target=wasm32-unknown-unknown build_std=
  sysroot_has $target || build_std=1
  cargo_lib dist/keeper.wasm cdylib keeper $target keeper "" "$build_std" sabfs.wasm
}

# The module for pages, workers and Node, an npm package in dist/js.
build_page() {
  [ -z "$built_page" ] || return 0
  built_page=1
  build_keeper
  build_helpers
  local target=wasm32-unknown-unknown build_std=
  sysroot_has $target || build_std=1
  cargo_lib dist/page.wasm cdylib page $target page "" "$build_std" sabfs.wasm
  mkdir -p dist/js
  fresh dist/js/index.js bundle js emscripten src/errno.rs dist/helpers dist/keeper.wasm dist/page.wasm scripts/lib/bundle.mjs &&
    return 0
  begin "building dist/js" dist/js/index.js
  "$SABFS_NODE" scripts/lib/bundle.mjs js/index.js dist/js/index.js || die "dist/js/index.js is not complete"
  cp js/package.json js/index.d.ts dist/js/
  finish dist/js/index.js bundle
}

build_lib() {
  [ -z "$built_lib" ] || return 0
  built_lib=1
  build_keeper
  local target=wasm32-unknown-emscripten build_std=
  # panic=abort goes without unwinding, so that the archive links with every exception setting of the program.
  cargo_lib dist/lib/libsabfs-mt.a staticlib mt $target wasmfs \
    "-C target-feature=+atomics,+bulk-memory -C panic=abort" 1 libsabfs.a
  sysroot_has $target || build_std=1
  cargo_lib dist/lib/libsabfs.a staticlib st $target wasmfs "-C panic=abort" "$build_std" libsabfs.a
  copy_shim
  build_shim dist/lib/libsabfs-shim-mt.a -pthread
  build_shim dist/lib/libsabfs-shim.a
  build_helpers
  build_js_library
  build_flags
}

# The shim's sources and the public header, as they lie in the package.
copy_shim() {
  local file
  mkdir -p dist/shim
  for file in c-shim/*.*; do
    cmp -s "$file" "dist/shim/${file##*/}" || cp "$file" dist/shim/
  done
  for file in dist/shim/*; do
    [ -e "c-shim/${file##*/}" ] || rm "$file"
  done
  cmp -s c-shim/sabfs.h dist/include/sabfs.h || cp c-shim/sabfs.h dist/include/sabfs.h
  # Headers of Linux that Emscripten lacks.
  diff -rq c-shim/include/sys dist/include/sys >/dev/null 2>&1 || cp -R c-shim/include/. dist/include/
}

# build_shim ARCHIVE FLAG…
build_shim() {
  local archive=$1 flags
  shift
  toolchain_id
  flags="$TOOLCHAIN_ID / $*"
  fresh "$archive" "$flags" c-shim emscripten/link/shim.mjs emscripten/link/flags.mjs && return 0
  begin "building $archive" "$archive"
  "$SABFS_NODE" emscripten/link/shim.mjs dist/shim "$archive" "$@" || die "$archive does not build"
  finish "$archive" "$flags"
}

# What users name to link a program: response files, the port, files for CMake and pkg-config.
build_flags() {
  fresh dist/sabfs.rsp flags emscripten/link c-shim dist/libsabfs.js && return 0
  begin "writing dist/sabfs.rsp" dist/sabfs.rsp
  "$SABFS_NODE" emscripten/link/flags.mjs dist || die "the flags cannot be written"
  finish dist/sabfs.rsp flags
}

# For people without Rust.
build_package() {
  local package
  package=dist/sabfs-$(sed -nE 's/^#define SABFS_VERSION "(.*)"/\1/p' c-shim/sabfs_version.h).tgz
  fresh "$package" package js docs README.md emscripten/link c-shim scripts/lib/package.mjs dist/js dist/libsabfs.js dist/keeper.js \
    dist/lib/libsabfs.a dist/lib/libsabfs-mt.a && return 0
  have npm || die "npm is not there, which packs the package"
  begin "building $package" "$package"
  "$SABFS_NODE" scripts/lib/package.mjs || die "$package cannot be made"
  finish "$package" package
}

# The helper modules in WebAssembly text: one per file, by binaryen's assembler.
build_helpers() {
  local source output
  for source in emscripten/*.wat; do
    [ -f "$source" ] || continue
    output=dist/helpers/$(basename "$source" .wat).wasm
    mkdir -p dist/helpers
    fresh "$output" wasm-as "$source" && continue
    begin "building $output" "$output"
    "$(binaryen_bin)/wasm-as" --enable-threads --enable-bulk-memory --enable-multimemory \
      --enable-mutable-globals "$source" -o "$output" || die "$source is not valid"
    finish "$output" wasm-as
  done
}

# Where emcc's own binaryen is, which need not be on PATH.
binaryen_bin() { echo "$(em-config BINARYEN_ROOT)/bin"; }

build_js_library() {
  [ -f emscripten/libsabfs.js ] || die "emscripten/libsabfs.js is not there"
  fresh dist/libsabfs.js bundle emscripten dist/helpers dist/keeper.wasm scripts/lib/bundle.mjs && return 0
  begin "building dist/libsabfs.js" dist/libsabfs.js
  "$SABFS_NODE" scripts/lib/bundle.mjs emscripten/libsabfs.js dist/libsabfs.js || die "dist/libsabfs.js is not complete"
  # For pages whose policy forbids workers made of embedded text.
  cat emscripten/{devices,relay,watch,heir,keeper}.js >dist/keeper.js
  finish dist/libsabfs.js bundle
}

# --- programs: `program` lines (scripts/lib/programs.sh, apps.sh) collect, build_programs links what is not fresh

PROGRAM_NAMES=()
declare -A PROGRAM_SOURCES PROGRAM_FLAGS

# program NAME "SOURCE…" FLAG…
program() {
  local name=$1
  PROGRAM_NAMES+=("$name")
  PROGRAM_SOURCES[$name]=$2
  shift 2
  PROGRAM_FLAGS[$name]=$*
}

# build_programs NAME…: dist/programs/NAME.js (or NAME itself if it ends in .mjs); dist/apps/… by its path, of which
# those in apps/host are the host's.
build_programs() {
  local name pid pids=() running failed=0
  for name in "$@"; do
    local output compiler=emcc
    case $name in
      apps/host/*) output=dist/$name compiler="cc -w" ;;
      apps/*) output=dist/$name.js ;;
      *.mjs) output=dist/programs/$name ;;
      *) output=dist/programs/$name.js ;;
    esac
    local inputs=() sources flags=${PROGRAM_FLAGS[$name]}
    read -ra sources <<<"${PROGRAM_SOURCES[$name]}"
    inputs=("${sources[@]}")
    for word in "${sources[@]}"; do inputs+=("$(dirname "$word")"/*.h); done
    # A program's flags name what it is linked with (archives, JS libraries, pre-js files): all of these are inputs.
    for word in $flags; do
      case $word in
        @*) inputs+=("${word#@}" dist/libsabfs.js dist/lib dist/include) ;;
        *) if [ -f "$word" ]; then inputs+=("$word"); fi ;;
      esac
    done
    fresh "$output" "$flags" "${inputs[@]}" && continue
    begin "building $output" "$output"
    {
      # shellcheck disable=SC2086
      $compiler "${sources[@]}" $flags -o "$output" 2>&1 && finish "$output" "$flags"
    } >"$DIST/.stamp/${name//\//_}.log" &
    pids+=("$!:$name")
    # emcc keeps about one core busy.
    running=$(jobs -rp | wc -l)
    if [ "$running" -ge "$(nproc)" ]; then wait -n || true; fi
  done
  for pid in "${pids[@]}"; do
    if ! wait "${pid%%:*}"; then
      failed=1
      say "--- ${pid#*:}"
    fi
    # Compiler warnings are shown even when it went well.
    name=${pid#*:}
    cat "$DIST/.stamp/${name//\//_}.log" >&2
  done
  [ $failed = 0 ] || die "a program does not build"
}

# Emscripten 6.0.x for Debian 12, out of Debian's own packages, for machines without an emsdk.
#
# The stable release's LLVM 22 packages are the compiler; Emscripten itself and binaryen come from the next release.
# These are unpacked into the cache, never installed: binaryen needs a newer libc than the system's, so that libc is
# unpacked beside it and binaryen runs through its loader.
# shellcheck shell=bash

LLVM_VERSION=22
LLVM_ROOT=/usr/lib/llvm-$LLVM_VERSION
DEBIAN_SUITE=forky
EMSCRIPTEN_PREFIX=$SABFS_CACHE/emscripten
# Goes up when the recipe below changes, so that older installations are made anew.
EMSCRIPTEN_RECIPE=1

# name, version, sha256 of the .deb: what the project is tested with.
EMSCRIPTEN_DEBS="
emscripten 6.0.5+dfsg+~1.41.5-2 24e9eecd0a6e0c25896acf7dd42ae4261ae70c0669d4a42bde595afb7e4675c2
binaryen 131-2 ff5ecf17bd23a949b6358cdde62c03397d10181d6be092bb726413e9e4277081
libc6 2.43-7 5c71715c51103beb4fbba9fe9f8dff604af6610dfa71c70bff342f54a7860803
libgcc-s1 16.2.0-3 e716dc8baad27e884c45ff83a76955047a7a9e33a80e94f9459ee996ebb800b0
libstdc++6 16.2.0-3 7c9e1a89e6c0b9202699957b469c06d0b86f5c97e86c1ff912b6502ddd8793b6
node-acorn 8.17.0+ds+~cs28.27.25-1 4c02efc399bbf36a0b51024e7d1024a5260f5edc8f8553a3ed339bcc43d3b2b3
"

# An Emscripten of the user's own (emsdk) comes first. Sets EMSCRIPTEN_KIND to own, cache or nothing.
detect_emscripten() {
  EMSCRIPTEN_KIND=
  local emcc version
  if emcc=$(PATH=${PATH//$EMSCRIPTEN_PREFIX\/bin:/} command -v emcc); then
    version=$(cat "$(dirname "$(realpath "$emcc")")/emscripten-version.txt" 2>/dev/null || "$emcc" --version)
    if [[ $version =~ (^|[^0-9.])6\.0\.[0-9]+ ]]; then
      EMSCRIPTEN_KIND=own
      return 0
    fi
    warn "$emcc is not Emscripten 6.0.x; using one in $EMSCRIPTEN_PREFIX"
  fi
  if [ "$(cat "$EMSCRIPTEN_PREFIX/done" 2>/dev/null)" = "$EMSCRIPTEN_RECIPE" ] && [ -x $LLVM_ROOT/bin/wasm-ld ]; then
    EMSCRIPTEN_KIND=cache
    return 0
  fi
  return 1
}

install_emscripten() {
  have apt-get || die "no Emscripten 6.0.x on PATH, and this system has no apt to get one with" \
    "install an emsdk: ./emsdk install 6.0.5 && ./emsdk activate 6.0.5 && source emsdk_env.sh"
  [ "$(dpkg --print-architecture)" = amd64 ] || die "the Debian recipe for Emscripten is made for amd64 only" \
    "install an emsdk: ./emsdk install 6.0.5 && ./emsdk activate 6.0.5 && source emsdk_env.sh"
  need_debian_packages "$LLVM_ROOT/bin/clang=clang-$LLVM_VERSION" "$LLVM_ROOT/bin/wasm-ld=lld-$LLVM_VERSION" \
    "$LLVM_ROOT/bin/llvm-ar=llvm-$LLVM_VERSION" /usr/bin/python3=python3 \
    /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
  step "installing Emscripten into $EMSCRIPTEN_PREFIX"
  # A configuration left in the environment would make two installations clear each other's caches.
  unset EM_CONFIG EM_CACHE
  rm -rf "$EMSCRIPTEN_PREFIX"
  mkdir -p "$EMSCRIPTEN_PREFIX"/{root,bin,binaryen/bin} "$SABFS_CACHE/debs"
  fetch_emscripten_debs
  unpack_emscripten
  printf '%s\n' "$EMSCRIPTEN_RECIPE" >"$EMSCRIPTEN_PREFIX/done"
}

# Fills DEB_FILES with one file per package: the pinned version where it can be had (cache, $SABFS_DEBS, mirror),
# else the mirror's newest one.
fetch_emscripten_debs() {
  DEB_FILES=()
  local name version sum file missing=()
  while read -r name version sum; do
    [ -n "$name" ] || continue
    if file=$(find_pinned_deb "$name" "$sum"); then DEB_FILES+=("$file"); else missing+=("$name $version $sum"); fi
  done <<<"$EMSCRIPTEN_DEBS"
  [ ${#missing[@]} -gt 0 ] || return 0
  make_private_apt "$SABFS_CACHE/apt" deb "$DEBIAN_SUITE" || die "there is no mirror to get Emscripten from" \
    "SABFS_DEBS=<folder with the .deb files> scripts/setup, or use an emsdk"
  for file in "${missing[@]}"; do
    read -r name version sum <<<"$file"
    download_deb "$name" "$version" "$sum"
  done
}

find_pinned_deb() {
  local dir file
  for dir in "$SABFS_CACHE/debs" ${SABFS_DEBS:+"$SABFS_DEBS"}; do
    for file in "$dir/$1"_*.deb; do
      if [ -f "$file" ] && [ "$(sha256sum <"$file")" = "$2  -" ]; then
        printf '%s\n' "$file"
        return 0
      fi
    done
  done
  return 1
}

download_deb() {
  local name=$1 version=$2 sum=$3 dir=$SABFS_CACHE/debs file
  if (cd "$dir" && APT_CONFIG=$SABFS_CACHE/apt/apt.conf apt-get download -qq "$name=$version") 2>/dev/null &&
    file=$(find_pinned_deb "$name" "$sum"); then
    DEB_FILES+=("$file")
    return 0
  fi
  # Debian's next release moves: its mirror keeps only the newest version.
  rm -f "$dir/$name"_*.deb
  (cd "$dir" && APT_CONFIG=$SABFS_CACHE/apt/apt.conf apt-get download -qq "$name") ||
    die "package $name could not be downloaded" "SABFS_DEBS=<folder with the .deb files> scripts/setup"
  file=$(ls "$dir/$name"_*.deb)
  warn "$name $version is not on the mirror any more: using ${file##*/}"
  DEB_FILES+=("$file")
}

unpack_emscripten() {
  local prefix=$EMSCRIPTEN_PREFIX file tool name libs loader emscripten
  for file in "${DEB_FILES[@]}"; do dpkg -x "$file" "$prefix/root"; done
  libs=$prefix/root/usr/lib/x86_64-linux-gnu
  loader=$(ls "$libs/ld-linux-x86-64.so.2" "$prefix/root/usr/lib64/ld-linux-x86-64.so.2" 2>/dev/null | head -1)
  for tool in "$prefix"/root/usr/bin/wasm*; do
    name=${tool##*/}
    make_wrapper "$prefix/binaryen/bin/$name" "exec '$loader' --argv0 $name --library-path '$libs' '$tool' \"\$@\""
  done
  emscripten=$prefix/root/usr/share/emscripten
  # Debian names its own LLVM here; the number only silences a warning.
  sed -i "s/^EXPECTED_LLVM_VERSION = .*/EXPECTED_LLVM_VERSION = $LLVM_VERSION/" "$emscripten/tools/shared.py"
  # Debian takes upstream's --no-stack-first away for its lld 21. lld 22 puts the stack first by default, so that
  # without the option it refuses --global-base.
  grep -q -- --no-stack-first "$emscripten/tools/building.py" ||
    sed -i "s/^\( *\)cmd.append('--stack-first')/&\n  else:\n    cmd.append('--no-stack-first')/" \
      "$emscripten/tools/building.py"
  cat >"$prefix/config" <<CONF
EMSCRIPTEN_ROOT = '$emscripten'
LLVM_ROOT = '$LLVM_ROOT/bin'
BINARYEN_ROOT = '$prefix/binaryen'
NODE_JS = '$(command -v node || printf '%s' "$SABFS_NODE")'
LLVM_ADD_VERSION = ''
CLANG_ADD_VERSION = ''
CACHE = '$prefix/cache'
CONF
  # Node resolves symbolic links, so acorn has to be copied to where the tools look for it.
  mkdir -p "$emscripten/node_modules"
  for name in acorn acorn-import-phases; do
    if [ -d "$prefix/root/usr/share/nodejs/$name" ]; then
      cp -rL "$prefix/root/usr/share/nodejs/$name" "$emscripten/node_modules/"
    fi
  done
  for name in emcc em++ emar emranlib emnm em-config embuilder emcmake emconfigure emmake emstrip; do
    make_wrapper "$prefix/bin/$name" "EM_CONFIG='$prefix/config' exec '$emscripten/$name' \"\$@\""
  done
}

make_wrapper() {
  printf '#!/bin/sh\n%s\n' "$2" >"$1"
  chmod +x "$1"
}

# Emscripten builds its system libraries when a program first needs them, which takes minutes: done here, so that
# the first build does not seem to hang. Also fills the system headers that bindgen reads.
warm_emscripten() { warm_libraries emscripten-warm "-O2 -pthread -sPROXY_TO_PTHREAD" -O2; }

# The libraries of other kinds of programs: with assertions, exceptions, another allocator.
warm_linking() {
  warm_libraries emscripten-warm-linking -O0 "-O0 -pthread" "-O1 -fexceptions" "-O1 -fwasm-exceptions" "-O1 -pthread -sMALLOC=mimalloc"
}

# warm_libraries MARK FLAGS…: once for each version of Emscripten and each list.
warm_libraries() {
  local mark=$SABFS_CACHE/$1 dir version flags
  shift
  version=$(emcc -dumpversion 2>/dev/null || emcc --version | head -1)
  [ "$(cat "$mark" 2>/dev/null)" = "$version" ] && [ -d "$(em-config CACHE)/sysroot" ] && return 0
  step "building Emscripten's system libraries (a few minutes, once)"
  dir=$(mktemp -d)
  printf 'int main() { return 0; }\n' >"$dir/a.cpp"
  for flags in "$@"; do
    # shellcheck disable=SC2086
    run_logged emscripten-libs em++ -sWASMFS $flags "$dir/a.cpp" -o "$dir/a.js" ||
      die "Emscripten does not build a program" "rm -r $EMSCRIPTEN_PREFIX; scripts/setup"
  done
  rm -rf "$dir"
  printf '%s\n' "$version" >"$mark"
}

# The sources of real programs that tests/apps runs: what their authors publish, which Debian's source packages carry
# unchanged beside Debian's own patches. They lie in $SABFS_CACHE/sources; scripts/lib/apps.sh unpacks and builds them.
# shellcheck shell=bash

SOURCES_SUITE=bookworm

# name, version, sha256 of the authors' archive: what the project is tested with.
APP_SOURCES="
lua5.4 5.4.4-3+deb12u1 164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61
sqlite3 3.40.1-2+deb12u2 aaa776260ab4dc976db34aa7891819484c8676b5b2783123ebc6301e2ca5d655
zlib 1:1.2.13.dfsg-1 71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1
bzip2 1.0.8-5 ab5a03176ee106d3f0fa90e381da478ddae405918153cca248e682cd0c4a2269
toybox 0.8.9+dfsg-1 16fb5967531e88ca33b8c9142376987617ebe52e34e2b3f3a779603674b7d07c
busybox 1:1.35.0-4+deb12u1 faeeb244c35a348a334f4a59e44626ee870fb07b6884d68c10ae8bc19f83a694
"

# source_archive NAME: the archive's path, if it is there: of the version above, or of what the mirror had instead.
source_archive() {
  local file
  for file in "$SABFS_CACHE/sources/$1.orig" "$SABFS_CACHE/sources/$1.newer"; do
    if [ -f "$file" ]; then
      printf '%s\n' "$file"
      return 0
    fi
  done
  return 1
}

detect_sources() {
  local name version sum
  while read -r name version sum; do
    [ -z "$name" ] || source_archive "$name" >/dev/null || return 1
  done <<<"$APP_SOURCES"
}

# What cannot be had is said, and is no reason for anything else to fail: scripts/test skips the tests then.
install_sources() {
  local name version sum
  if ! have apt-get || [ ! -f /usr/share/keyrings/debian-archive-keyring.gpg ]; then
    warn "no apt with Debian's keys to get the sources of real programs with"
    return 0
  fi
  step "fetching the sources of real programs into $SABFS_CACHE/sources"
  make_private_apt "$SABFS_CACHE/apt-sources" deb-src "$SOURCES_SUITE" || return 0
  mkdir -p "$SABFS_CACHE/sources"
  while read -r name version sum; do
    [ -z "$name" ] || source_archive "$name" >/dev/null || download_source "$name" "$version" "$sum" ||
      warn "the source of $name could not be downloaded"
  done <<<"$APP_SOURCES"
}

# apt compares what it gets with the mirror's signed lists.
download_source() {
  local name=$1 version=$2 sum=$3 dir file spec target
  dir=$(mktemp -d)
  for spec in "$name=$version" "$name"; do
    (cd "$dir" && APT_CONFIG=$SABFS_CACHE/apt-sources/apt.conf \
      run_logged "apt-source-$name" apt-get source -qq --download-only --tar-only "$spec") && break
    rm -f "$dir"/*
  done
  # Some have a second archive, as of their documentation.
  file=$(ls "$dir/${name}"_*.orig.tar.* 2>/dev/null | head -1)
  target=$SABFS_CACHE/sources/$name.orig
  if [ -n "$file" ] && [ "$(sha256sum <"$file")" != "$sum  -" ]; then
    warn "$name $version is not on the mirror any more: using ${file##*/}"
    target=$SABFS_CACHE/sources/$name.newer
  fi
  [ -z "$file" ] || mv "$file" "$target"
  rm -rf "$dir"
  [ -n "$file" ]
}

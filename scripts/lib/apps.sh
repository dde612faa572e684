# Real programs, for tests/apps: linked as users link theirs, with threads (NAME-mt) and without (NAME-st), into
# dist/apps, and compiled for this machine into dist/apps/host. The sources (scripts/lib/setup-sources.sh) are as their
# authors published them; what is chosen here are compilers' options and the programs' own settings.
# shellcheck shell=bash

APPS=(lua sqlite)
APP_FOLDER=dist/apps/sources
# shellcheck source=setup-sources.sh
. scripts/lib/setup-sources.sh

# prepare_apps APP…: puts into APP_NAMES what build_programs then builds.
prepare_apps() {
  local app
  APP_NAMES=()
  mkdir -p dist/apps/host $APP_FOLDER
  for app in "$@"; do "app_$app"; done
}

# unpack FOLDER PACKAGE: the package's source, in dist/apps/sources/FOLDER.
unpack() {
  local folder=$APP_FOLDER/$1 archive
  archive=$(source_archive "$2") || die "the source of $2 is not there" "scripts/setup apps"
  fresh "$folder" unpacked "$archive" && return 0
  begin "unpacking $folder" "$folder"
  rm -rf "$folder"
  mkdir -p "$folder"
  # As new as they are here, so that programs are made again when there is another version.
  tar -xmf "$archive" -C "$folder" --strip-components=1 || die "$archive is not an archive"
  finish "$folder" unpacked
}

# app NAME "SOURCE…" FLAG…: the three programs of it, with these flags for each; ON_VOLUME has those for /opfs alone.
app() {
  local name=$1 sources=$2
  shift 2
  program_on_volume "$name" "$sources" "$@"
  program_of_app "apps/host/$name" "$sources" -O2 "$@"
}

program_on_volume() {
  local name=$1 sources="$2 tests/apps/start_folder.c"
  shift 2
  program_of_app "apps/$name-mt" "$sources" $MT -w "$@" ${ON_VOLUME:-}
  program_of_app "apps/$name-st" "$sources" $ST -w -sALLOW_MEMORY_GROWTH "$@" ${ON_VOLUME:-}
}

program_of_app() {
  APP_NAMES+=("$1")
  PROGRAM_SOURCES[$1]=$2
  PROGRAM_FLAGS[$1]="${*:3}"
}

app_lua() {
  unpack lua lua5.4
  local sources
  sources=$(echo $APP_FOLDER/lua/src/*.c)
  # luac has a main of its own.
  app lua "${sources/ $APP_FOLDER\/lua\/src\/luac.c/}" -DLUA_USE_POSIX -DLUA_COMPAT_5_3 -lm
}

# SQLite's own test of speed, by its --verify also of what comes out, with the SQLite that the other tests have.
app_sqlite() {
  unpack sqlite sqlite3
  build_sqlite $SQLITE_OBJECT emcc -O2 -pthread
  build_sqlite dist/sqlite/sqlite3-st.o emcc -O2
  build_sqlite dist/sqlite/sqlite3-host.o cc -O2
  local name source
  for name in speedtest1 sqlite-sums; do
    source=$APP_FOLDER/sqlite/test/speedtest1.c
    [ $name = speedtest1 ] || source=tests/apps/sqlite_sums.c
    program_of_app "apps/$name-mt" "$source tests/apps/start_folder.c" $MT -w $SQLITE
    program_of_app "apps/$name-st" "$source tests/apps/start_folder.c" $ST -w -sALLOW_MEMORY_GROWTH -Idist/sqlite dist/sqlite/sqlite3-st.o
    program_of_app "apps/host/$name" "$source" -O2 -Idist/sqlite dist/sqlite/sqlite3-host.o -lm -lpthread -ldl
  done
}

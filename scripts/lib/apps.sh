# Real programs, for tests/apps: linked as users link theirs, with threads (NAME-mt) and without (NAME-st), into
# dist/apps, and compiled for this machine into dist/apps/host. The sources (scripts/lib/setup-sources.sh) are as their
# authors published them; what is chosen here are compilers' options and the programs' own settings.
# shellcheck shell=bash

APPS=(lua sqlite zlib bzip2 toybox busybox)
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
  # Its own test of threads.
  program_of_app apps/threadtest3-mt "$APP_FOLDER/sqlite/test/threadtest3.c $APP_FOLDER/sqlite/src/test_multiplex.c tests/apps/start_folder.c" \
    $MT -w -sPTHREAD_POOL_SIZE=16 -sINITIAL_MEMORY=256MB -I$APP_FOLDER/sqlite/src $SQLITE
}

# What its `make test` runs: example with a file, minigzip, and infcover.
app_zlib() {
  unpack zlib zlib
  local folder=$APP_FOLDER/zlib library
  library=$(echo $folder/*.c)
  app zlib-example "$library $folder/test/example.c" -I$folder -DHAVE_UNISTD_H
  app minigzip "$library $folder/test/minigzip.c" -I$folder -DHAVE_UNISTD_H
  app infcover "$library $folder/test/infcover.c" -I$folder -DHAVE_UNISTD_H
}

# With the files of its own test on the volume.
app_bzip2() {
  unpack bzip2 bzip2
  local folder=$APP_FOLDER/bzip2 name sources= files=
  for name in blocksort huffman crctable randtable compress decompress bzlib bzip2; do sources+=" $folder/$name.c"; done
  for name in 1 2 3; do
    files+=" --preload-file $folder/sample$name.ref@/opfs/sample$name.ref --preload-file $folder/sample$name.bz2@/opfs/sample$name.bz2"
  done
  ON_VOLUME=$files app bzip2 "$sources" -D_FILE_OFFSET_BITS=64
}

# Its own build makes the program for this machine and the headers that say which commands there are.
app_toybox() {
  unpack toybox toybox
  local folder=$APP_FOLDER/toybox output=dist/apps/host/toybox config=$PWD/tests/apps/toybox.config sources
  if ! fresh $output make $config $folder/toys $folder/lib; then
    begin "building $output" $output
    (
      cd $folder
      KCONFIG_ALLCONFIG=$config run_logged toybox-config make allnoconfig HOSTCC=cc &&
        CFLAGS=-w run_logged toybox-make make toybox CC=cc HOSTCC=cc
    ) || die "toybox does not build"
    install -m 755 $folder/toybox $output
    finish $output make
  fi
  sources=$(sed -n 's/^\$BUILD \(.*\) \$LINK.*/\1/p' $folder/generated/build.sh)
  sources=$(cd $folder && printf "$folder/%s " $sources)
  # It knows systems by their names. Emscripten's _exit() does not end a program whose main() runs in a thread, exit() does.
  # It calls functions by pointers of other types, and counts on more than 64 KiB of stack. The header is named so
  # that it is an input.
  program_on_volume toybox "$sources" -I$folder -Itests/apps/include -D__linux__ -D_exit=exit -funsigned-char -include $folder/generated/config.h \
    -O1 -sEMULATE_FUNCTION_POINTER_CASTS -sSTACK_SIZE=1MB -sINITIAL_MEMORY=512MB
}

# As toybox: its own build makes the program for this machine, the headers, and says which of its files are in the program.
app_busybox() {
  unpack busybox busybox
  local folder=$APP_FOLDER/busybox output=dist/apps/host/busybox config=$PWD/tests/apps/busybox.config sources
  if ! fresh $output make $config $folder/Makefile; then
    begin "building $output" $output
    (
      cd $folder
      # Nothing, then what is chosen, then no to every question that comes up by that.
      run_logged busybox-none make allnoconfig HOSTCC=cc &&
        awk -F '[ =]' '{ name = /^# CONFIG_/ ? $2 : $1 } !/CONFIG_/ || !told[name]++' "$config" .config >.config.new &&
        mv .config.new .config &&
        run_logged busybox-config make oldconfig HOSTCC=cc < <(yes n) &&
        run_logged busybox-make make busybox "CC=cc -w" HOSTCC=cc
    ) || die "busybox does not build"
    install -m 755 $folder/busybox $output
    finish $output make
  fi
  sources=$(sed -n 's,^\([^ ]*\)/lib\.a(\([^ ]*\)\.o).*,\1/\2.c,p' $folder/busybox_unstripped.map | sort -u)
  # The one more that it has where a long has 32 bits.
  sources=$(printf "$folder/%s " $sources libbb/bb_bswap_64.c)
  program_on_volume busybox "$sources" -I$folder/include -D_GNU_SOURCE -DNDEBUG '-DBB_VER="1.35.0"' -D_exit=exit -funsigned-char \
    -include $folder/include/autoconf.h -O1
}

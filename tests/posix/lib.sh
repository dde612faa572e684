# Shared by the suites in this folder: mounts that never outlive the suite, time limits, a case's result.
#
# A suite is a script that runs on its own:
#
#   tests/posix/git.sh                   on a volume of SABFS, mounted with target/release/sabfs
#   POSIX_FS=tmpfs tests/posix/git.sh    on the kernel's tmpfs, to see whether the suite or SABFS is at fault
#
# It must be run as root. Results are lines as `pass`, a tab and the case's name, in the file POSIX_REPORT when it is
# given; the exit code is 0 when no case failed.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"

POSIX_FS=${POSIX_FS:-sabfs}
SABFS_BIN=${SABFS_BIN:-$SABFS_ROOT/target/release/sabfs}
SUITE=$(basename "$0" .sh)
PASSED=0 FAILED=0 SKIPPED=0
MOUNT=
# By mount point: the process that serves it, for mounts of SABFS only.
declare -A SERVERS=()

# The tools that scripts/setup compiled.
PATH=$PATH:$SABFS_CACHE/cargo/bin

# Not $TMPDIR: pjdfstest cannot count in paths of some lengths, and Unix sockets have short names.
WORK=$(mktemp -d "${POSIX_WORK:-/tmp}/sabfs-$SUITE.XXXXXX")
# Some suites act as other users, who must get to the mount.
chmod 755 "$WORK"

record_case() {
  if [ -n "${POSIX_REPORT:-}" ]; then printf '%s\t%s\n' "$1" "$2" >>"$POSIX_REPORT"; fi
}
pass() { PASSED=$((PASSED + 1)); record_case pass "$SUITE: $1"; }
# fail NAME REASON
fail() { FAILED=$((FAILED + 1)); record_case fail "$SUITE: $1: $2"; echo "FAIL $SUITE: $1: $2"; }
# skip NAME REASON
skip() { SKIPPED=$((SKIPPED + 1)); record_case skip "$SUITE: $1: $2"; echo "skip $SUITE: $1: $2"; }

# within SECONDS COMMAND…: the command with a time limit, in a process group of its own that is ended with it.
within() {
  local limit=$1
  shift
  if [ -n "${SABFS_LONG+set}" ]; then limit=$((limit * 6)); fi
  timeout --kill-after=10 "$limit" "$@"
}

# verify NAME SECONDS COMMAND…: a command as a case. What it prints is shown when it fails.
verify() {
  local name=$1 limit=$2 code=0 log
  shift 2
  log=$WORK/${name//[^a-zA-Z0-9]/-}.log
  within "$limit" "$@" >"$log" 2>&1 || code=$?
  if [ $code = 0 ]; then pass "$name"; return 0; fi
  tail -n 30 "$log" | sed 's/^/    /'
  fail "$name" "$(why $code "$log")"
  return 1
}

# why CODE FILE: a reason in one line.
why() {
  case $1 in
    124 | 137) echo "the time limit was reached" ;;
    *) echo "code $1: $(grep -v '^[[:space:]]*$' "$2" | tail -n 1 | cut -c1-160)" ;;
  esac
}

# need TOOL…: without them the suite is skipped.
need() {
  local tool
  for tool in "$@"; do
    have "$tool" && continue
    skip all "$tool is not there (scripts/setup posix-native)"
    exit 0
  done
}

# mount_volume NAME [OPTION…]: an empty file system of 2 GiB at $MOUNT. The options are those of `sabfs mount`; for
# tmpfs they are left out.
mount_volume() {
  local options=()
  if [ "$POSIX_FS" = sabfs ]; then options=(--memory 2G --check-at-exit "${@:2}"); fi
  mount_at "$1" "${options[@]}"
}

# mount_at NAME ARGUMENT…: a mount at $MOUNT of what the arguments before the mount point say: `--memory 2G`, or the
# folder of a volume first.
mount_at() {
  local name=$1 deadline=$((SECONDS + 30)) pid volume=()
  shift
  MOUNT=$WORK/$name
  mkdir -p "$MOUNT"
  if [ "$POSIX_FS" = tmpfs ]; then
    mount -t tmpfs -o size=2G,mode=755 sabfs-posix "$MOUNT"
    return
  fi
  # A volume's folder comes before the mount point, options after it.
  if [ $# -gt 0 ] && [[ $1 != -* ]]; then volume=("$1"); shift; fi
  : >"$WORK/$name.out"
  "$SABFS_BIN" mount "${volume[@]}" "$MOUNT" "$@" >"$WORK/$name.out" 2>"$WORK/$name.err" &
  pid=$!
  SERVERS[$MOUNT]=$pid
  until grep -q ^mounted "$WORK/$name.out"; do
    if ! kill -0 $pid 2>/dev/null || [ $SECONDS -ge $deadline ]; then
      sed 's/^/    /' "$WORK/$name.err"
      fail "mount $name" "there is no mount: $(tail -n 1 "$WORK/$name.err")"
      exit 1
    fi
    sleep 0.05
  done
}

# unmount_volume NAME: ends the mount. What `--check-at-exit` says is a case.
unmount_volume() {
  local name=$1 deadline=$((SECONDS + 60)) code=0 pid
  local dir=$WORK/$name
  if [ "$POSIX_FS" = tmpfs ]; then
    umount "$dir" || fail "unmount $name" "umount: code $?"
    return
  fi
  pid=${SERVERS[$dir]}
  kill -TERM "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ]; then
      fail "check $name" "the process did not end within a minute of SIGTERM"
      end_mount "$dir"
      return
    fi
    sleep 0.05
  done
  wait "$pid" || code=$?
  unset "SERVERS[$dir]"
  if mountpoint -q "$dir"; then
    fail "check $name" "the process ended and left its mount"
    end_mount "$dir"
  elif [ $code != 0 ]; then
    sed 's/^/    /' "$WORK/$name.err" | head -n 20
    fail "check $name" "code $code: $(head -n 1 "$WORK/$name.err")"
  else
    pass "check $name"
  fi
}

# Whatever the state of the mount: without its process all of its users get an error, and nothing waits for ever.
end_mount() {
  local pid=${SERVERS[$1]:-}
  if [ -n "$pid" ]; then
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    unset "SERVERS[$1]"
  fi
  umount -l "$1" 2>/dev/null || true
}

end_suite() {
  local code=$? dir
  trap - EXIT
  # Deepest first, as mounts lie in mounts.
  while read -r dir; do end_mount "$dir"; done < <(findmnt -rno TARGET | grep -F "$WORK/" | sort -r)
  for dir in "${!SERVERS[@]}"; do end_mount "$dir"; done
  rm -rf --one-file-system "$WORK"
  echo "$SUITE on $POSIX_FS: $PASSED passed, $FAILED failed, $SKIPPED skipped ($SECONDS s)"
  # shellcheck disable=SC2181
  if [ $code = 0 ] && [ $FAILED -gt 0 ]; then code=1; fi
  exit $code
}
trap end_suite EXIT
trap 'exit 130' INT TERM

if ! is_root; then skip all "it needs root"; exit 0; fi
if [ "$POSIX_FS" = sabfs ] && [ ! -c /dev/fuse ]; then skip all "there is no /dev/fuse"; exit 0; fi
need findmnt mountpoint

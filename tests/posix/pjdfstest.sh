#!/bin/bash
# pjdfstest, in both permission modes: the kernel's checks (`default_permissions`) and the volume's own. Each of its
# cases is a case; what is skipped on tmpfs too, as it is about other systems, is skipped here.
. "$(dirname "$0")/lib.sh"
need pjdfstest mount

# How many of its 398 cases there are to pass on a Linux file system, without those that remount it read-only.
DEMANDED=384

configure() {
  cat >"$WORK/pjdfstest.toml" <<TEXT
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
stat_st_birthtime = {}
[settings]
# Longer than a tick of the kernel's clock, which tmpfs takes its times from.
naptime = 0.02
allow_remount = $1
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
TEXT
}

# run LOG [PATTERN]: as `KIND name` lines, with the line after it as the reason.
run() {
  local log=$1
  shift
  RUST_BACKTRACE=0 NO_COLOR=1 within 120 pjdfstest -c "$WORK/pjdfstest.toml" -p "$MOUNT" -s "$WORK/second" "$@" \
    >"$log" 2>&1 || true
}

# outcomes LOG: KIND, a tab, the name, a tab, the reason.
outcomes() {
  awk '
    function out() { if (name != "") print kind "\t" name "\t" reason; name = "" }
    /^[a-z_0-9]+::[^ ]* +(ok|FAILED|skipped)$/ { out(); name = $1; kind = $2; reason = ""; next }
    /^\t/ && name != "" && reason == "" { sub(/^\t/, ""); reason = $0 }
    END { out() }' "$1"
}

# The suite remounts with `mount`, which would hand a FUSE mount to the program that its type names.
mkdir "$WORK/bin"
printf '#!/bin/sh\nexec %q --internal-only "$@"\n' "$(command -v mount)" >"$WORK/bin/mount"
chmod +x "$WORK/bin/mount"
PATH=$WORK/bin:$PATH

mkdir "$WORK/second"
mount -t tmpfs -o size=64M,mode=755 sabfs-posix "$WORK/second"
configure false

# What can be skipped is what tmpfs skips.
FS=$POSIX_FS
POSIX_FS=tmpfs
mount_volume tmpfs
run "$WORK/tmpfs.log"
outcomes "$WORK/tmpfs.log" >"$WORK/tmpfs.outcomes"
unmount_volume tmpfs
POSIX_FS=$FS

judge() {
  local mode=$1 kind name reason passed=0
  while IFS=$'\t' read -r kind name reason; do
    case $kind in
      ok) pass "$mode: $name"; passed=$((passed + 1)) ;;
      FAILED) fail "$mode: $name" "$reason" ;;
      skipped)
        case $name in
          *::erofs_*) ;; # They run in remounts, below.
          *)
            if grep -q "^skipped"$'\t'"$name"$'\t' "$WORK/tmpfs.outcomes"; then
              skip "$mode: $name" "$reason"
            else
              fail "$mode: $name" "skipped, yet not on tmpfs: $reason"
            fi ;;
        esac ;;
    esac
  done < <(outcomes "$2")
  echo "$mode: $passed passed"
  return $((passed < $3))
}

# A process of its own: an earlier case leaves a file open that is being written to, which keeps the mount busy.
remounts() {
  configure true
  run "$WORK/$1-remounts.log" erofs
  judge "$1 remounts" "$WORK/$1-remounts.log" 13 || fail "$1 remounts" "fewer than 13 cases passed"
  configure false
}

for mode in kernel volume; do
  mount_volume "pjd-$mode" --permissions $mode
  run "$WORK/$mode.log"
  if judge $mode "$WORK/$mode.log" $DEMANDED; then
    pass "$mode: at least $DEMANDED passed"
  else
    tail -n 5 "$WORK/$mode.log" | sed 's/^/    /'
    fail "$mode" "fewer than $DEMANDED cases passed"
  fi
  remounts $mode
  unmount_volume "pjd-$mode"
  # tmpfs has no modes.
  if [ "$POSIX_FS" = tmpfs ]; then break; fi
done

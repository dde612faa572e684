#!/bin/bash
# stress-ng: every stressor of the class `filesystem`, two at a time, with their own verification. A case each. What
# fails is run on tmpfs, too: what fails there cannot be asked of a file system, and is skipped.
. "$(dirname "$0")/lib.sh"
need stress-ng

DURATION=1
if [ -n "${SABFS_LONG+set}" ]; then DURATION=10; fi

# stress NAME FOLDER LOG
stress() {
  within 40 stress-ng "--$1" 2 --timeout ${DURATION}s --verify --temp-path "$2" >"$3" 2>&1
}

# fault LOG: the line that says what went wrong.
fault() { grep -E 'fail:|error:|skipp' "$1" | head -n 1 | sed -E 's/^stress-ng: *//; s/\[[0-9]+\] *//' | cut -c1-200; }

mkdir "$WORK/tmpfs"
mount -t tmpfs -o size=2G,mode=755 sabfs-posix "$WORK/tmpfs"
mount_volume stress

# Not these: they do not use the folder that they are given.
#   binderfs mounts another file system.
read -ra STRESSORS < <(stress-ng --class 'filesystem?' | sed 's/.*: //')
for name in "${STRESSORS[@]}"; do
  code=0
  stress "$name" "$MOUNT" "$WORK/log" || code=$?
  # 0 with `skipping`, 3 and 4: the stressor found nothing that it can use.
  if [ $code = 0 ] && ! grep -q 'skipping stress' "$WORK/log"; then
    pass "$name"
    continue
  fi
  other=0
  stress "$name" "$WORK/tmpfs" "$WORK/log.tmpfs" || other=$?
  if [ $other != 0 ] || grep -q 'skipping stress' "$WORK/log.tmpfs"; then
    reason=$(fault "$WORK/log.tmpfs")
    skip "$name" "not on tmpfs either: ${reason:-code $other}"
  else
    sed 's/^/    /' "$WORK/log" | tail -n 12
    reason=$(fault "$WORK/log")
    fail "$name" "${reason:-$(why $code "$WORK/log")}"
  fi
done
umount "$WORK/tmpfs"
unmount_volume stress

#!/bin/bash
# fsx: random operations on one file, by system calls and through memory maps, each read compared with what it must be.
. "$(dirname "$0")/lib.sh"
need fsx

OPERATIONS=100000
if [ -n "${SABFS_LONG+set}" ]; then OPERATIONS=1000000; fi

# Without a least size it asks now and then to reserve 0 bytes, which is EINVAL everywhere.
cat >"$WORK/fsx.toml" <<'TEXT'
[opsize]
min = 1

[weights]
close_open = 1.0
invalidate = 1.0
mapread = 5.0
mapwrite = 5.0
read = 10.0
write = 10.0
truncate = 5.0
fsync = 0.5
fdatasync = 0.5
posix_fallocate = 3.0
punch_hole = 3.0
sendfile = 2.0
posix_fadvise = 1.0
copy_file_range = 5.0
TEXT

mount_volume fsx
# At once, each on a file of its own.
PIDS=()
for seed in 1 2 3; do
  within 400 fsx -q -f "$WORK/fsx.toml" -N $OPERATIONS -S $seed -P "$WORK" "$MOUNT/file-$seed" >"$WORK/$seed.log" 2>&1 &
  PIDS+=($!)
done
for seed in 1 2 3; do
  code=0
  wait "${PIDS[$((seed - 1))]}" || code=$?
  if [ $code = 0 ]; then
    pass "$OPERATIONS operations, seed $seed"
  else
    tail -n 30 "$WORK/$seed.log" | sed 's/^/    /'
    fail "$OPERATIONS operations, seed $seed" "$(why $code "$WORK/$seed.log")"
  fi
done
unmount_volume fsx

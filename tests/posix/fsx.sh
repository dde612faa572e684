#!/bin/bash
# fsx: random operations on one file, by system calls and through memory maps, each read compared with what it must be.
. "$(dirname "$0")/lib.sh"
need fsx

OPERATIONS=100000
# One after the other: fsx keeps all its memory maps, which makes it slower and slower, on every file system.
RUNS=1
if [ -n "${SABFS_LONG+set}" ]; then RUNS=10; fi

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
# All runs on one file, each with a seed of its own.
runs_of() {
  local seed=$1 run
  for ((run = 0; run < RUNS; run++)); do
    echo "run $run"
    within 400 fsx -q -f "$WORK/fsx.toml" -N $OPERATIONS -S $((seed + 3 * run)) -P "$WORK" "$MOUNT/file-$seed" || return
  done
}
# At once, each on a file of its own.
PIDS=()
for seed in 1 2 3; do
  runs_of $seed >"$WORK/$seed.log" 2>&1 &
  PIDS+=($!)
done
for seed in 1 2 3; do
  code=0
  wait "${PIDS[$((seed - 1))]}" || code=$?
  if [ $code = 0 ]; then
    pass "$RUNS x $OPERATIONS operations, seed $seed"
  else
    tail -n 30 "$WORK/$seed.log" | sed 's/^/    /'
    fail "$RUNS x $OPERATIONS operations, seed $seed" "$(why $code "$WORK/$seed.log")"
  fi
done
unmount_volume fsx

#!/bin/bash
# fio: writes blocks that carry their own checksum, and reads them again.
. "$(dirname "$0")/lib.sh"
need fio

SIZE=32m
if [ -n "${SABFS_LONG+set}" ]; then SIZE=256m; fi

# job NAME OPTION…
job() {
  local name=$1
  shift
  verify "$name" 120 fio --name="$name" --directory="$MOUNT" --size=$SIZE --verify=crc32c --do_verify=1 \
    --verify_fatal=1 --verify_dump=0 --verify_state_save=0 --randrepeat=1 --end_fsync=1 "$@" || true
  rm -f "$MOUNT/$name".*
}

mount_volume fio
job sequential --rw=write --bs=128k --ioengine=psync
job random --rw=randwrite --bs=4k --ioengine=psync
job random-unaligned --rw=randwrite --bs=512-16k --bs_unaligned=1 --ioengine=psync
job mixed-sizes --rw=randwrite --bsrange=1k-256k --ioengine=psync --numjobs=2
job mapped --rw=randwrite --bs=4k --ioengine=mmap
job reserved --rw=randwrite --bs=8k --fallocate=posix --ioengine=psync
job sparse --rw=randwrite --bs=4k --fallocate=none --filesize=1g --io_size=16m --ioengine=psync
job libaio --rw=randwrite --bs=16k --iodepth=16 --ioengine=libaio
job threads --rw=randrw --bs=4k --thread --numjobs=4 --size=8m --ioengine=psync
unmount_volume fio

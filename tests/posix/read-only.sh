#!/bin/bash
# A read-only mount: every kind of change says so and does nothing, and everything can be read.
. "$(dirname "$0")/lib.sh"
need setfattr setfacl fallocate

V=$WORK/volume
fill() {
  echo content >"$MOUNT/file"
  mkdir -p "$MOUNT/dir/empty"
  ln -s file "$MOUNT/link"
  ln "$MOUNT/file" "$MOUNT/dir/hard-link"
  mkfifo "$MOUNT/fifo"
  setfattr -n user.text -v hello "$MOUNT/file"
  setfacl -m u:1000:rx "$MOUNT/dir"
  head -c 1000000 /dev/urandom >"$MOUNT/large"
  cp "$MOUNT/large" "$WORK/large"
}

if [ "$POSIX_FS" = tmpfs ]; then
  mount_volume read-only
  fill
  mount -o remount,ro "$MOUNT"
else
  "$SABFS_BIN" mkfs "$V" >"$WORK/mkfs.log" 2>&1 || true
  mount_at writable "$V" --check-at-exit
  fill
  unmount_volume writable
  before=$(find "$V" -type f -exec sha256sum {} + | sort)
  mount_at read-only "$V" --read-only
fi
export MOUNT WORK

# refused NAME COMMAND: a change, which must say EROFS.
refused() {
  local code=0
  within 20 bash -c "$2" >"$WORK/log" 2>&1 || code=$?
  if [ $code = 0 ]; then
    fail "$1" "it was done"
  elif grep -q 'Read-only file system' "$WORK/log"; then
    pass "$1"
  else
    fail "$1" "$(why $code "$WORK/log")"
  fi
}

refused "a new file" ': >"$MOUNT/new"'
refused "mkdir" 'mkdir "$MOUNT/new"'
refused "symlink" 'ln -s x "$MOUNT/new"'
refused "link" 'ln "$MOUNT/file" "$MOUNT/new"'
refused "mkfifo" 'mkfifo "$MOUNT/new"'
refused "mknod" 'mknod "$MOUNT/new" c 1 3'
refused "unlink" 'rm -f "$MOUNT/file"'
refused "rmdir" 'rmdir "$MOUNT/dir/empty"'
refused "rename" 'mv -T "$MOUNT/file" "$MOUNT/other"'
refused "rename over" 'mv -fT "$MOUNT/file" "$MOUNT/large"'
refused "opening for writing" 'exec 3<>"$MOUNT/file"'
refused "appending" 'echo x >>"$MOUNT/file"'
refused "truncating at opening" ': >"$MOUNT/file"'
refused "truncate" 'truncate -s 1 "$MOUNT/file"'
refused "fallocate" 'fallocate -l 1M "$MOUNT/file"'
refused "chmod" 'chmod 600 "$MOUNT/file"'
refused "chown" 'chown 1:1 "$MOUNT/file"'
refused "chown of a symlink" 'chown -h 1:1 "$MOUNT/link"'
refused "times" 'touch -d 2001-01-01 "$MOUNT/file"'
refused "times of now" 'touch -c "$MOUNT/file"'
refused "a new attribute" 'setfattr -n user.new -v x "$MOUNT/file"'
refused "removing an attribute" 'setfattr -x user.text "$MOUNT/file"'
refused "an access control list" 'setfacl -m u:1001:r "$MOUNT/file"'

# reads NAME CONDITION
reads() { verify "$1" 20 bash -euo pipefail -c "$2" || true; }
reads "reading" '[ "$(cat "$MOUNT/file")" = content ] && cmp "$MOUNT/large" "$WORK/large"'
reads "a list" '[ "$(ls "$MOUNT" | tr "\n" " ")" = "dir fifo file large link " ]'
reads "a symlink" '[ "$(cat "$MOUNT/link")" = content ]'
reads "attributes of the inode" '[ "$(stat -c %h:%F "$MOUNT/file")" = "2:regular file" ]'
reads "an attribute" '[ "$(getfattr --only-values -n user.text "$MOUNT/file")" = hello ]'
reads "a list of rights" 'getfacl -ncp "$MOUNT/dir" | grep -q "^user:1000:r-x"'
reads "no access that would write" '[ -r "$MOUNT/file" ] && [ ! -w "$MOUNT/file" ]'
reads "a lock" 'exec 3<"$MOUNT/file" && flock -n 3'
reads "fsync" 'sync "$MOUNT/file"'

unmount_volume read-only
if [ "$POSIX_FS" = sabfs ]; then
  if [ "$(find "$V" -type f -exec sha256sum {} + | sort)" = "$before" ]; then
    pass "the volume's files are the same"
  else
    fail "the volume's files are the same" "they have changed"
  fi
fi

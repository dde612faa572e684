#!/bin/bash
# overlayfs with its upper and work directories on the volume: it needs whiteouts, opaque directories, files without a
# name and `trusted.` attributes, and says in the kernel's log what it misses.
. "$(dirname "$0")/lib.sh"
need mount getfattr

if ! grep -qw overlay /proc/filesystems && ! modprobe overlay 2>/dev/null; then
  skip all "this kernel has no overlayfs"
  exit 0
fi

mount_volume overlay
mkdir "$WORK/lower" "$WORK/merged" "$MOUNT/upper" "$MOUNT/work"
mkdir -p "$WORK/lower/dir/sub" "$WORK/lower/gone"
echo lower >"$WORK/lower/file"
echo lower >"$WORK/lower/dir/file"
echo lower >"$WORK/lower/dir/sub/file"
echo lower >"$WORK/lower/gone/file"
chmod 640 "$WORK/lower/file"
chown 3:4 "$WORK/lower/file"

kernel_log() { dmesg 2>/dev/null | grep -i overlay | tail -n 5; }
before=$(dmesg 2>/dev/null | wc -l)
if ! mount -t overlay sabfs-posix -o "lowerdir=$WORK/lower,upperdir=$MOUNT/upper,workdir=$MOUNT/work,redirect_dir=off,index=off,metacopy=off" \
  "$WORK/merged" 2>"$WORK/mount.log"; then
  kernel_log | sed 's/^/    /'
  fail mount "$(tail -n 1 "$WORK/mount.log")"
  unmount_volume overlay
  exit 1
fi
pass mount
# What it misses it does without, and says so in its log only.
missed=$(dmesg 2>/dev/null | tail -n +$((before + 1)) | grep -iE 'overlay.*(fail|not support|missing|falling)' || true)
if grep -q 'does not support tmpfile' <<<"$missed"; then
  # The FUSE library has no such request; overlayfs makes a name in its work directory instead.
  skip "files without a name" "the kernel says: ${missed##*overlayfs: }"
  missed=$(grep -v 'does not support tmpfile' <<<"$missed" || true)
fi
if [ -z "$missed" ]; then pass "nothing else is missing"; else fail "nothing else is missing" "$missed"; fi
M=$WORK/merged U=$MOUNT/upper

# holds NAME CONDITION: a shell condition as a case.
holds() { verify "$1" 20 bash -euo pipefail -c "$2" || true; }
export M U

holds "what is below is seen" '[ "$(cat "$M/file")" = lower ] && [ "$(ls "$M")" = "$(printf "dir\nfile\ngone")" ]'
holds "copy-up" 'echo more >>"$M/file" && [ "$(cat "$U/file")" = "$(printf "lower\nmore")" ] && [ "$(stat -c %a:%u:%g "$U/file")" = 640:3:4 ]'
holds "copy-up of a directory's attributes" 'chmod 700 "$M/dir" && [ "$(stat -c %a "$U/dir")" = 700 ]'
holds "a new file" 'echo new >"$M/dir/new" && [ "$(cat "$U/dir/new")" = new ]'
holds "a whiteout" 'rm "$M/dir/file" && [ ! -e "$M/dir/file" ] && [ "$(stat -c %t:%T "$U/dir/file")" = 0:0 ] && [ -c "$U/dir/file" ]'
holds "a file over a whiteout" 'echo again >"$M/dir/file" && [ "$(cat "$M/dir/file")" = again ] && [ -f "$U/dir/file" ]'
holds "a directory that is removed" 'rm -r "$M/gone" && [ ! -e "$M/gone" ] && [ -c "$U/gone" ]'
holds "an opaque directory" 'mkdir "$M/gone" && [ -z "$(ls -A "$M/gone")" ] && [ "$(getfattr --only-values -n trusted.overlay.opaque "$U/gone")" = y ]'
holds "rename of a file" 'mv "$M/file" "$M/moved" && [ "$(cat "$M/moved")" = "$(printf "lower\nmore")" ] && [ ! -e "$M/file" ] && [ -c "$U/file" ]'
holds "rename of a directory, as a copy" 'mv "$M/dir/sub" "$M/sub" && [ "$(cat "$M/sub/file")" = lower ] && [ ! -e "$M/dir/sub" ]'
holds "rename of a new directory" 'mkdir "$M/d1" && echo x >"$M/d1/x" && mv "$M/d1" "$M/d2" && [ "$(cat "$M/d2/x")" = x ] && [ ! -e "$U/d1" ]'
holds "hard link" 'ln "$M/moved" "$M/linked" && [ "$(stat -c %h "$M/linked")" = 2 ]'
holds "symlink" 'ln -s moved "$M/symlink" && [ "$(readlink "$M/symlink")" = moved ]'
holds "a file without a name" 'exec 3>"$M/temporary" && rm "$M/temporary" && echo x >&3'
holds "attributes" 'setfattr -n user.a -v b "$M/moved" && [ "$(getfattr --only-values -n user.a "$M/moved")" = b ]'
holds "a map that is written to" 'cp /bin/ls "$M/ls" && "$M/ls" / >/dev/null'
umount "$M"
# A second mount sees the same.
mount -t overlay sabfs-posix -o "lowerdir=$WORK/lower,upperdir=$MOUNT/upper,workdir=$MOUNT/work,redirect_dir=off,index=off" "$M" &&
  holds "mounted anew" '[ ! -e "$M/file" ] && [ "$(cat "$M/sub/file")" = lower ] && [ -z "$(ls -A "$M/gone")" ]'
umount "$M" || true
unmount_volume overlay

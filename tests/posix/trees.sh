#!/bin/bash
# Trees in and out: rsync with hard links, access control lists and attributes; tar with the same.
. "$(dirname "$0")/lib.sh"
need rsync tar setfacl setfattr

SHARE_LIMIT_MB=${SHARE_LIMIT_MB:-300}

# Everything that an entry can have.
make_tree() {
  local i
  mkdir -p "$1"/{empty,deep/a/b/c/d/e/f/g,sticky,setgid,names,many}
  chmod 1777 "$1/sticky"
  chmod 2775 "$1/setgid"
  chown 1:2 "$1/setgid"
  echo small >"$1/file"
  head -c 3000000 /dev/urandom >"$1/large"
  : >"$1/nothing"
  truncate -s 64M "$1/sparse"
  echo end | dd of="$1/sparse" bs=1 seek=50000000 conv=notrunc status=none
  for ((i = 0; i < 2000; i++)); do echo $i >"$1/many/$i"; done
  ln "$1/file" "$1/deep/a/hard-link"
  ln "$1/file" "$1/empty-not"
  ln -s file "$1/link"
  ln -s "$(printf 'x%.0s' {1..1000})" "$1/long-link"
  ln -s /nowhere "$1/dangling"
  mkfifo "$1/fifo"
  mknod "$1/null" c 1 3
  mknod "$1/block" b 7 250
  chmod 4751 "$1/large"
  chown -h 12345:54321 "$1/link"
  chown 70000:70001 "$1/nothing"
  : >"$1/names/$(printf 'n%.0s' {1..255})"
  : >"$1/names/"$'new\nline'
  : >"$1/names/"$'\xff\xfe'
  : >"$1/names/ space -n *"
  setfattr -n user.text -v hello "$1/file"
  setfattr -n user.empty "$1/deep"
  setfattr -n user.long -v "$(printf 'v%.0s' {1..2000})" "$1/large"
  setfattr -n trusted.own -v 1 "$1/nothing"
  setfacl -m u:1000:rwx,g:1001:r-x,m::rwx "$1/file"
  setfacl -m u:1000:rx -d -m u:1000:rwx,g::r "$1/deep"
  touch -d '1971-02-03 04:05:06.123456789 UTC' "$1/file"
  touch -h -d '2099-12-31 23:59:59.999999999 UTC' "$1/link"
  touch -d '2038-01-19 03:14:08 UTC' "$1/empty"
}

# same FOLDER FOLDER: no difference that rsync can tell; prints what it finds. Times of directories are compared, too.
same() {
  local found
  found=$(rsync -aHAXcn --delete --itemize-changes "$1/" "$2/") || return 1
  [ -z "$found" ] || { head -n 20 <<<"$found"; echo "$(wc -l <<<"$found") differences"; return 1; }
}

tar_out() { tar --xattrs --xattrs-include='*' --acls --sparse -C "$1" -cf "$2" .; }
tar_in() { mkdir "$2" && tar --xattrs --xattrs-include='*' --acls -p --numeric-owner -C "$2" -xf "$1"; }

export -f same tar_out tar_in
in_shell() { local name=$1; shift; verify "$name" 240 bash -euo pipefail -c "$@"; }

# Entries of /usr/share, in the order of their names, up to the limit.
choose_share() {
  local size_kb path total_kb=0
  while read -r size_kb path; do
    if [ $((total_kb + size_kb)) -gt $((SHARE_LIMIT_MB * 1024)) ]; then CUT=1; continue; fi
    total_kb=$((total_kb + size_kb))
    printf '%s\n' "${path#/usr/share/}"
  done < <(du -skx /usr/share/* 2>/dev/null)
  TOTAL_MB=$((total_kb / 1024))
}

if ! make_tree "$WORK/tree" 2>"$WORK/make_tree.log"; then
  skip all "this machine's own file system cannot hold the tree: $(tail -n 1 "$WORK/make_tree.log")"
  exit 0
fi
CUT='' TOTAL_MB=0
choose_share >"$WORK/share.list"
# A copy, as a package that is being installed must not look like a difference.
mkdir "$WORK/share"
rsync -aHAX -r --files-from="$WORK/share.list" /usr/share/ "$WORK/share/"
echo "$TOTAL_MB MB of /usr/share${CUT:+ (cut at $SHARE_LIMIT_MB MB)}, $(find "$WORK/share" | wc -l) entries"

mount_volume trees
verify "rsync in" 240 rsync -aHAX "$WORK/share/" "$MOUNT/share/" || true
in_shell "rsync in: the same" 'same "$0" "$1"' "$WORK/share" "$MOUNT/share" || true
verify "rsync out" 240 rsync -aHAX "$MOUNT/share/" "$WORK/out/" || true
in_shell "rsync out: the same" 'same "$0" "$1"' "$WORK/share" "$WORK/out" || true
rm -rf "$WORK/out"

verify "rsync in, all kinds" 60 rsync -aHAXS "$WORK/tree/" "$MOUNT/tree/" || true
in_shell "rsync in, all kinds: the same" 'same "$0" "$1"' "$WORK/tree" "$MOUNT/tree" || true
verify "rsync out, all kinds" 60 rsync -aHAXS "$MOUNT/tree/" "$WORK/out/" || true
in_shell "rsync out, all kinds: the same" 'same "$0" "$1"' "$WORK/tree" "$WORK/out" || true
verify "rsync over it finds nothing to do" 60 bash -c '[ -z "$(rsync -aHAXi "$0/" "$1/")" ]' "$WORK/tree" "$MOUNT/tree" || true

in_shell "tar in" 'tar_out "$0" "$2" && tar_in "$2" "$1" && same "$0" "$1"' "$WORK/tree" "$MOUNT/untarred" "$WORK/in.tar" || true
in_shell "tar out" 'tar_out "$0" "$2" && tar_in "$2" "$1" && same "$0" "$1"' "$MOUNT/untarred" "$WORK/untarred" "$WORK/out.tar" || true
in_shell "tar round trip" 'same "$0" "$1"' "$WORK/tree" "$WORK/untarred" || true

verify "cp within the volume" 60 cp -a "$MOUNT/tree" "$MOUNT/copy" || true
in_shell "cp within the volume: the same" 'same "$0" "$1"' "$WORK/tree" "$MOUNT/copy" || true
verify "removal" 120 rm -rf "$MOUNT/share" "$MOUNT/tree" "$MOUNT/copy" "$MOUNT/untarred" || true
if [ -z "$(ls -A "$MOUNT")" ]; then pass "nothing is left"; else fail "nothing is left" "$(ls -A "$MOUNT" | head -n 1)"; fi
unmount_volume trees

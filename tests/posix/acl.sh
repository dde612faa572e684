#!/bin/bash
# Access control lists: they are asked, the mode's bits follow them and the other way round, and directories hand theirs on.
. "$(dirname "$0")/lib.sh"
need setfacl getfacl setpriv

mount_volume acl
cd "$MOUNT"
chmod 755 .

# as USER COMMAND…: with the user's own group alone.
as() { local id=$1; shift; setpriv --reuid="$id" --regid="$id" --clear-groups "$@"; }
list() { getfacl -ncpE "$1" | grep . | tr '\n' ' '; }
# The shell's own negation does not end a script that is to end at the first failure.
denied() { if "$@"; then return 1; fi; }
export -f as list denied
holds() { verify "$1" 20 bash -euo pipefail -c "$2" || true; }

holds "one user may read" 'echo x >a; chmod 600 a; denied as 1000 cat a; setfacl -m u:1000:r a; as 1000 cat a; denied as 1001 cat a; denied as 1000 sh -c "echo y >>a"'
holds "one group may write" 'echo x >b; chmod 600 b; setfacl -m g:1002:rw b; as 1002 sh -c "echo y >>b"; denied as 1001 cat b'
holds "one user may not" 'echo x >c; chmod 644 c; setfacl -m u:1000:- c; denied as 1000 cat c; as 1001 cat c'
holds "the mask" 'echo x >d; setfacl -m u:1000:rw d; setfacl -m m::r d; as 1000 cat d; denied as 1000 sh -c "echo y >>d"'
holds "the mode shows the mask" ': >e; chmod 640 e; setfacl -m u:1000:rwx e; [ "$(stat -c %a e)" = 670 ]'
holds "chmod changes the mask" 'chmod 710 e; [ "$(list e)" = "user::rwx user:1000:rwx group::r-- mask::--x other::--- " ]'
holds "a list that is a mode is one" 'setfacl --set u::rw,g::r,o::- e; [ "$(stat -c %a e)" = 640 ]; denied getfattr -n system.posix_acl_access e'
holds "removal" 'setfacl -m u:1000:r e; setfacl -b e; denied getfattr -n system.posix_acl_access e; [ "$(stat -c %a e)" = 640 ]'
holds "set-group-ID falls for who is not in the group" ': >f; chown 1000:1002 f; chmod 2755 f; as 1000 setfacl -m u:1001:r f; [ "$(stat -c %a f)" = 755 ]'
holds "only the owner changes it" ': >g; chown 1000:1000 g; denied as 1001 setfacl -m u:1001:r g; as 1000 setfacl -m u:1001:r g'
mkdir shared
holds "a default list" 'setfacl -d -m u::rwx,u:1000:rwx,g::rx,m::rwx,o::- shared; [ -z "$(getfacl -acpE shared | grep 1000)" ]'
holds "files take it over" 'umask 077; : >shared/file; [ "$(list shared/file)" = "user::rw- user:1000:rwx group::r-x mask::rw- other::--- " ]; [ "$(stat -c %a shared/file)" = 660 ]'
holds "directories take it over, and have it" 'umask 077; mkdir shared/dir; [ "$(list shared/dir)" = "user::rwx user:1000:rwx group::r-x mask::rwx other::--- default:user::rwx default:user:1000:rwx default:group::r-x default:mask::rwx default:other::--- " ]'
holds "pipes and devices take it over" 'umask 077; mkfifo shared/pipe; mknod shared/null c 1 3; [ "$(stat -c %a shared/pipe shared/null | tr "\n" " ")" = "660 660 " ]'
holds "symlinks do not" 'ln -s x shared/link; [ "$(stat -c %a shared/link)" = 777 ]'
holds "without a default list there is the umask" 'umask 027; : >h; mkdir i; [ "$(stat -c %a h i | tr "\n" " ")" = "640 750 " ]'
holds "cp keeps mode and list" ': >j; chmod 4751 j; cp -p j k; [ "$(stat -c %a k)" = 4751 ]; cp -p d l; [ "$(list d)" = "$(list l)" ]'
holds "what is no list" 'denied setfattr -n system.posix_acl_access -v nonsense a; denied setfattr -n system.posix_acl_access -v 0x0200000001000600ffffffff a'
holds "a default list of a file" 'denied setfacl -d -m u:1000:r a'
cd /
unmount_volume acl

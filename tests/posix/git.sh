#!/bin/bash
# Work of every day: git with its maps, locks and renames; builds, which compare times.
. "$(dirname "$0")/lib.sh"
need git make cc

# Not the user's settings; and the checkout may belong to another user.
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$WORK/gitconfig
cat >"$GIT_CONFIG_GLOBAL" <<'TEXT'
[user]
  name = Test
  email = test@example.org
[safe]
  directory = *
[init]
  defaultBranch = main
[advice]
  detachedHead = false
TEXT

# 200 commits of files that grow, come, move and go.
make_history() {
  local i
  git init -q --bare "$1"
  for ((i = 1; i <= 200; i++)); do
    printf 'commit refs/heads/main\ncommitter Test <test@example.org> %d +0000\ndata 9\ncommit %s' \
      $((1700000000 + i * 60)) "$(printf '%02x' $i)"$'\n'
    printf 'M 100644 inline dir-%d/file-%d\ndata <<END\n%s\nEND\n' $((i % 7)) $((i % 40)) "$(seq 1 $((i * 3)))"
    if [ $((i % 10)) = 0 ]; then printf 'R dir-%d/file-%d moved/%d\n' $((i % 7)) $((i % 40)) $i; fi
    if [ $((i % 25)) = 0 ]; then printf 'D moved/%d\n' $((i - 20)); fi
  done | git -C "$1" fast-import --quiet
}

SOURCE=$SABFS_ROOT
if [ "$(git -C "$SABFS_ROOT" rev-list --count HEAD 2>/dev/null || echo 0)" -lt 50 ] ||
  [ "$(git -C "$SABFS_ROOT" rev-parse --is-shallow-repository)" = true ]; then
  SOURCE=$WORK/history.git
  make_history "$SOURCE"
fi

unchanged() { [ -z "$(git -C "$1" status --porcelain)" ]; }

# The oldest commit, a branch of its own, and back.
back_and_forth() {
  git -C "$1" checkout -q "$(git -C "$1" rev-list HEAD | tail -n 1)" &&
    git -C "$1" checkout -q - && unchanged "$1"
}

commit() {
  local i
  for i in {1..20}; do
    mkdir -p "$1/new/$i" && echo "$i" >"$1/new/$i/file" && git -C "$1" add -A && git -C "$1" commit -q -m "$i" || return 1
  done
  git -C "$1" mv new/1 new/one && git -C "$1" commit -q -m moved && git -C "$1" stash list && unchanged "$1"
}

make_project() {
  local i
  mkdir -p "$1"
  for i in {1..30}; do printf 'int f%d(void) { return %d; }\n' $i $i >"$1/f$i.c"; done
  {
    for i in {1..30}; do echo "int f$i(void);"; done
    echo '#include <stdio.h>'
    echo 'int main(void) { int sum = 0;'
    for i in {1..30}; do echo "sum += f$i();"; done
    echo 'printf("%d\n", sum); return 0; }'
  } >"$1/main.c"
  cat >"$1/Makefile" <<'TEXT'
OBJECTS := $(patsubst %.c,%.o,$(wildcard *.c))
sum: libsum.a
	$(CC) -o $@ main.o libsum.a
libsum.a: $(OBJECTS)
	ar rcs $@ $(filter-out main.o,$(OBJECTS))
TEXT
}

c_build() {
  make -s -C "$1" -j2 sum && [ "$("$1/sum")" = 465 ] && make -C "$1" -q sum &&
    sleep 0.05 && touch "$1/f7.c" && ! make -C "$1" -q sum &&
    make -C "$1" sum | tee "$WORK/rebuilt" && [ "$(grep -c -- ' -c ' "$WORK/rebuilt")" = 1 ] && make -C "$1" -q sum
}

rust_build() {
  cargo new -q --vcs none "$1" && cd "$1" &&
    cargo build --offline --target-dir "$1/target" && "$1/target/debug/$(basename "$1")" &&
    cargo build --offline --target-dir "$1/target" 2>&1 | tee "$WORK/fresh" && ! grep -q Compiling "$WORK/fresh"
}

# A function under a time limit: the shell that runs it starts anew.
export -f unchanged back_and_forth commit c_build rust_build
export WORK
in_shell() { local name=$1; shift; verify "$name" 120 bash -euo pipefail -c "$@"; }

mount_volume git
R=$MOUNT/repository
if verify clone 120 git clone -q --no-local "file://$SOURCE" "$R"; then
  verify "fsck of the clone" 60 git -C "$R" fsck --full --strict || true
  in_shell "nothing is changed" 'unchanged "$0"' "$R" || true
  in_shell "checkout back and forth" 'back_and_forth "$0"' "$R" || true
  in_shell "commits" 'commit "$0"' "$R" || true
  verify gc 120 git -C "$R" gc -q --aggressive --prune=now || true
  verify "fsck after gc" 60 git -C "$R" fsck --full --strict || true
  verify "clone within the volume, with hard links" 60 git clone -q -l "$R" "$MOUNT/second" || true
  verify "worktree" 60 git -C "$R" worktree add -q "$MOUNT/worktree" HEAD~5 || true
fi
make_project "$MOUNT/project"
in_shell "C build, and what is up to date" 'c_build "$0"' "$MOUNT/project" || true
if have cargo; then
  in_shell "Rust build, and what is up to date" 'rust_build "$0"' "$MOUNT/small" || true
else
  skip "Rust build" "there is no cargo"
fi
unmount_volume git

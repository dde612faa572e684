# Counting, time limits and cleaning up, for scripts/test.
#
# Results are lines in files of $RESULTS, so that a group may run in a subshell: one line per case in pass, fail and
# skip, as GROUP, a tab, and the name (for skips and failures, with the reason).
# shellcheck shell=bash

# record pass|fail|skip NAME [HOW MANY]
record() {
  local i
  for ((i = 0; i < ${3:-1}; i++)); do printf '%s\t%s\n' "$GROUP" "$2" >>"$RESULTS/$1"; done
}

# count KIND [GROUP]
count() {
  if [ -n "${2:-}" ]; then
    grep -c "^$2"$'\t' "$RESULTS/$1" 2>/dev/null || true
  else
    wc -l <"$RESULTS/$1"
  fi
}

summary() {
  local kind
  for kind in skip fail; do
    [ -s "$RESULTS/$kind" ] || continue
    if [ $kind = skip ]; then echo "Skipped:"; else echo "Failed:"; fi
    sed $'s/^\\([^\t]*\\)\t/  \\1: /' "$RESULTS/$kind" | uniq -c | sed -E 's/^ *1 //; s/^ *([0-9]+)   (.*)/  \2 (\1 cases)/'
  done
  echo "$(count pass) passed, $(count fail) failed, $(count skip) skipped"
  [ ! -s "$RESULTS/fail" ]
}

# Puts the groups that keep all processors busy by themselves into BESIDE, the others into FRONT; all into FRONT if there
# is only one of the kinds, or if this is the run beside another one.
divide_groups() {
  local group
  FRONT=() BESIDE=()
  for group in "${CHOSEN[@]}"; do
    case $group in
      native | crash) BESIDE+=("$group") ;;
      *) FRONT+=("$group") ;;
    esac
  done
  if [ ${#FRONT[@]} = 0 ] || [ -n "${SABFS_TEST_RESULTS:-}" ]; then FRONT=("${CHOSEN[@]}") BESIDE=(); fi
}

# Starts a run of the groups of BESIDE. It has a mark of its own, so that each run ends its own leftovers.
start_beside() {
  BESIDE_PID=
  [ ${#BESIDE[@]} -gt 0 ] || return 0
  step "beside the others: ${BESIDE[*]}"
  SABFS_TEST_RESULTS=$RESULTS nice -n 5 scripts/test ${LONG:+--long} "${BESIDE[@]}" >"$RESULTS/beside.log" 2>&1 &
  BESIDE_PID=$!
}

# Shows what the run beside this one has printed, and goes on showing it until it ends.
wait_for_beside() {
  [ -n "$BESIDE_PID" ] || return 0
  local show code=0
  tail -n +1 -f "$RESULTS/beside.log" &
  show=$!
  wait "$BESIDE_PID" || code=$?
  BESIDE_PID=
  # The last lines.
  sleep 2
  kill $show 2>/dev/null || true
  wait $show 2>/dev/null || true
  GROUP=${BESIDE[0]}
  [ $code = 0 ] || record fail "the run beside the others ended with code $code"
}

# The run beside this one has no use any more.
end_beside() {
  if [ -n "${BESIDE_PID:-}" ]; then
    kill "$BESIDE_PID" 2>/dev/null || true
    wait "$BESIDE_PID" 2>/dev/null || true
  fi
}

# limited SECONDS COMMAND…: the command with a time limit (longer with --long, and beside another run). At the limit its whole process group is
# ended, so that nothing keeps a pipe open.
limited() {
  local limit=$1
  shift
  if [ -n "$LONG" ]; then limit=$((limit * 6)); fi
  # It gets what the other run leaves.
  if [ -n "${SABFS_TEST_RESULTS:-}" ]; then limit=$((limit * 3)); fi
  local code=0
  timeout --kill-after=15 "$limit" "$@" || code=$?
  # 137: it did not heed the first signal.
  if [ $code = 124 ] || [ $code = 137 ]; then say "the time limit of $limit s was reached: $1 ${2:-}"; fi
  return $code
}

# check NAME SECONDS COMMAND…: a command that counts as one case.
check() {
  local name=$1 limit=$2 started=$SECONDS
  shift 2
  if limited "$limit" "$@"; then
    record pass "$name"
    echo "ok   $name ($((SECONDS - started)) s)"
  else
    record fail "$name"
    echo "FAIL $name ($((SECONDS - started)) s): $*"
  fi
}

skip() {
  record skip "$1: $2"
  echo "skip $1: $2"
}

# Ends the other processes of this run: those that outlived their group (a browser whose test was killed), or all when
# the run is interrupted.
end_leftovers() {
  local dir pid
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    [ "$pid" != $$ ] || continue
    if grep -qaF "SABFS_TEST_RUN=$RUN_MARK" "$dir/environ" 2>/dev/null; then
      say "ending a leftover process: $pid $(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null | cut -c1-100)"
      kill -KILL "$pid" 2>/dev/null || true
    fi
  done
}

# count_cargo_test FILE CODE NAME: counts the cases in the output of `cargo test` or of Miri.
count_cargo_test() {
  local file=$1 code=$2 name=$3 passed=0 failed=0 line
  while read -r line; do
    [[ $line =~ ([0-9]+)\ passed\;\ ([0-9]+)\ failed\; ]] || continue
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
  done < <(grep '^test result:' "$file")
  while read -r line; do record skip "$name: $line"; done < <(sed -nE 's/^test (.*) \.\.\. ignored(, )?(.*)$/\1 (\3)/p' "$file" | sed 's/ ()$//')
  while read -r line; do record fail "$name: $line"; done < <(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$file")
  record pass "$name" "$passed"
  # Miri stops at the first case with undefined behaviour, without a result line; so does a build that fails.
  if [ "$code" != 0 ] && [ "$failed" = 0 ]; then record fail "$name: ended with code $code"; fi
}

# count_node_report FILE CODE NAME: counts what tests/harness/reporter.mjs wrote, one line per case as KIND, tab, name.
count_node_report() {
  local file=$1 code=$2 name=$3 kind text cases=0 failed=0
  while IFS=$'\t' read -r kind text; do
    record "$kind" "$text"
    cases=$((cases + 1))
    if [ "$kind" = fail ]; then failed=$((failed + 1)); fi
  done < <(cat "$file" 2>/dev/null)
  if [ "$code" != 0 ] && [ $failed = 0 ]; then
    record fail "$name: the runner ended with code $code"
  elif [ $cases = 0 ]; then
    record fail "$name: no test ran"
  fi
}

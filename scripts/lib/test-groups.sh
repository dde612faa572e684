# What each test group runs; scripts/test calls group_NAME from the repository's root.
# shellcheck shell=bash

group_native() {
  load_environment native
  check fmt 120 cargo fmt --check
  check clippy 900 cargo clippy --quiet --all-targets -- -D warnings
  check clippy-models 900 cargo clippy --quiet --lib --profile test --features models -- -D warnings
  native_deny
  native_tests
  # Miri has one thread, and the builds of the others leave it time.
  native_miri >"$RESULTS/miri.out" 2>&1 &
  local miri=$!
  native_doc_tests
  native_models
  wait $miri || record fail "Miri ended with an error"
  cat "$RESULTS/miri.out"
}

# Licences, forbidden crates and sources; the advisory database is not fetched. cargo-deny reads the manifests of
# all dependencies, of other platforms too, which only a `cargo fetch` brings: when that cannot be done it is offline.
native_deny() {
  if ! have cargo-deny; then
    skip deny "cargo-deny is not there (cargo install --locked cargo-deny)"
    return
  fi
  local offline=
  limited 300 cargo fetch --quiet || offline=--offline
  # shellcheck disable=SC2086
  check deny 300 cargo deny $offline --log-level warn check licenses bans sources
}

native_tests() {
  local profile=default report code=0 ignored=
  if ! have cargo-nextest; then
    limited 1500 cargo test --lib --bins --tests 2>&1 | tee "$RESULTS/cargo-test.log" || code=$?
    count_cargo_test "$RESULTS/cargo-test.log" $code "cargo test"
    return
  fi
  if [ -n "$LONG" ]; then
    profile=long
    ignored="--run-ignored all"
  fi
  report=target/nextest/$profile/junit.xml
  rm -f "$report"
  # shellcheck disable=SC2086
  limited 1500 cargo nextest run --profile $profile $ignored --no-tests=pass --no-fail-fast 2>&1 |
    tee "$RESULTS/nextest.log" || code=$?
  count_nextest "$report" $code
}

# The JUnit report names the totals in its first element; tests marked as ignored are only in the run's last lines.
count_nextest() {
  local report=$1 code=$2 tests=0 bad=0 name
  if [ -f "$report" ] && [[ $(grep -m1 '<testsuites ' "$report") =~ tests=\"([0-9]+)\".*failures=\"([0-9]+)\".*errors=\"([0-9]+)\" ]]; then
    tests=${BASH_REMATCH[1]}
    bad=$((BASH_REMATCH[2] + BASH_REMATCH[3]))
  fi
  record pass nextest $((tests - bad))
  if [ $bad -gt 0 ]; then
    while read -r name; do record fail "nextest: $name"; done < <(grep -B1 -E '<(failure|error)[ >]' "$report" |
      sed -nE 's/.*<testcase name="([^"]*)" classname="([^"]*)".*/\2 \1/p' | head -n $bad)
    # Whatever the names, the number is what the report says.
    record fail nextest $((bad - $(grep -c $'\tnextest: ' "$RESULTS/fail")))
  elif [ "$code" != 0 ]; then
    record fail "nextest: ended with code $code"
  fi
  if grep -qE 'tests? run:.* [1-9][0-9]* skipped' "$RESULTS/nextest.log"; then
    while read -r name; do record skip "nextest: $name (ignored; --long runs it)"; done < <(
      cargo nextest list --run-ignored only --message-format oneline 2>/dev/null)
  fi
}

# nextest does not run the examples in documentation comments.
native_doc_tests() {
  local code=0
  limited 600 cargo test --quiet --doc 2>&1 | tee "$RESULTS/doc.log" || code=$?
  count_cargo_test "$RESULTS/doc.log" $code "doc tests"
}

# Schedules of threads that share a store: all of a few small ones (loom), very many of large ones (shuttle). The output
# says how many. Each thread of cargo's writes whole lines only if it is not alone.
native_models() {
  local code=0
  if ! limited 1500 cargo test --quiet --no-run --profile models --features models --lib; then
    record fail "the build of the models"
    return
  fi
  limited 600 cargo test --profile models --features models --lib models:: -- --test-threads=2 2>&1 |
    tee "$RESULTS/models.log" || code=$?
  count_cargo_test "$RESULTS/models.log" $code models
}

# The heap store is where the unsafe code is; Miri looks for undefined behaviour and data races in it.
native_miri() {
  # shellcheck source=setup-tools.sh
  . scripts/lib/setup-tools.sh
  if ! detect_miri; then
    skip miri "there is no nightly Rust with Miri (rustup toolchain install nightly -c miri -c rust-src)"
    return
  fi
  echo "Miri: the store's unit tests"
  local code=0
  # Isolation would forbid the tests the clock and the random numbers of proptest.
  MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation}" limited 900 cargo +nightly miri test --lib store:: 2>&1 |
    tee "$RESULTS/miri.log" || code=$?
  count_cargo_test "$RESULTS/miri.log" $code miri
}

# The crash explorer, a program of its own that shows its progress. A family of workloads is a case, and so is each rule
# that must be missed.
group_crash() {
  local code=0
  load_environment native
  if ! limited 1500 cargo build --quiet --profile explore --features sim --test crash; then
    record fail "the build"
    return
  fi
  SABFS_REPORT=$RESULTS/crash.report limited 1500 cargo test --quiet --profile explore --features sim --test crash || code=$?
  count_node_report "$RESULTS/crash.report" $code crash
}

# Suites that judge Linux file systems, on volumes mounted through FUSE. Each case of a suite is a case; a suite that
# cannot run is one skipped case, with the reason.
group_posix_native() {
  local suite name code
  if [ "$(uname -s)" != Linux ]; then skip all "this is not Linux"; return; fi
  if ! is_root; then skip all "mounts that other users and devices may be on need root"; return; fi
  if [ ! -c /dev/fuse ]; then skip all "there is no /dev/fuse"; return; fi
  load_environment posix-native
  if ! limited 900 cargo build --quiet --release --bin sabfs; then
    record fail "the build"
    return
  fi
  # Short, as sockets have short names.
  POSIX_WORK=$(mktemp -d /tmp/sabfs.XXXX)
  export POSIX_WORK
  chmod 755 "$POSIX_WORK"
  for suite in tests/posix/*.sh; do
    name=$(basename "$suite" .sh)
    [ "$name" != lib ] || continue
    code=0
    POSIX_REPORT=$RESULTS/posix-$name.report limited 420 "$suite" || code=$?
    count_node_report "$RESULTS/posix-$name.report" $code "$name"
    end_mounts "$POSIX_WORK"
  done
  rm -rf --one-file-system "$POSIX_WORK"
}

# What a suite that was killed left: the mounts in its folder. Their servers end with them.
end_mounts() {
  local dir
  while read -r dir; do
    say "ending a leftover mount: $dir"
    umount -l "$dir" || true
  done < <(findmnt -rno TARGET | grep -F "$1/" | sort -r)
}

# The native mount in a virtual machine whose power fails. What it lacks the tests themselves say, as skips.
group_power() {
  load_environment power
  if ! limited 900 cargo build --quiet --release --bin sabfs; then
    record fail "the build"
    return
  fi
  node_tests power 420 tests/power/*.test.mjs
}

group_node() {
  load_environment node
  build_for_tests || return 0
  # Some of these wait more than they work.
  node_tests node 900 --test-concurrency=3 tests/node/*.test.mjs
}

# Programs that are linked as users do, each in a folder of its own; the library alone is built before.
group_linking() {
  load_environment linking
  local goals=(lib package)
  have npm || goals=(lib)
  if ! limited 1500 scripts/build "${goals[@]}"; then
    record fail "the build"
    return
  fi
  # A file is many programs: its limit is the group's. emcc keeps about one core busy, and two programs two.
  node_tests linking 1200 --test-timeout=1200000 --test-concurrency=2 tests/linking/*.test.mjs
}

# What system calls answer at /opfs, answer by answer as Linux does; each answer is a case. Then real programs there.
group_posix() {
  load_environment node chromium apps
  build_for_tests || return 0
  SABFS_BRIEF=1 node_tests posix 900 tests/calls/node.test.mjs tests/calls/table.test.mjs
  if [ -z "${SABFS_CHROMIUM:-}" ]; then
    skip posix "there is no Chromium on this machine, and it could not be installed"
  else
    SABFS_BRIEF=1 SABFS_BROWSER=chromium node_tests posix-chromium 900 tests/calls/browser.test.mjs
  fi
  posix_apps
}

posix_apps() {
  # shellcheck source=setup-sources.sh
  . scripts/lib/setup-sources.sh
  if ! detect_sources; then
    skip apps "the sources of real programs are not there, and could not be fetched"
    return
  fi
  if ! limited 1500 scripts/build apps; then
    record fail "the build of real programs"
    return
  fi
  node_tests apps 900 --test-concurrency=2 tests/apps/*.test.mjs
  [ -n "${SABFS_CHROMIUM:-}" ] || return 0
  SABFS_BROWSER=chromium node_tests apps-chromium 900 --test-concurrency=2 tests/apps/*.test.mjs
}

group_chromium() { group_browser chromium "${SABFS_CHROMIUM:-}"; }
group_firefox() { group_browser firefox "${SABFS_FIREFOX:-}"; }

# Makes what Firefox starts faster with, once for each version. Without it the tests are slower, and otherwise the same.
warm_firefox() {
  [ -n "${SABFS_FIREFOX:-}" ] || return 0
  local version
  version=$("$SABFS_FIREFOX" --version 2>/dev/null | tr -cs 'a-zA-Z0-9.\n' -) || return 0
  export SABFS_FIREFOX_STARTUP_CACHE=$SABFS_CACHE/firefox-startup/$version
  [ -d "$SABFS_FIREFOX_STARTUP_CACHE" ] || limited 60 "$SABFS_NODE" tests/harness/warm-firefox.mjs "$SABFS_FIREFOX_STARTUP_CACHE" ||
    say "Firefox starts without its cache"
}

group_browser() {
  local name=$1 variable=SABFS_${1^^}
  load_environment "$name"
  if [ -z "${!variable}" ]; then
    skip "$name" "there is no $name on this machine, and it could not be installed"
    return
  fi
  build_for_tests || return 0
  # Many tests have a browser of their own, and two cores are soon used up; in Firefox more of the time is waiting.
  local at_once=2
  if [ "$name" = firefox ]; then at_once=3 && warm_firefox; fi
  SABFS_BROWSER=$name node_tests "$name" 1800 --test-concurrency=$at_once tests/browser/*.test.mjs
}

# Several programs on one store.
group_share() {
  load_environment node chromium firefox
  build_for_tests || return 0
  warm_firefox
  if ! limited 900 cargo build --quiet --release --bin sabfs; then
    record fail "the build of the native tool"
    return
  fi
  local limit=1200
  if [ -n "$LONG" ]; then limit=3600; fi
  node_tests share $limit --test-timeout=${limit}000 --test-concurrency=1 tests/share/*.test.mjs
}

# Engines killed by SIGKILL, over and over. A missing browser's tests are skipped.
group_kill() {
  load_environment node chromium firefox
  build_for_tests || return 0
  warm_firefox
  if ! limited 900 cargo build --quiet --release --bin sabfs; then
    record fail "the build of the native tool"
    return
  fi
  local limit=1200
  if [ -n "$LONG" ]; then limit=4000; fi
  # A file is many kills: its limit is the group's. Much of its time the test waits for the next one.
  node_tests kill $limit --test-timeout=${limit}000 --test-concurrency=3 tests/kill/*.test.mjs
}

build_for_tests() {
  local started=$SECONDS
  if ! limited 1500 scripts/build all; then
    record fail "the build"
    echo "FAIL the build"
    return 1
  fi
  echo "built ($((SECONDS - started)) s)"
}

# node_tests NAME SECONDS OPTION… FILE…
node_tests() {
  local name=$1 limit=$2 code=0 file_limit=400
  shift 2
  if [ -n "$LONG" ]; then file_limit=2400; fi
  SABFS_REPORT=$RESULTS/$name.report limited "$limit" "$SABFS_NODE" --test --test-timeout=${file_limit}000 \
    --test-reporter=./tests/harness/reporter.mjs --test-reporter-destination=stdout "$@" || code=$?
  count_node_report "$RESULTS/$name.report" $code "$name"
}

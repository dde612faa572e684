# Shared by every script in this folder: paths, messages, the environment that scripts/setup wrote.
# shellcheck shell=bash
set -euo pipefail
# Tools sort and print by locale; parsing their output must not depend on the user's.
export LC_ALL=C

SABFS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SABFS_CACHE=${SABFS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sabfs}
export SABFS_CACHE
DIST=$SABFS_ROOT/dist

say() { printf '%s\n' "$*" >&2; }
step() { printf '== %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# die MESSAGE [COMMAND THAT HELPS]
die() {
  printf 'error: %s\n' "$1" >&2
  if [ -n "${2:-}" ]; then printf '  try: %s\n' "$2" >&2; fi
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" = 0 ]; }

# run_logged NAME COMMAND…: the command's output goes to a log file, which is shown when it fails.
run_logged() {
  local log=$SABFS_CACHE/log/$1.log
  shift
  mkdir -p "$SABFS_CACHE/log"
  if ! "$@" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    say "(the whole log: $log)"
    return 1
  fi
}

# Takes the settings that scripts/setup found or installed. Options given are passed on to it, so that a script
# asks only for the parts that it needs.
load_environment() {
  "$SABFS_ROOT/scripts/setup" --quiet "$@"
  # shellcheck disable=SC1091
  . "$SABFS_CACHE/env.sh"
}

# apt with its own lists and sources, so that the system's apt configuration is neither read nor changed. The mirror
# is the one that the system's apt uses.
# shellcheck shell=bash

# make_private_apt FOLDER deb|deb-src SUITE: afterwards APT_CONFIG=FOLDER/apt.conf names it. Fails, and says why, when
# there is no mirror or it does not answer.
make_private_apt() {
  local apt=$1 kind=$2 suite=$3 mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$' || true)
  if [ -z "$mirror" ]; then
    warn "apt names no Debian mirror"
    return 1
  fi
  mkdir -p "$apt"/{lists/partial,cache/archives/partial}
  : >"$apt/status"
  printf '%s [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$kind" "$mirror" "$suite" \
    >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Architecture "amd64";
APT::Sandbox::User "";
Debug::NoLocking "true";
CONF
  APT_CONFIG=$apt/apt.conf run_logged apt-update apt-get update -qq && return 0
  warn "the mirror's package lists could not be read"
  return 1
}

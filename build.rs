//! Compiles the C++ side of the WasmFS backend and reads its C header.
//!
//! The C++ interface of WasmFS is not stable, so the shim is compiled against the headers of the
//! Emscripten that builds this crate.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=c-shim");
    let feature = |name: &str| env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    let target_os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if feature("WASMFS") && target_os == "emscripten" {
        compile_shim(&emscripten("EMSCRIPTEN_ROOT"));
        read_header(&emscripten("CACHE"));
    }
    if (feature("KEEPER") || feature("PAGE")) && target_os == "unknown" {
        // The helper module copies between the module's memory and the store, so the memory has to
        // exist before the module is instantiated.
        println!("cargo:rustc-link-arg-cdylib=--import-memory");
    }
}

/// A folder that Emscripten names; `em-config` is there however it was installed.
fn emscripten(what: &str) -> PathBuf {
    println!("cargo:rerun-if-env-changed=EM_CONFIG");
    let output = Command::new("em-config")
        .arg(what)
        .output()
        .unwrap_or_else(|error| panic!("em-config does not run ({error}): put Emscripten on PATH"));
    assert!(output.status.success(), "em-config {what} failed");
    let path = String::from_utf8(output.stdout).expect("a path in UTF-8");
    PathBuf::from(path.trim())
}

fn compile_shim(root: &Path) {
    let headers = root.join("system/lib/wasmfs");
    assert!(
        headers.join("backend.h").exists(),
        "{} has no backend.h: this Emscripten is older than 4.0, or is laid out in an unknown way",
        headers.display()
    );
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .files(
            [
                "backend",
                "descriptors",
                "directories",
                "inotify",
                "io",
                "locks",
                "maps",
                "mount",
                "names",
                "open",
                "paths",
                "pipes",
                "poll",
                "space",
                "splice",
                "syscalls",
                "xattr",
            ]
            .map(|name| format!("c-shim/sabfs_{name}.cpp")),
        )
        .include("c-shim")
        .include("c-shim/include")
        // Quiet: the headers are not ours.
        .flag(format!("-isystem{}", headers.display()))
        .flag(format!("-isystem{}", root.join("system/lib/pthread").display()))
        // As libwasmfs itself is compiled.
        .flags(["-std=c++17", "-fno-exceptions", "-fno-rtti"])
        // The C library hides Linux's own calls otherwise.
        .define("_GNU_SOURCE", None)
        .cpp_link_stdlib(None)
        .warnings(true)
        .extra_warnings(true);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "atomics") {
        build.flag("-pthread");
    }
    build.compile("sabfs_shim");
}

fn read_header(cache: &Path) {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("vtable.rs");
    bindgen::Builder::default()
        .header("c-shim/vtable.h")
        .clang_arg("--target=wasm32-unknown-emscripten")
        // Otherwise bindgen leaves functions out on wasm.
        .clang_arg("-fvisibility=default")
        .clang_arg(format!("--sysroot={}", cache.join("sysroot").display()))
        .allowlist_type("sabfs_.*")
        .allowlist_var("SABFS_.*")
        .generate()
        .expect("bindgen reads c-shim/vtable.h")
        .write_to_file(&out)
        .unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}

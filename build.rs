//! Reads the C header that the WasmFS backend's two sides share.
//!
//! The C++ side, c-shim, is an archive of its own (emscripten/link/shim.mjs): the C++ interface of WasmFS is not stable, so
//! it is compiled by the Emscripten that links the program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=c-shim/vtable.h");
    println!("cargo:rerun-if-changed=c-shim/sabfs.h");
    let feature = |name: &str| env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    let target_os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if feature("WASMFS") && target_os == "emscripten" {
        read_header(&emscripten_cache());
    }
    if (feature("KEEPER") || feature("PAGE")) && target_os == "unknown" {
        // The helper module copies between the module's memory and the store, so the memory has to
        // exist before the module is instantiated.
        println!("cargo:rustc-link-arg-cdylib=--import-memory");
    }
}

/// Where Emscripten has its system headers; `em-config` is there however it was installed.
fn emscripten_cache() -> PathBuf {
    println!("cargo:rerun-if-env-changed=EM_CONFIG");
    let output = Command::new("em-config")
        .arg("CACHE")
        .output()
        .unwrap_or_else(|error| panic!("em-config does not run ({error}): put Emscripten on PATH"));
    assert!(output.status.success(), "em-config CACHE failed");
    let path = String::from_utf8(output.stdout).expect("a path in UTF-8");
    PathBuf::from(path.trim())
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

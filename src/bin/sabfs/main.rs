//! The native tool: makes volumes, checks them, and brings files into them and out again.

#[cfg(all(unix, not(target_family = "wasm")))]
mod commands;
#[cfg(all(unix, not(target_family = "wasm")))]
mod paths;
#[cfg(all(unix, not(target_family = "wasm")))]
mod session;
#[cfg(all(unix, not(target_family = "wasm")))]
mod text;
#[cfg(all(unix, not(target_family = "wasm")))]
mod transfer;

#[cfg(all(unix, not(target_family = "wasm")))]
fn main() -> std::process::ExitCode {
    commands::run()
}

#[cfg(not(all(unix, not(target_family = "wasm"))))]
fn main() {
    eprintln!("sabfs: this system's file locks are not known");
}

//! The commands, one a file: its arguments, and what it does.
//!
//! A command's `run` gives the exit code, or what is wrong as a sentence; the latter is printed and ends
//! the program with 2, as a mistake in the arguments does.

mod cat;
mod check;
mod export;
mod import;
mod ls;
mod mkfs;
#[cfg(target_os = "linux")]
mod mount;
mod stat;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What a command ends with.
pub type Outcome = Result<ExitCode, String>;

/// SABFS volumes on a host: a volume is a folder with the files `image` and `journal`.
#[derive(Parser)]
#[command(name = "sabfs", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Cat(cat::Arguments),
    Check(check::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Ls(ls::Arguments),
    Mkfs(mkfs::Arguments),
    #[cfg(target_os = "linux")]
    Mount(mount::Arguments),
    Stat(stat::Arguments),
}

/// Runs the command that the program's arguments name.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Cat(arguments) => cat::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Mkfs(arguments) => mkfs::run(&arguments),
        #[cfg(target_os = "linux")]
        Command::Mount(arguments) => mount::run(&arguments),
        Command::Stat(arguments) => stat::run(&arguments),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("sabfs: {message}");
        ExitCode::from(2)
    })
}

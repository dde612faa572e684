//! The commands, one a file: its arguments, and what it does.
//!
//! A command's `run` gives the exit code, or what is wrong as a sentence; the latter is printed and ends
//! the program with 2, as a mistake in the arguments does.

mod check;
mod mkfs;

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
    Check(check::Arguments),
    Mkfs(mkfs::Arguments),
}

/// Runs the command that the program's arguments name.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Mkfs(arguments) => mkfs::run(&arguments),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("sabfs: {message}");
        ExitCode::from(2)
    })
}

//! Chores of the repository: `cargo xtask tidy` checks the rules that neither the compiler nor Clippy knows,
//! `cargo xtask web` builds the page of `bitnet-web`, and `cargo xtask release` what a release is made of.

mod release;
mod tidy;
mod web;

use std::{
    env,
    error::Error,
    path::Path,
    process::{Command, ExitCode},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let root = Path::new(ROOT);
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy::check(root).map(|files| format!("tidy: {files} files checked")),
        ["web"] => root
            .canonicalize()
            .map_err(Into::into)
            .and_then(|root| web::build(&root)),
        ["release", ref given @ ..] => root
            .canonicalize()
            .map_err(Into::into)
            .and_then(|root| release::build(&root, given)),
        _ => {
            eprintln!("usage: cargo xtask tidy | web | release [--profile NAME] [TARGET…]");
            return ExitCode::from(2);
        }
    };
    match &done {
        Ok(said) => println!("{said}"),
        Err(problem) => eprintln!("{problem}"),
    }
    ExitCode::from(u8::from(done.is_err()))
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{program} failed ({status})").into()),
    }
}

#[test]
fn the_repository_is_tidy() {
    // A copy without git cannot tell the project's files from others.
    if Path::new(ROOT).join(".git").exists() {
        tidy::check(Path::new(ROOT)).unwrap_or_else(|problems| panic!("\n{problems}"));
    }
}

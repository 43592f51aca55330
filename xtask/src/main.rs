//! Chores of the repository: `cargo xtask tidy` checks the rules that neither the compiler nor Clippy knows, and
//! `cargo xtask web` builds the page of `bitnet-web`.

mod tidy;
mod web;

use std::{env, path::Path, process::ExitCode};

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
        _ => {
            eprintln!("usage: cargo xtask tidy | web");
            return ExitCode::from(2);
        }
    };
    match &done {
        Ok(said) => println!("{said}"),
        Err(problem) => eprintln!("{problem}"),
    }
    ExitCode::from(u8::from(done.is_err()))
}

#[test]
fn the_repository_is_tidy() {
    // A copy without git cannot tell the project's files from others.
    if Path::new(ROOT).join(".git").exists() {
        tidy::check(Path::new(ROOT)).unwrap_or_else(|problems| panic!("\n{problems}"));
    }
}

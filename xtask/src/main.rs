//! Chores of the repository: `cargo xtask tidy` checks the rules that neither the compiler nor Clippy knows.

mod tidy;

use std::{env, path::Path, process::ExitCode};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn main() -> ExitCode {
    if !env::args().skip(1).eq(["tidy"]) {
        eprintln!("usage: cargo xtask tidy");
        return ExitCode::from(2);
    }
    let checked = tidy::check(Path::new(ROOT));
    match &checked {
        Ok(files) => println!("tidy: {files} files checked"),
        Err(problems) => eprintln!("{problems}"),
    }
    ExitCode::from(u8::from(checked.is_err()))
}

#[test]
fn the_repository_is_tidy() {
    // A copy without git cannot tell the project's files from others.
    if Path::new(ROOT).join(".git").exists() {
        tidy::check(Path::new(ROOT)).unwrap_or_else(|problems| panic!("\n{problems}"));
    }
}

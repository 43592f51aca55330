//! `bitnet board` and `bitnet report`: runs on a page.

mod read;
mod server;

use std::path::PathBuf;

use anyhow::{Context, bail};
use bitnet_report::board;

use super::Outcome;
use crate::args::{BoardArgs, ReportArgs};
use crate::output;

/// Serves the page until Ctrl-C.
pub fn run(args: BoardArgs) -> anyhow::Result<Outcome> {
    // What does not exist may come; what cannot be a run never will.
    if let Some(file) = args.runs.iter().find(|path| path.is_file()) {
        bail!(
            "{}: is a file; give the folder of a run, or one of runs",
            file.display()
        );
    }
    server::serve(args)?;
    Ok(Outcome::Done)
}

/// Writes the page.
pub fn report(args: ReportArgs) -> anyhow::Result<Outcome> {
    let runs = read::runs(&args.runs);
    if runs.is_empty() {
        let paths: Vec<String> = args
            .runs
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!(
            "{}: there is no run (a folder with config.toml)",
            paths.join(", ")
        );
    }
    let out = args.out.unwrap_or_else(|| match &args.runs[..] {
        [one] => one.join("board.html"),
        _ => PathBuf::from("board.html"),
    });
    bitnet_results::write_atomic(&out, board(&runs, false).as_bytes())
        .with_context(|| format!("cannot write {}", out.display()))?;
    let many = if runs.len() == 1 { "run" } else { "runs" };
    output::line(&format!("{}: {} {many}", out.display(), runs.len()))?;
    Ok(Outcome::Done)
}

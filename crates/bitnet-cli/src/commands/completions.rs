//! `bitnet completions SHELL`

use clap_complete::Shell;

use super::Outcome;
use crate::args::Cli;
use crate::output;

pub fn run(shell: Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::described(), "bitnet", &mut script);
    output::piece(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}

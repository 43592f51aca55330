//! `bitnet man FOLDER`

use std::path::Path;

use anyhow::Context;

use super::Outcome;
use crate::args::Cli;
use crate::output;

pub fn run(folder: &Path) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    clap_mangen::generate_to(Cli::described(), folder)
        .with_context(|| format!("the pages in {}", folder.display()))?;
    output::line(&folder.join("bitnet.1").display().to_string())?;
    Ok(Outcome::Done)
}

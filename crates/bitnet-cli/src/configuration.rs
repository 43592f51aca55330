//! A command's configuration: defaults, file, environment, flags.

use std::path::Path;

use anyhow::bail;
use bitnet_config::{Loader, RunConfig};
use bitnet_train::{Location, RunDir};

use crate::args::{ConfigArgs, Format};
use crate::{location, output};

/// Stacks defaults, file (or the built-in quick start), environment, `--set` and flags, and what the model of
/// `train.init_from` decides. `run` is one that goes on, and has that in its own configuration.
pub fn load(
    file: Option<&Path>,
    args: &ConfigArgs,
    run: Option<&RunDir>,
) -> anyhow::Result<RunConfig> {
    let mut loader = Loader::new();
    loader = match file {
        Some(path) => loader.file(path)?,
        None => loader.builtin("quickstart", bitnet_config::QUICKSTART)?,
    };
    loader = loader.env(std::env::vars_os())?;
    for assignment in &args.set {
        loader = loader.set(assignment)?;
    }
    if let Some(seed) = args.seed {
        loader = loader.set(&format!("train.seed={seed}"))?;
    }
    if let Some(path) = loader.init_from() {
        let location = match run {
            Some(run) => Location::Run(run.clone()),
            None => location::open(Path::new(path))?,
        };
        loader = loader.decided(&location.decided()?)?;
    }
    let (config, notes) = loader.finish_with_notes()?;
    for note in notes {
        output::say(format_args!("note: {note}"));
    }
    Ok(config)
}

/// Shows the configuration in force: as TOML with what is not set as comments, or as JSON.
///
/// # Errors
/// If it cannot be written, or the format is a table's.
pub fn print(config: &RunConfig, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => output::piece(&config.to_commented_toml()?),
        Format::Json => output::json(&config.to_table()?),
        Format::Md | Format::Csv => bail!("--print-config writes text (TOML) or json"),
    }
}

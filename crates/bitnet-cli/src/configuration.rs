//! A command's configuration: defaults, file, environment, flags.

use std::path::Path;

use bitnet_config::{Loader, RunConfig};

use crate::args::ConfigArgs;

/// Stacks defaults, file (or the built-in quick start), environment, `--set` and flags.
pub fn load(file: Option<&Path>, args: &ConfigArgs) -> anyhow::Result<RunConfig> {
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
    Ok(loader.finish()?)
}

//! `bitnet config`

use anyhow::bail;
use bitnet_config::{Description, describe, json_schema, reference};

use super::Outcome;
use crate::args::ConfigCommand;
use crate::output;

pub fn run(command: ConfigCommand) -> anyhow::Result<Outcome> {
    match command {
        ConfigCommand::Explain { key } => match describe(&key) {
            Ok(found) => output::prose(&text(&found))?,
            Err(Some(nearest)) => bail!("unknown key {key}; did you mean {nearest}?"),
            Err(None) => {
                bail!("unknown key {key}; `bitnet config explain train` lists those of a section")
            }
        },
        ConfigCommand::Schema => output::json(&json_schema())?,
        ConfigCommand::Reference => output::piece(&reference())?,
    }
    Ok(Outcome::Done)
}

fn text(found: &Description) -> String {
    let mut text = format!("{}: {}", found.key, found.kind);
    if let Some(range) = &found.range {
        text += &format!(" {range}");
    }
    if let Some(default) = &found.default {
        text += &format!(", {default} unless it is written");
    }
    if !found.meaning.is_empty() {
        text += &format!("\n{}", found.meaning);
    }
    text += &format!("\nread by task {}", found.tasks);
    for needs in &found.needs {
        text += &format!("\ncounts only {needs}");
    }
    for key in &found.keys {
        let about = describe(key).map(|about| about.meaning).unwrap_or_default();
        let first = about.split(['.', ';', ':']).next().unwrap_or_default();
        text += &format!("\n  {key:<34} {first}");
    }
    text
}

//! How a folder's model makes a vector of a text: what sentence-transformers keeps beside it.

use std::path::{Component, Path};

use serde::Deserialize;

use crate::{
    Error,
    error::Fault,
    json::{self, Few},
    model::{Finding, Pooling},
};

/// The parts that a text goes through, in order.
pub(crate) const MODULES: &str = "modules.json";
/// Where the pooling is described unless [`MODULES`] names another folder.
pub(crate) const POOLING: &str = "1_Pooling/config.json";

const MAX_CONFIG: usize = 1 << 20;
const MAX_MODULES: usize = 64;

/// Reads what a folder says.
pub(super) fn read(folder: &Path) -> Result<Finding<Pooling>, Error> {
    let path = folder.join(MODULES);
    let modules: Option<Few<Module, MAX_MODULES>> = json::read(&path, MAX_CONFIG)?;
    let Some(Few(modules)) = modules else {
        return described(folder, POOLING);
    };
    let mut file = None;
    for module in &modules {
        match module.class() {
            "Transformer" | "Normalize" => {}
            "Pooling" => file = Some(module.file().map_err(|fault| fault.within(&path))?),
            other => {
                let other = shortened(other);
                let words = format!("another part of the model, {other}, makes the vector");
                return Ok(Finding::new(Pooling::Other(words), MODULES));
            }
        }
    }
    match file {
        Some(file) => described(folder, &file),
        None => Ok(Finding::new(
            Pooling::Unsaid,
            format!("{MODULES} without Pooling"),
        )),
    }
}

/// Reads the configuration of a pooling.
fn described(folder: &Path, file: &str) -> Result<Finding<Pooling>, Error> {
    let config: Option<PoolingConfig> = json::read(&folder.join(file), MAX_CONFIG)?;
    let Some(config) = config else {
        let evidence = format!("no {file}");
        return Ok(Finding::new(Pooling::Unsaid, evidence));
    };
    let modes: Vec<String> = config.modes().into_iter().map(shortened).collect();
    let words = modes.join(" and ");
    Ok(match &words[..] {
        "" => Finding::new(Pooling::Unsaid, format!("{file} without a mode")),
        "lasttoken" => Finding::new(Pooling::Last, format!("{file}, {words}")),
        "mean" => Finding::new(Pooling::Mean, format!("{file}, {words}")),
        _ => Finding::new(Pooling::Other(words), file),
    })
}

/// A name of a file's, as it can stand in a line.
fn shortened(name: &str) -> String {
    let start = name.chars().take(40);
    start.flat_map(char::escape_debug).collect()
}

/// A part of a model.
#[derive(Debug, Deserialize)]
struct Module {
    r#type: String,
    #[serde(default)]
    path: String,
}

impl Module {
    /// The class's name, without its modules.
    fn class(&self) -> &str {
        self.r#type.rsplit('.').next().unwrap_or_default()
    }

    /// Its configuration, which is in a folder of the model's.
    fn file(&self) -> Result<String, Fault> {
        let mut parts = Path::new(&self.path).components();
        if parts.all(|part| matches!(part, Component::Normal(_))) {
            return Ok(match self.path.trim_end_matches('/') {
                "" => "config.json".into(),
                path => format!("{path}/config.json"),
            });
        }
        let problem = format!("{:?}, expected a folder of the model's", self.path);
        Err(Fault::key("path", problem))
    }
}

/// The modes of a pooling: by name, or a flag for each.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode: Few<String, 16>,
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

impl PoolingConfig {
    fn modes(&self) -> Vec<&str> {
        if !self.pooling_mode.0.is_empty() {
            return self.pooling_mode.0.iter().map(String::as_str).collect();
        }
        let flags = [
            ("cls", self.pooling_mode_cls_token),
            ("mean", self.pooling_mode_mean_tokens),
            ("max", self.pooling_mode_max_tokens),
            (
                "mean_sqrt_len_tokens",
                self.pooling_mode_mean_sqrt_len_tokens,
            ),
            ("weightedmean", self.pooling_mode_weightedmean_tokens),
            ("lasttoken", self.pooling_mode_lasttoken),
        ];
        flags
            .into_iter()
            .filter(|flag| flag.1)
            .map(|flag| flag.0)
            .collect()
    }
}

//! The file of an experiment, and the configurations of its runs.

use std::path::Path;

use bitnet_config::{ConfigError, ExperimentConfig, Origin};

use crate::Target;

/// The target.
pub const TARGET: Target = Target {
    name: "experiment",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments");
    crate::files(&experiments, "/experiment.toml")
}

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let origin = || Origin::Builtin("text".to_owned());
    let mut experiment = match ExperimentConfig::parse(origin(), &text) {
        Ok(experiment) => experiment,
        Err(error) => return readable(&error),
    };
    let printed = experiment.to_toml().expect("what was read can be written");
    let again = ExperimentConfig::parse(origin(), &printed);
    let again = again.unwrap_or_else(|error| panic!("{error}\n{printed}"));
    // No file of this machine but one that is known.
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/train/debug.toml");
    assert_eq!(again.to_toml().expect("the same again"), printed);
    experiment.config = base;
    for variant in experiment.variants.iter().take(4) {
        let seed = experiment.seeds[0];
        let rate = experiment.learning_rates(variant).first().copied();
        if let Err(error) = experiment.run(Path::new(""), variant, seed, rate, None, &[]) {
            readable(&error);
        }
    }
}

/// A message is a sentence, and a line with a caret below it.
pub(crate) fn readable(error: &ConfigError) {
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().collect();
    let shows = lines.len() == 3 && lines[2].contains('^');
    assert!(lines.len() == 1 || shows, "{message:?}");
    let is_harmless = |c: char| !c.is_control() || c == '\t' || c == '\n';
    assert!(message.chars().all(is_harmless), "{message:?}");
}

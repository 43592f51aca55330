//! Which keys exist: read off the structs themselves, so that the list cannot drift from them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bitnet_models::{ModelConfig, float::RopeScaling};
use toml::{Table, Value};

use crate::{DataConfig, OptimConfig, OptimOverride, RunConfig, TrainConfig};

/// Every key and section by its dotted path, with an example value (a section's is a table).
pub(crate) static KEYS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let mut keys = BTreeMap::new();
    // A configuration without a value too large for TOML always serialises.
    let table = Table::try_from(complete()).unwrap_or_default();
    collect(&mut keys, "", &table);
    keys
});

/// Similarity, from 0 to 1, above which a known name is suggested for an unknown one: one slip in four letters.
const CLOSE: f64 = 0.7;

/// A configuration in which every optional key is present.
fn complete() -> RunConfig {
    let shared = OptimConfig {
        second_learning_rate: Some(1e-3),
        ..OptimConfig::default()
    };
    let path = || Some("text.txt".into());
    let paths = || Some("text.txt".into());
    let every = OptimOverride::from(&shared);
    RunConfig {
        model: ModelConfig {
            num_key_value_heads: Some(4),
            num_decoder_layers: Some(2),
            width_multiple: Some(1.5),
            head_dim: Some(32),
            // The kind with the most keys.
            rope_scaling: Some(RopeScaling::Yarn {
                factor: 2.0,
                original_max_position_embeddings: 256,
                attention_factor: Some(1.0),
                beta_fast: 32.0,
                beta_slow: 1.0,
            }),
            ..ModelConfig::default()
        },
        data: DataConfig {
            path: paths(),
            validation_path: paths(),
            test_path: paths(),
            source: paths(),
            target: paths(),
            validation_source: paths(),
            validation_target: paths(),
            test_source: paths(),
            test_target: paths(),
            tokenizer: path(),
            chat_template: path(),
            ..DataConfig::default()
        },
        train: TrainConfig {
            shared,
            float: every.clone(),
            ternary: every,
            init_from: path(),
            distill_from: path(),
            ..TrainConfig::default()
        },
        ..RunConfig::default()
    }
}

fn collect(keys: &mut BTreeMap<String, Value>, prefix: &str, table: &Table) {
    for (key, value) in table {
        let path = join(prefix, key);
        if let Value::Table(section) = value {
            collect(keys, &path, section);
        }
        keys.insert(path, value.clone());
    }
}

/// The dotted path of a key in a section.
pub(crate) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

/// The known path that was probably meant. The last part decides; the section breaks ties, so that a key in the
/// wrong section is found too.
pub(crate) fn nearest(unknown: &str) -> Option<String> {
    let (section, name) = split(unknown);
    let mut best: Option<(f64, &str)> = None;
    for known in KEYS.keys() {
        let (known_section, known_name) = split(known);
        let close = strsim::normalized_damerau_levenshtein(name, known_name);
        let score = close + 0.1 * strsim::normalized_damerau_levenshtein(section, known_section);
        let better = best
            .is_none_or(|(top, path)| score > top || (score == top && known.len() < path.len()));
        if close >= CLOSE && better {
            best = Some((score, known));
        }
    }
    best.map(|(_, known)| known.to_owned())
}

/// The one of some names that was probably meant.
pub(crate) fn closest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(unknown, name), name))
        .filter(|(close, _)| *close >= CLOSE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serde's own list of a struct's fields, from the error that `deny_unknown_fields` gives.
    fn fields(section: &str) -> Vec<String> {
        let text = format!("[{section}]\n'?' = 0");
        let error = toml::from_str::<RunConfig>(&text).unwrap_err().to_string();
        let (_, list) = error.split_once("expected").unwrap();
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_optional_field_is_known() {
        for section in [
            "model",
            "quant",
            "data",
            "decode",
            "compare",
            "recipe",
            "train.float",
            "train.ternary",
        ] {
            let fields = fields(section);
            assert!(fields.len() > 2, "{section}: {fields:?}");
            for field in fields {
                assert!(
                    KEYS.contains_key(&join(section, &field)),
                    "{section}.{field}"
                );
            }
        }
        for field in fields("train.float") {
            assert!(KEYS.contains_key(&join("train", &field)), "train.{field}");
        }
    }

    #[test]
    fn suggests_only_what_is_close() {
        for (unknown, known) in [
            ("train.leraning_rate", Some("train.learning_rate")),
            (
                "train.ternary.learning_rat",
                Some("train.ternary.learning_rate"),
            ),
            ("train.hidden_size", Some("model.hidden_size")),
            ("learning_rate", Some("train.learning_rate")),
            ("tarin", Some("train")),
            ("tarin.steps", Some("train.steps")),
            ("train.flaot.beta1", Some("train.float.beta1")),
            ("train.momentum", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown).as_deref(), known, "{unknown}");
        }
    }
}

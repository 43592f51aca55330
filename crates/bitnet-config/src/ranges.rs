//! Which numbers a key takes, and what they count: what is checked, and what the reference says.

use std::fmt;

use toml::{Table, Value};

use crate::{ConfigError, RunConfig, Task};

use Range::{Above, AtLeast, Below, Between};

/// Numbers that a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Range {
    /// From this one on.
    AtLeast(f64),
    /// Between these two, both included.
    Between(f64, f64),
    /// From the first on, and below the second.
    Below(f64, f64),
    /// Above the first, and at most the second.
    Above(f64, f64),
}

impl Range {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            AtLeast(least) => value >= least,
            Between(least, most) => (least..=most).contains(&value),
            Below(least, below) => (least..below).contains(&value),
            Above(above, most) => value > above && value <= most,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtLeast(least) => write!(f, "at least {least}"),
            Between(least, most) => write!(f, "between {least} and {most}"),
            Below(least, below) => write!(f, "at least {least} and below {below}"),
            Above(above, most) => write!(f, "above {above} and at most {most}"),
        }
    }
}

/// AdamW moves every weight by about the learning rate in a step: beyond this no model survives one.
pub(crate) const MOST_RATE: f64 = 10.0;

/// Keys whose numbers have a range or a unit, by their path. Those of `[model]` are checked where models are built, too.
/// What depends on other keys is in validate.rs.
const RANGES: &[(&str, Range, &str)] = &[
    ("model.vocab_size", AtLeast(0.0), "ids"),
    ("model.num_labels", AtLeast(0.0), "classes"),
    ("model.input_size", AtLeast(0.0), "numbers"),
    ("model.hidden_size", AtLeast(1.0), "numbers"),
    ("model.intermediate_size", AtLeast(1.0), "numbers"),
    ("model.num_hidden_layers", AtLeast(1.0), "blocks"),
    ("model.num_decoder_layers", AtLeast(1.0), "blocks"),
    ("model.width_multiple", Above(0.0, 1024.0), ""),
    ("model.num_attention_heads", AtLeast(1.0), "heads"),
    ("model.num_key_value_heads", AtLeast(1.0), "heads"),
    ("model.head_dim", AtLeast(2.0), "numbers"),
    ("model.max_position_embeddings", AtLeast(1.0), "tokens"),
    ("model.rope_theta", Above(0.0, 1e12), ""),
    ("model.dropout", Below(0.0, 1.0), ""),
    ("model.rms_norm_eps", Above(0.0, 10.0), ""),
    ("model.initializer_range", Above(0.0, 10.0), ""),
    ("data.vocab_size", AtLeast(0.0), "ids"),
    ("data.max_length", AtLeast(1.0), "tokens"),
    ("data.validation_examples", AtLeast(0.0), "examples"),
    ("data.test_examples", AtLeast(0.0), "examples"),
    ("data.characters", AtLeast(0.0), "characters"),
    ("data.examples", AtLeast(1.0), "examples"),
    ("data.min_symbols", AtLeast(1.0), "symbols"),
    ("data.max_symbols", AtLeast(1.0), "symbols"),
    ("data.noise", Between(0.0, 1e6), ""),
    ("train.steps", AtLeast(1.0), "steps"),
    ("train.batch_size", AtLeast(1.0), "sequences or examples"),
    ("train.accumulate", AtLeast(1.0), "batches"),
    ("train.late_accumulate", AtLeast(1.0), "batches"),
    ("train.late_from", Between(0.0, 1.0), "of the steps"),
    ("train.distill_start", Between(0.0, 1.0), "of the steps"),
    ("train.context", AtLeast(1.0), "tokens"),
    ("train.loss_rows", AtLeast(0.0), "tokens"),
    ("train.eval_interval", AtLeast(0.0), "steps"),
    ("train.stop_after", AtLeast(0.0), "evaluations"),
    ("train.eval_batches", AtLeast(0.0), "batches"),
    ("train.sample_tokens", AtLeast(0.0), "tokens"),
    ("train.checkpoint_interval", AtLeast(0.0), "steps"),
    // A year.
    (
        "train.checkpoint_minutes",
        Between(0.0, 525_600.0),
        "minutes",
    ),
    ("train.keep_checkpoints", AtLeast(1.0), "checkpoints"),
    ("train.log_interval", AtLeast(0.0), "steps"),
    ("train.lambda_warmup", Below(0.0, 1.0), "of the steps"),
    ("train.label_smoothing", Below(0.0, 1.0), ""),
    ("train.token_dropout", Below(0.0, 1.0), ""),
    ("train.distill_weight", Between(0.0, 1.0), ""),
    ("train.distill_temperature", Above(0.0, 1000.0), ""),
    ("train.backward_pieces", Between(1.0, 3.0), "pieces"),
    ("train.learning_rate", Above(0.0, MOST_RATE), ""),
    ("train.second_learning_rate", Above(0.0, MOST_RATE), ""),
    ("train.final_lr_fraction", Between(0.0, 1.0), "of the peak"),
    ("train.stage_fraction", Between(0.0, 1.0), "of the steps"),
    ("train.warmup_steps", AtLeast(0.0), "steps"),
    ("train.weight_decay", Between(0.0, 100.0), ""),
    (
        "train.weight_decay_until",
        Between(0.0, 1.0),
        "of the steps",
    ),
    ("train.beta1", Below(0.0, 1.0), ""),
    ("train.beta2", Below(0.0, 1.0), ""),
    ("train.eps", Above(0.0, 1.0), ""),
    ("train.grad_clip", Between(0.0, 1e6), ""),
    ("decode.beam", Between(1.0, 1024.0), "outputs"),
    ("decode.length_penalty", Between(0.0, 100.0), ""),
    ("decode.max_length", AtLeast(1.0), "tokens"),
    ("decode.batch_size", AtLeast(1.0), "sentences"),
    ("compare.sample_tokens", AtLeast(0.0), "tokens"),
    ("compare.agreement_tokens", AtLeast(1.0), "tokens"),
    ("compare.temperature", Between(0.0, 100.0), ""),
    ("compare.prefill_tokens", AtLeast(1.0), "tokens"),
    ("compare.decode_tokens", AtLeast(1.0), "tokens"),
    ("compare.repetitions", AtLeast(1.0), "turns"),
    ("compare.probes", AtLeast(0.0), "questions"),
];

/// The range of a key and its unit, which may be empty. The keys of a twin are those of `[train]`.
pub(crate) fn range(key: &str) -> Option<(Range, &'static str)> {
    let shared = ["train.float.", "train.ternary."]
        .iter()
        .find_map(|twin| key.strip_prefix(twin));
    let shared = shared.map(|name| format!("train.{name}"));
    let key = shared.as_deref().unwrap_or(key);
    let found = RANGES.iter().find(|(known, ..)| *known == key)?;
    Some((found.1, found.2))
}

/// Checks every number that the task reads.
pub(crate) fn check(config: &RunConfig) -> Result<(), ConfigError> {
    let table = Table::try_from(config).map_err(ConfigError::Serialize)?;
    check_table(config.task, "", &table)
}

fn check_table(task: Task, prefix: &str, table: &Table) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = crate::schema::join(prefix, name);
        let number = match value {
            Value::Table(section) => {
                check_table(task, &key, section)?;
                continue;
            }
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            _ => continue,
        };
        if let Some((range, _)) = range(&key).filter(|(range, _)| !range.holds(number))
            && task.reads(&key)
        {
            return Err(ConfigError::Invalid {
                key,
                value: number.to_string(),
                problem: format!("must be {range}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::KEYS;

    #[test]
    fn every_number_has_a_range_and_every_range_is_of_a_number() {
        let number = |value: &Value| value.is_integer() || value.is_float();
        for (key, value) in KEYS.iter() {
            let bare = ["train.seed", "data.seed", "data.train_fraction"].contains(&key.as_str())
                || key.starts_with("model.rope_scaling.")
                // Checked in recipe.rs.
                || key.starts_with("recipe.");
            assert_eq!(range(key).is_some(), number(value) && !bare, "{key}");
        }
        for (key, ..) in RANGES {
            assert!(KEYS.contains_key(*key), "{key}");
        }
    }

    #[test]
    fn the_ends_of_a_range_are_in_it_where_it_says_so() {
        for (range, inside, outside) in [
            (AtLeast(1.0), vec![1.0, 9.0], vec![0.0, f64::NAN]),
            (Between(0.0, 1.0), vec![0.0, 1.0], vec![-0.1, 1.1, f64::NAN]),
            (Below(0.0, 1.0), vec![0.0, 0.9], vec![-0.1, 1.0]),
            (
                Above(0.0, 1.0),
                vec![0.1, 1.0],
                vec![0.0, 1.1, f64::INFINITY],
            ),
        ] {
            assert!(inside.iter().all(|value| range.holds(*value)), "{range}");
            assert!(!outside.iter().any(|value| range.holds(*value)), "{range}");
        }
    }
}

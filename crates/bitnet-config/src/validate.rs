//! Values that do not make sense, by themselves or together. Each message names the key, its value and the remedy.

use std::fmt::Display;
use std::path::Path;

use bitnet_models::{LinearKind, ModelConfig};

use crate::ranges;
use crate::{
    CompareConfig, ConfigError, DataConfig, DataKind, DecodeConfig, Level, OptimConfig, RunConfig,
    Schedule, Task, TrainConfig,
};

type Check = Result<(), ConfigError>;

impl RunConfig {
    /// Checks that the run can be carried out as described.
    ///
    /// # Errors
    /// The first value that is out of range or does not agree with another.
    pub fn validate(&self) -> Check {
        let usable =
            !matches!(self.name.as_str(), "" | "." | "..") && !self.name.contains(['/', '\\']);
        ensure(usable, "name", format_args!("{:?}", self.name), || {
            "cannot name a directory; choose a name without slashes".into()
        })?;
        self.model.validate()?;
        for (key, seed) in [
            ("train.seed", self.train.seed),
            ("data.seed", self.data.seed),
        ] {
            ensure(i64::try_from(seed).is_ok(), key, seed, || {
                format!(
                    "exceeds {}, the largest integer of TOML; choose a smaller seed",
                    i64::MAX
                )
            })?;
        }
        ranges::check(self)?;
        validate_widths(self.task, &self.model)?;
        validate_train(&self.train, &self.model)?;
        self.validate_recipe()?;
        match self.task {
            Task::Lm => {
                self.model.check_decoder_only(&self.quant)?;
                validate_origin(self)?;
                validate_corpus(&self.data, self.train.context)?;
            }
            task => {
                let origin = self.train.init_from.as_deref().unwrap_or(Path::new(""));
                ensure(
                    self.train.init_from.is_none(),
                    "train.init_from",
                    origin.display(),
                    || {
                        "only a language model (task = \"lm\") starts from another one; remove it"
                            .into()
                    },
                )?;
                let teacher = self.train.distill_from.as_deref().unwrap_or(Path::new(""));
                ensure(
                    self.train.distill_from.is_none(),
                    "train.distill_from",
                    teacher.display(),
                    || "only a language model (task = \"lm\") has a teacher; remove it".into(),
                )?;
                validate_data(task, &self.data, &self.model)?;
            }
        }
        validate_decode(&self.decode, &self.model)?;
        validate_compare(&self.compare, &self.model)
    }
}

fn validate_train(train: &TrainConfig, model: &ModelConfig) -> Check {
    let sequences = train.batch_size.checked_mul(train.accumulate);
    let accumulate = train.accumulate;
    ensure(sequences.is_some(), "train.accumulate", accumulate, || {
        "times train.batch_size is no number of sequences; lower one of them".into()
    })?;
    let never = train.stop_after > 0 && train.eval_interval == 0;
    ensure(!never, "train.stop_after", train.stop_after, || {
        "counts evaluations, and train.eval_interval = 0 makes none; set that too".into()
    })?;
    let longest = model.max_position_embeddings;
    ensure(
        train.context <= longest,
        "train.context",
        train.context,
        || {
            format!(
                "exceeds model.max_position_embeddings = {longest}; raise that or lower train.context"
            )
        },
    )?;
    let taught = train.distill_from.is_some() && train.loss_rows > 0;
    ensure(!taught, "train.loss_rows", train.loss_rows, || {
        "cannot be together with train.distill_from: a teacher needs all logits; take one of them out".into()
    })?;
    for (linear, section) in [
        (LinearKind::Float, "float"),
        (LinearKind::Ternary, "ternary"),
    ] {
        let own = toml::Table::try_from(train.overrides(linear)).unwrap_or_default();
        let name = |key: &str| match own.contains_key(key) {
            true => format!("train.{section}.{key}"),
            false => format!("train.{key}"),
        };
        validate_optim(&train.optim(linear), name)?;
    }
    Ok(())
}

fn validate_optim(optim: &OptimConfig, name: impl Fn(&str) -> String) -> Check {
    match (optim.schedule, optim.second_learning_rate) {
        (Schedule::TwoStage, None) => Err(ConfigError::Missing {
            key: name("second_learning_rate"),
            reason: format!(
                "{} = \"two-stage\" needs it; set it, or choose \"cosine\" or \"linear\"",
                name("schedule")
            ),
        }),
        (_, Some(second)) => {
            let key = name("second_learning_rate");
            ensure(second <= optim.learning_rate, &key, second, || {
                format!(
                    "exceeds {} = {}; the second peak is the lower one",
                    name("learning_rate"),
                    optim.learning_rate
                )
            })
        }
        (_, None) => Ok(()),
    }
}

/// Sums of a ternary product are whole numbers of 32 bits, which hold so many terms.
const WIDEST: usize = 1 << 20;

/// Widths that the products of ternary layers sum over.
fn validate_widths(task: Task, model: &ModelConfig) -> Check {
    if model.linear == LinearKind::Float {
        return Ok(());
    }
    let widths: &[(&str, usize)] = match task {
        Task::Layer => &[("model.input_size", model.input_size)],
        Task::Vectors => &[
            ("model.input_size", model.input_size),
            ("model.hidden_size", model.hidden_size),
        ],
        _ => &[
            ("model.hidden_size", model.hidden_size),
            ("model.intermediate_size", model.intermediate_size),
        ],
    };
    for (key, width) in widths {
        ensure(*width <= WIDEST, key, width, || {
            format!("exceeds {WIDEST}, which is what a ternary layer sums over; make it smaller")
        })?;
    }
    Ok(())
}

/// What the tasks other than `lm` need of their data.
fn validate_data(task: Task, data: &DataConfig, model: &ModelConfig) -> Check {
    let needs = |key: &str, given: bool, what: &str| match given {
        true => Ok(()),
        false => Err(ConfigError::Missing {
            key: key.into(),
            reason: format!("task = \"{}\" needs {what}", task.name()),
        }),
    };
    let both = |a: &Option<_>, b: &Option<_>| a.is_some() && b.is_some();
    match task {
        Task::Translate => {
            for (source, target, path, names) in [
                (&data.source, &data.target, &data.path, ["source", "target"]),
                (
                    &data.validation_source,
                    &data.validation_target,
                    &data.validation_path,
                    ["validation_source", "validation_target"],
                ),
                (
                    &data.test_source,
                    &data.test_target,
                    &data.test_path,
                    ["test_source", "test_target"],
                ),
            ] {
                let missing = usize::from(source.is_some());
                let half = source.is_some() != target.is_some();
                let train = names[0] == "source";
                needs(
                    &format!("data.{}", names[missing]),
                    !half && (!train || both(source, target) || path.is_some()),
                    "source and target sentences: two files of one sentence a line, or data.path, a table of both",
                )?;
            }
        }
        Task::Classify | Task::Vectors => {
            needs(
                "data.path",
                data.path.is_some(),
                "a file of examples; set it",
            )?;
        }
        Task::Synthetic | Task::Layer => {
            ensure(
                data.min_symbols <= data.max_symbols,
                "data.min_symbols",
                data.min_symbols,
                || format!("exceeds data.max_symbols = {}; lower it", data.max_symbols),
            )?;
        }
        Task::Lm => {}
    }
    let files = [&data.validation_path, &data.validation_source];
    if files.iter().all(|path| path.is_none()) {
        positive("data.validation_examples", data.validation_examples)?;
    }
    if [&data.test_path, &data.test_source]
        .iter()
        .all(|path| path.is_none())
    {
        positive("data.test_examples", data.test_examples)?;
    }
    if task == Task::Layer {
        positive("model.input_size", model.input_size)?;
        positive("model.num_labels", model.num_labels)?;
    }
    if task.reads_sequences() {
        let longest = model.max_position_embeddings;
        ensure(
            data.max_length < longest,
            "data.max_length",
            data.max_length,
            || {
                format!(
                    "must be below model.max_position_embeddings = {longest}, which also holds a sequence's first token; \
                     raise that or lower data.max_length"
                )
            },
        )?;
    }
    validate_vocabulary(data)
}

fn validate_vocabulary(data: &DataConfig) -> Check {
    let own = data.tokenizer.is_some();
    ensure(
        own == (data.level == Level::File),
        "data.level",
        data.level.name(),
        || match own {
            true => "has no say: the tokenizer is that of data.tokenizer; leave it out".into(),
            false => {
                "is the tokenizer of data.tokenizer, which is missing; choose char, byte or bpe"
                    .into()
            }
        },
    )?;
    ensure(
        data.level != Level::Bpe || data.vocab_size > 256,
        "data.vocab_size",
        data.vocab_size,
        || "is too small for data.level = \"bpe\", which begins with 256 bytes; raise it".into(),
    )
}

fn validate_decode(decode: &DecodeConfig, model: &ModelConfig) -> Check {
    let longest = model.max_position_embeddings;
    ensure(
        decode.max_length <= longest,
        "decode.max_length",
        decode.max_length,
        || format!("exceeds model.max_position_embeddings = {longest}; raise that or lower it"),
    )
}

/// What a model that starts from another one brings, and one that does not has to say.
fn validate_origin(config: &RunConfig) -> Check {
    let RunConfig { data, train, .. } = config;
    let starts = train.init_from.is_some();
    let own = data.tokenizer.as_deref().unwrap_or(Path::new(""));
    ensure(
        !starts || data.tokenizer.is_none(),
        "data.tokenizer",
        own.display(),
        || "has no say: the tokenizer is that of train.init_from; leave it out".into(),
    )?;
    ensure(
        starts == (data.level == Level::Model),
        "data.level",
        data.level.name(),
        || match starts {
            true => "has no say: the tokenizer is that of train.init_from; leave it out".into(),
            false => {
                "is the tokenizer of train.init_from, which is missing; choose char, byte or bpe"
                    .into()
            }
        },
    )?;
    let chat = data.kind == DataKind::Chat;
    ensure(starts || !chat, "data.kind", "\"chat\"", || {
        "is written by the chat template of train.init_from, which is missing; set it".into()
    })?;
    match (chat, &data.validation_path) {
        (true, None) => positive("data.validation_examples", data.validation_examples),
        _ => Ok(()),
    }
}

/// The text of a language model.
fn validate_corpus(data: &DataConfig, context: usize) -> Check {
    validate_vocabulary(data)?;
    let fraction = data.train_fraction;
    ensure(
        fraction > 0.0 && fraction < 1.0,
        "data.train_fraction",
        fraction,
        || "must be above 0 and below 1, so that both splits hold text".into(),
    )?;
    let path = data
        .path
        .as_ref()
        .filter(|paths| paths.iter().any(|path| !path.as_os_str().is_empty()));
    match (data.kind, path) {
        (DataKind::Chat, None) => Err(ConfigError::Missing {
            key: "data.path".into(),
            reason: "data.kind = \"chat\" needs a file of conversations, one a line; set it".into(),
        }),
        (DataKind::Text, None) => Err(ConfigError::Missing {
            key: "data.path".into(),
            reason:
                "data.kind = \"text\" needs a text file; set it, or choose data.kind = \"stories\""
                    .into(),
        }),
        (DataKind::Stories, _) => {
            // A window is the context and the token after it.
            let trained = (data.characters as f64 * fraction) as usize;
            let shorter = trained.min(data.characters - trained);
            ensure(
                shorter > context,
                "data.characters",
                data.characters,
                || {
                    format!(
                        "leaves {shorter} characters in one split, fewer than train.context + 1 = {}; \
                     raise it or lower train.context",
                        context + 1
                    )
                },
            )
        }
        (DataKind::Text | DataKind::Chat, Some(_)) => Ok(()),
    }
}

fn validate_compare(compare: &CompareConfig, model: &ModelConfig) -> Check {
    let longest = model.max_position_embeddings;
    ensure(
        compare.sample_tokens < longest,
        "compare.sample_tokens",
        compare.sample_tokens,
        || {
            format!(
                "leaves no room for a prompt in model.max_position_embeddings = {longest}; lower it or raise that"
            )
        },
    )?;
    let fits = compare.prefill_tokens.saturating_add(compare.decode_tokens) <= longest;
    ensure(
        fits,
        "compare.prefill_tokens",
        compare.prefill_tokens,
        || {
            format!(
                "and compare.decode_tokens = {} together exceed model.max_position_embeddings = {longest}; \
             raise that or lower one of them",
                compare.decode_tokens
            )
        },
    )
}

pub(crate) fn ensure(
    holds: bool,
    key: &str,
    value: impl Display,
    problem: impl FnOnce() -> String,
) -> Check {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        key: key.to_owned(),
        value: value.to_string(),
        problem: problem(),
    })
}

pub(crate) fn positive(key: &str, value: usize) -> Check {
    ensure(value > 0, key, value, || "must be at least 1".into())
}

/// From 0 to `most`, both included.
pub(crate) fn between(key: &str, value: f64, most: f64) -> Check {
    ensure((0.0..=most).contains(&value), key, value, || {
        format!("must be between 0 and {most}")
    })
}

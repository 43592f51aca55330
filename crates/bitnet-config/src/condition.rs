//! Which keys count only under the value of another one: the rest of what [`scope`](crate::scope) says of tasks. A key
//! that is written where it counts for nothing is refused, with what it needs.

use bitnet_models::{LinearKind, PositionKind};

use crate::schema::KEYS;
use crate::scope::{TASKS, readers};
use crate::{DataConfig, DataKind, Level, RunConfig, Schedule, Task};

use Task::{Classify, Lm, Synthetic, Translate, Vectors};

/// What some keys need of others to count.
pub(crate) struct Condition {
    keys: &'static [&'static str],
    /// Tasks in which it holds them back; in others they count whatever.
    tasks: &'static [Task],
    /// The keys that decide.
    pub(crate) deciders: &'static [&'static str],
    /// What these must say: `with …` or `without …`.
    pub(crate) needs: &'static str,
    /// Whether they do, for a key.
    holds: fn(&RunConfig, &str) -> bool,
}

/// The keys of a stage of their own, of which a twin may have one.
const SCHEDULES: &[&str] = &[
    "train.schedule",
    "train.float.schedule",
    "train.ternary.schedule",
];

const CONDITIONS: &[Condition] = &[
    Condition {
        keys: &["data.path", "data.validation_path"],
        tasks: &[Lm],
        deciders: &["data.kind"],
        needs: "with data.kind = \"text\" or \"chat\"",
        holds: |config, _| config.data.kind != DataKind::Stories,
    },
    Condition {
        keys: &["data.text_columns"],
        tasks: &[Lm],
        deciders: &["data.kind"],
        needs: "with data.kind = \"text\"",
        holds: |config, _| config.data.kind == DataKind::Text,
    },
    Condition {
        keys: &["data.characters", "data.seed", "compare.probes"],
        tasks: &[Lm],
        deciders: &["data.kind"],
        needs: "with data.kind = \"stories\"",
        holds: |config, _| config.data.kind == DataKind::Stories,
    },
    Condition {
        keys: &["data.validation_examples", "data.chat_template"],
        tasks: &[Lm],
        deciders: &["data.kind"],
        needs: "with data.kind = \"chat\"",
        holds: |config, _| config.data.kind == DataKind::Chat,
    },
    Condition {
        keys: &["data.train_fraction"],
        tasks: &[Lm],
        deciders: &["data.kind"],
        needs: "with data.kind = \"stories\" or \"text\"",
        holds: |config, _| config.data.kind != DataKind::Chat,
    },
    Condition {
        keys: &["data.train_fraction", "data.validation_examples"],
        tasks: &[Lm],
        deciders: &["data.validation_path"],
        needs: "without data.validation_path",
        holds: |config, _| config.data.validation_path.is_none(),
    },
    Condition {
        keys: &["data.vocab_size"],
        tasks: &[Lm, Translate, Classify, Synthetic],
        deciders: &["data.level", "data.tokenizer", "train.init_from"],
        needs: "with data.level = \"bpe\"",
        holds: |config, _| config.data.level == Level::Bpe,
    },
    Condition {
        keys: &["data.path"],
        tasks: &[Translate],
        deciders: &["data.source"],
        needs: "without data.source and data.target",
        holds: |config, _| config.data.source.is_none(),
    },
    Condition {
        keys: &["data.validation_path"],
        tasks: &[Translate],
        deciders: &["data.validation_source"],
        needs: "without data.validation_source and data.validation_target",
        holds: |config, _| config.data.validation_source.is_none(),
    },
    Condition {
        keys: &["data.test_path"],
        tasks: &[Translate],
        deciders: &["data.test_source"],
        needs: "without data.test_source and data.test_target",
        holds: |config, _| config.data.test_source.is_none(),
    },
    Condition {
        keys: &["data.source_column", "data.target_column"],
        tasks: &[Translate],
        deciders: &["data.source", "data.path"],
        needs: "with a table of pairs, of data.path, data.validation_path or data.test_path",
        holds: |RunConfig { data, .. }, _| {
            [
                (&data.path, &data.source),
                (&data.validation_path, &data.validation_source),
                (&data.test_path, &data.test_source),
            ]
            .iter()
            .any(|(path, source)| path.is_some() && source.is_none())
        },
    },
    Condition {
        keys: &["data.validation_examples"],
        tasks: &[Translate, Classify, Vectors],
        deciders: &["data.validation_path", "data.validation_source"],
        needs: "without files of examples to validate on",
        holds: |RunConfig { data, .. }, _| {
            data.validation_path.is_none() && data.validation_source.is_none()
        },
    },
    Condition {
        keys: &["data.test_examples"],
        tasks: &[Translate, Classify, Vectors],
        deciders: &["data.test_path", "data.test_source"],
        needs: "without files of examples to test on",
        holds: |RunConfig { data, .. }, _| data.test_path.is_none() && data.test_source.is_none(),
    },
    Condition {
        keys: &["data.shuffle", "data.seed"],
        tasks: &[Translate, Classify],
        deciders: &[
            "data.validation_path",
            "data.validation_source",
            "data.test_path",
            "data.test_source",
        ],
        needs: "without files both to validate and to test on",
        holds: |config, _| is_split(&config.data),
    },
    Condition {
        keys: &["data.seed"],
        tasks: &[Translate, Classify],
        deciders: &["data.shuffle"],
        needs: "with data.shuffle = true",
        holds: |config, _| config.data.shuffle,
    },
    Condition {
        keys: &["decode.length_penalty"],
        tasks: &[Translate, Synthetic],
        deciders: &["decode.beam"],
        needs: "with decode.beam above 1",
        holds: |config, _| config.decode.beam > 1,
    },
    Condition {
        keys: &["model.rope_theta", "model.rope_scaling"],
        tasks: &[Translate, Classify, Synthetic],
        deciders: &["model.position"],
        needs: "with model.position = \"rotary\"",
        holds: |config, _| config.model.position == PositionKind::Rotary,
    },
    Condition {
        keys: &["model.initializer_range"],
        tasks: &[Lm],
        deciders: &["train.init_from"],
        needs: "without train.init_from",
        holds: |config, _| config.train.init_from.is_none(),
    },
    Condition {
        keys: &["second_learning_rate", "stage_fraction"],
        tasks: &TASKS,
        deciders: SCHEDULES,
        needs: "with schedule = \"two-stage\"",
        holds: |config, key| twins(config, key, |kind| kind == Schedule::TwoStage),
    },
    Condition {
        keys: &["final_lr_fraction"],
        tasks: &TASKS,
        deciders: SCHEDULES,
        needs: "with a schedule that falls",
        holds: |config, key| twins(config, key, |kind| kind != Schedule::Constant),
    },
    Condition {
        keys: &[
            "train.distill_weight",
            "train.distill_start",
            "train.distill_temperature",
        ],
        tasks: &[Lm],
        deciders: &["train.distill_from"],
        needs: "with train.distill_from",
        holds: |config, _| config.train.distill_from.is_some(),
    },
    Condition {
        keys: &["train.late_from"],
        tasks: &TASKS,
        deciders: &["train.late_accumulate", "train.accumulate"],
        needs: "with train.late_accumulate above train.accumulate",
        holds: |RunConfig { train, .. }, _| train.late_accumulate > train.accumulate,
    },
    Condition {
        keys: &["recipe.pull_from"],
        tasks: &TASKS,
        deciders: &["recipe.pull"],
        needs: "with recipe.pull above 0",
        holds: |config, _| config.recipe.pull > 0.0,
    },
    Condition {
        keys: &["recipe.temperature_until"],
        tasks: &TASKS,
        deciders: &["recipe.temperature"],
        needs: "with recipe.temperature above 0",
        holds: |config, _| config.recipe.temperature > 0.0,
    },
    Condition {
        keys: &["compare.sample_tokens", "compare.temperature"],
        tasks: &[Lm],
        deciders: &["compare.prompts"],
        needs: "with compare.prompts",
        holds: |config, _| !config.compare.prompts.is_empty(),
    },
];

/// Whether examples are taken from the training data to validate or to test on.
fn is_split(data: &DataConfig) -> bool {
    let none = |path: &Option<_>, source: &Option<_>| path.is_none() && source.is_none();
    none(&data.validation_path, &data.validation_source) || none(&data.test_path, &data.test_source)
}

/// Whether the schedule of the twin that a key is of has it; of a shared key, that of one of them.
fn twins(config: &RunConfig, key: &str, has: fn(Schedule) -> bool) -> bool {
    let of = |linear| has(config.train.optim(linear).schedule);
    match key.split('.').nth(1) {
        Some("float") => of(LinearKind::Float),
        Some("ternary") => of(LinearKind::Ternary),
        _ => of(LinearKind::Float) || of(LinearKind::Ternary),
    }
}

impl Condition {
    /// Whether it is about a key; those of an optimiser have one name in three sections.
    fn is_about(&self, key: &str) -> bool {
        let bare = key
            .strip_prefix("train.")
            .and_then(|rest| rest.rsplit('.').next())
            .unwrap_or(key);
        self.keys
            .iter()
            .any(|own| *own == key || (!own.contains('.') && *own == bare))
    }
}

/// What a key needs of others, each with the tasks in which it does; none counts whatever the others say.
pub(crate) fn needs(key: &str) -> impl Iterator<Item = (&'static str, &'static [Task])> {
    let about = CONDITIONS.iter().filter(move |one| one.is_about(key));
    about.map(|one| (one.needs, one.tasks))
}

impl RunConfig {
    /// Whether a key of these settings counts: the task reads it, and no other key keeps it from that.
    pub fn reads(&self, key: &str) -> bool {
        self.task.reads(key) && self.hindrance(key).is_none()
    }

    /// What keeps a key that the task reads from counting.
    pub(crate) fn hindrance(&self, key: &str) -> Option<&'static Condition> {
        let mut about = CONDITIONS.iter().filter(|one| one.is_about(key));
        about.find(|one| one.tasks.contains(&self.task) && !(one.holds)(self, key))
    }

    /// The keys that count for nothing, in the order of their names.
    pub(crate) fn hindered(&self) -> impl Iterator<Item = (&'static str, &'static Condition)> {
        let keys = KEYS.keys().filter(|key| self.task.reads(key));
        keys.filter_map(|key| Some((key.as_str(), self.hindrance(key)?)))
    }
}

/// The tasks of a condition in a sentence, of those that read the key; none where it is all of them.
pub(crate) fn only_of(key: &str, tasks: &[Task]) -> Option<String> {
    let others = readers(key).iter().any(|task| !tasks.contains(task));
    let own: Vec<Task> = (readers(key).iter().copied())
        .filter(|task| tasks.contains(task))
        .collect();
    others.then(|| crate::scope::names(&own))
}

#[cfg(test)]
mod tests;

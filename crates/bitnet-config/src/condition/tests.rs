use super::*;
use crate::{ConfigError, Loader};
use Task::Layer;

/// For each condition a task, settings under which its keys count for nothing, and settings under which they do.
const TRIED: &[(&str, Task, &[&str], &[&str])] = &[
    ("data.path=x", Lm, &[], &["data.kind=text"]),
    (
        "data.text_columns=[\"a\"]",
        Lm,
        &[],
        &["data.kind=text", "data.path=x"],
    ),
    (
        "data.characters=5000",
        Lm,
        &["data.kind=text", "data.path=x"],
        &[],
    ),
    (
        "data.validation_examples=9",
        Lm,
        &["data.kind=text", "data.path=x"],
        CHAT,
    ),
    ("data.train_fraction=0.5", Lm, CHAT, &[]),
    (
        "data.train_fraction=0.5",
        Lm,
        &["data.kind=text", "data.path=x", "data.validation_path=y"],
        &["data.kind=text", "data.path=x"],
    ),
    (
        "data.vocab_size=900",
        Classify,
        &["data.level=char"],
        &["data.level=bpe"],
    ),
    (
        "data.path=x",
        Translate,
        &["data.source=a", "data.target=b"],
        &[],
    ),
    (
        "data.validation_path=x",
        Translate,
        &["data.validation_source=a", "data.validation_target=b"],
        &[],
    ),
    (
        "data.test_path=x",
        Translate,
        &["data.test_source=a", "data.test_target=b"],
        &[],
    ),
    (
        "data.source_column=x",
        Translate,
        &["data.source=a", "data.target=b"],
        &["data.path=x"],
    ),
    (
        "data.validation_examples=9",
        Vectors,
        &["data.validation_path=x"],
        &[],
    ),
    ("data.test_examples=9", Classify, &["data.test_path=x"], &[]),
    (
        "data.shuffle=true",
        Classify,
        &["data.validation_path=x", "data.test_path=y"],
        &[],
    ),
    ("data.seed=5", Translate, &["data.shuffle=false"], &[]),
    (
        "decode.length_penalty=2.0",
        Synthetic,
        &["decode.beam=1"],
        &[],
    ),
    (
        "model.rope_theta=100.0",
        Translate,
        &["model.position=sinusoidal"],
        &[],
    ),
    ("model.initializer_range=0.1", Lm, STARTED, &[]),
    (
        "train.float.second_learning_rate=1e-4",
        Layer,
        &[
            "train.ternary.schedule=two-stage",
            "train.ternary.second_learning_rate=1e-4",
        ],
        &["train.float.schedule=two-stage"],
    ),
    (
        "train.final_lr_fraction=0.5",
        Layer,
        &["train.schedule=constant"],
        &[],
    ),
    (
        "train.distill_weight=0.1",
        Lm,
        &[],
        &["train.distill_from=run"],
    ),
    (
        "train.late_from=0.1",
        Vectors,
        &["train.accumulate=2"],
        &["train.late_accumulate=3"],
    ),
    ("recipe.pull_from=0.1", Lm, &[], &["recipe.pull=1.0"]),
    (
        "recipe.temperature_until=0.1",
        Lm,
        &[],
        &["recipe.temperature=1.0"],
    ),
    (
        "compare.temperature=0.1",
        Lm,
        &[],
        &["compare.prompts=[\"a\"]"],
    ),
];
const STARTED: &[&str] = &["train.init_from=run", "data.level=model"];
const CHAT: &[&str] = &[
    "train.init_from=run",
    "data.level=model",
    "data.kind=chat",
    "data.path=x",
];

fn load(task: Task, sets: &[&str]) -> Result<RunConfig, ConfigError> {
    let mut text = format!("task = \"{}\"\n", task.name());
    let given = |key: &str| sets.iter().any(|set| set.starts_with(key));
    match task {
        Translate | Classify | Vectors if !given("data.path=") && !given("data.source=") => {
            text += "[data]\npath = \"rows.csv\"\n";
        }
        Layer => text += "[model]\ninput_size = 4\nnum_labels = 2\n",
        _ => {}
    }
    let mut loader = Loader::new().builtin("test", &text)?;
    for set in sets {
        loader = loader.set(set)?;
    }
    loader.finish()
}

#[test]
fn a_key_that_counts_for_nothing_is_refused_and_not_printed() {
    for (set, task, without, with) in TRIED {
        let key = set.split('=').next().unwrap();
        let error = load(*task, &[&[*set], *without].concat())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(key) && error.contains("counts only with"),
            "{set}: {error}"
        );
        let plain = load(*task, without).unwrap_or_else(|error| panic!("{set}: {error}"));
        assert!(!plain.reads(key), "{set}");
        let (section, name) = key.rsplit_once('.').unwrap();
        let printed = plain.to_toml().unwrap();
        let in_section = printed
            .split(&format!("[{section}]\n"))
            .nth(1)
            .unwrap_or_default();
        let in_section = in_section.split("\n[").next().unwrap();
        assert!(
            !format!("\n{in_section}").contains(&format!("\n{name} = ")),
            "{set}: {printed}"
        );
        let read = load(*task, &[&[*set], *with].concat());
        let read = read.unwrap_or_else(|error| panic!("{set}: {error}"));
        assert!(read.reads(key), "{set}");
        let printed = read.to_toml().unwrap();
        let again = Loader::new().builtin("test", &printed).unwrap().finish();
        assert_eq!(again.unwrap_or_else(|error| panic!("{set}: {error}")), read);
    }
    let tried = |one: &Condition| {
        TRIED.iter().any(|(set, task, without, _)| {
            let key = set.split('=').next().unwrap();
            let plain = load(*task, without).unwrap();
            plain
                .hindrance(key)
                .is_some_and(|found| found.needs == one.needs)
        })
    };
    for one in CONDITIONS {
        assert!(tried(one), "{:?} {}", one.keys, one.needs);
    }
}

#[test]
fn every_condition_is_about_keys_that_its_tasks_read() {
    for one in CONDITIONS {
        let about: Vec<&String> = KEYS.keys().filter(|key| one.is_about(key)).collect();
        assert!(about.len() >= one.keys.len(), "{:?}", one.keys);
        for task in one.tasks {
            assert!(
                about.iter().all(|key| task.reads(key)),
                "{:?} {}",
                one.keys,
                task.name()
            );
        }
        assert!(
            one.deciders.iter().all(|key| KEYS.contains_key(*key)),
            "{:?}",
            one.keys
        );
    }
}

#[test]
fn what_a_later_layer_switches_off_is_dropped_and_said() {
    let file = "[data]\nkind = \"text\"\npath = \"x\"\ntext_columns = [\"a\"]\n";
    let loader = Loader::new().builtin("file", file).unwrap();
    let (config, notes) = loader
        .set("data.kind=stories")
        .unwrap()
        .finish_with_notes()
        .unwrap();
    assert_eq!(
        (config.data.path, config.data.text_columns),
        (None, vec!["text".to_owned()])
    );
    assert_eq!(
        notes,
        [
            "data.path of built-in file, line 3 counts only with data.kind = \"text\" or \"chat\"",
            "data.text_columns of built-in file, line 4 counts only with data.kind = \"text\"",
        ]
    );
}

#[test]
fn what_several_runs_share_may_count_for_some_of_them() {
    let file = "[train]\ndistill_weight = 0.3\n";
    let shared = || Loader::new().builtin("file", file).unwrap().shared();
    let config = shared().finish().unwrap();
    assert_eq!(
        config,
        Loader::new().builtin("file", "").unwrap().finish().unwrap()
    );
    let taught = shared()
        .set("train.distill_from=run")
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(taught.train.distill_weight, 0.3);
    let own = shared().set("train.distill_weight=0.3").unwrap().finish();
    assert!(own.is_err());
}

//! Precedence, value parsing, names and defaults of the loader.

use std::fs;

use bitnet_config::{DataKind, LinearKind, Loader, OptimOverride, RunConfig, Schedule};

fn set(assignments: &[&str]) -> RunConfig {
    let mut loader = Loader::new();
    for assignment in assignments {
        loader = loader.set(assignment).unwrap();
    }
    loader.finish().unwrap()
}

#[test]
fn nothing_written_is_the_default() {
    assert_eq!(Loader::new().finish().unwrap(), RunConfig::default());
}

#[test]
fn later_layers_win_key_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my-run.toml");
    fs::write(
        &path,
        "[train]\nsteps = 10\nbatch_size = 2\nseed = 1\nwarmup_steps = 1\n",
    )
    .unwrap();
    let config = Loader::new()
        .file(&path)
        .unwrap()
        .env([
            ("BITNET_TRAIN__STEPS", "20"),
            ("BITNET_TRAIN__SEED", "2"),
            ("BITNET_TRAIN__FLOAT__BETA1", "0.8"),
            ("BITNET_BACKEND", "cuda"),
            ("OTHER__KEY", "1"),
        ])
        .unwrap()
        .set("train.steps=30")
        .unwrap()
        .set("train.steps = 40")
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(config.name, "my-run");
    let train = &config.train;
    assert_eq!(
        (train.steps, train.seed, train.batch_size, train.context),
        (40, 2, 2, 128)
    );
    assert_eq!(train.optim(LinearKind::Float).beta1, 0.8);
    assert_eq!(train.optim(LinearKind::Ternary).beta1, 0.9);
}

#[test]
fn a_written_name_wins_over_the_file() {
    let config = Loader::new()
        .builtin("quickstart", "name = 'mine'")
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(config.name, "mine");
}

#[test]
fn values_are_toml_and_bare_words_are_strings() {
    let config = set(&[
        "data.path=../x.txt",
        "data.kind=text",
        "name=2024",
        "train.learning_rate=1",
        "train.schedule=\"linear\"",
        "compare.prompts=[\"a = b\", 'c']",
        "model.tie_word_embeddings=true",
    ]);
    assert_eq!(config.data.path, Some("../x.txt".into()));
    assert_eq!(config.data.kind, DataKind::Text);
    assert_eq!(config.name, "2024");
    assert_eq!(config.train.shared.learning_rate, 1.0);
    assert_eq!(config.train.shared.schedule, Schedule::Linear);
    assert_eq!(config.compare.prompts, ["a = b", "c"]);
    assert!(config.model.tie_word_embeddings);
}

#[test]
fn an_inline_table_sets_a_section() {
    let config = set(&[
        "train.float={learning_rate=1e-3, beta1=0.8}",
        "train.float.beta1=0.7",
    ]);
    let expected = OptimOverride {
        learning_rate: Some(1e-3),
        beta1: Some(0.7),
        ..OptimOverride::default()
    };
    assert_eq!(config.train.float, expected);
}

#[test]
fn unwritten_lengths_shrink_to_fit() {
    let config = set(&["model.max_position_embeddings=32", "train.steps=50"]);
    assert_eq!(
        (config.train.context, config.train.shared.warmup_steps),
        (32, 5)
    );
    let compare = &config.compare;
    assert_eq!(
        (
            compare.sample_tokens,
            compare.prefill_tokens,
            compare.decode_tokens
        ),
        (16, 16, 8)
    );
}

#[test]
fn everything_set_round_trips() {
    let config = set(&[
        "model.num_key_value_heads=2",
        "model.head_dim=64",
        "model.linear=float",
        "data.kind=text",
        "data.path=a b/\"c\".txt",
        "train.schedule=two-stage",
        "train.second_learning_rate=1e-3",
        "train.ternary.second_learning_rate=1.5e-3",
        "train.eps=1e-12",
        "compare.prompts=[\"First Citizen:\\n\"]",
    ]);
    let text = config.to_toml().unwrap();
    let again = Loader::new()
        .builtin("again", &text)
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(again, config, "{text}");
}

#[test]
fn what_is_printed_is_complete() {
    let text = RunConfig::default().to_toml().unwrap();
    for line in [
        "name = \"run\"",
        "[model]",
        "[quant]",
        "[data]",
        "steps = 1000",
        "learning_rate = 0.002",
        "[compare]",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

//! Recipes in whole runs: each changes what is learned, goes on bit by bit, and ends in a plain packed model.

#![cfg(feature = "flex")]

use std::fs;

use bitnet_models::Transformer;
use bitnet_train::{Checkpoint, RunDir, Task, export, load_exported};

use crate::common::{Setup, bits, metrics};

/// Settings of every recipe, some of them together.
const RECIPES: &[&[&str]] = &[
    &["quant.weights=rms"],
    &["quant.weights=mse", "quant.granularity=row"],
    &["recipe.trust=0.5"],
    &["recipe.pull=5.0", "recipe.pull_from=0.25"],
    &["recipe.residual=0.5"],
    &[
        "train.late_accumulate=3",
        "train.late_from=0.5",
        "model.dropout=0.1",
    ],
    &["train.optimizer=muon"],
    &["train.optimizer=muon", "model.linear=float"],
    &["recipe.float_until=0.5"],
    &["recipe.temperature=1.0", "recipe.temperature_until=0.5"],
    &["quant.learned_scale=true"],
    &[
        "quant.learned_scale=true",
        "quant.granularity=group-16",
        "quant.weights=rms",
        "recipe.trust=0.5",
        "recipe.pull=1.0",
        "recipe.residual=0.25",
        "recipe.temperature=0.5",
        "recipe.temperature_until=0.75",
        "recipe.float_until=0.25",
        "train.lambda_warmup=0.25",
        "train.optimizer=muon",
    ],
];

fn setup(recipe: &[&str]) -> Setup {
    let base = [
        "train.steps=8",
        "train.eval_interval=3",
        "train.batch_size=2",
    ];
    Setup::new(&[&base[..], recipe].concat())
}

fn losses(setup: &Setup, run: &RunDir) -> Vec<f64> {
    setup.train(run, None, usize::MAX).unwrap();
    let lines = metrics(run, "train");
    lines
        .iter()
        .map(|line| line["loss"].as_f64().unwrap())
        .collect()
}

#[test]
fn every_recipe_goes_on_bit_by_bit_and_ends_in_a_packed_model_that_answers_alike() {
    let plain = setup(&[]);
    let run = plain.create("run");
    let (expected, _) = plain.train(&run, None, usize::MAX).unwrap();
    let without = bits(&expected);
    for recipe in RECIPES {
        let setup = setup(recipe);
        let whole = setup.create("whole");
        let (expected, summary) = setup.train(&whole, None, usize::MAX).unwrap();
        assert!(bits(&expected) != without, "{recipe:?} changes nothing");
        for stop in [1, 5] {
            let run = setup.create(&format!("stopped-{stop}"));
            setup.train(&run, None, stop).unwrap();
            let checkpoint = Checkpoint::latest(&run).unwrap();
            let (model, _) = setup.train(&run, Some(checkpoint), usize::MAX).unwrap();
            assert!(bits(&model) == bits(&expected), "{recipe:?} after {stop}");
            for file in ["model.bpk", "optimizer.bpk"] {
                let bytes = |run: &RunDir| {
                    fs::read(Checkpoint::latest(run).unwrap().path().join(file)).unwrap()
                };
                assert!(
                    bytes(&run) == bytes(&whole),
                    "{file}, {recipe:?} after {stop}"
                );
            }
            for kind in ["train", "val", "layers"] {
                assert_eq!(metrics(&run, kind), metrics(&whole, kind), "{recipe:?}");
            }
        }
        export(&whole, &expected, 8).unwrap();
        let packed: Transformer = load_exported(&whole, &setup.device).unwrap();
        let task = bitnet_train::LanguageModel::new(&setup.config, &setup.corpus).unwrap();
        let score = task.score(&packed, &setup.device).unwrap();
        assert_eq!(
            score.loss.to_bits(),
            summary.val.loss.to_bits(),
            "{recipe:?}"
        );
    }
}

/// A ternary model that begins as a float one takes the float twin's steps, to the bit, and then others.
#[test]
fn float_first_is_the_float_twin_until_it_turns() {
    let shared = ["train.steps=8", "train.float.learning_rate=2e-3"];
    let twin = Setup::new(
        &[
            &shared[..],
            &["model.linear=float", "train.schedule=constant"],
        ]
        .concat(),
    );
    let twin = losses(&twin, &twin.create("run"));
    let turning = Setup::new(&[&shared[..], &["recipe.float_until=0.5"]].concat());
    let run = turning.create("run");
    let turning = losses(&turning, &run);
    assert_eq!(turning[..4], twin[..4]);
    assert_ne!(turning[4], twin[4]);
    // The rate begins anew, at the first step of its warm-up.
    let rates: Vec<f64> = metrics(&run, "train")
        .iter()
        .map(|line| line["lr"].as_f64().unwrap())
        .collect();
    assert_eq!(rates[..4], [1e-3, 2e-3, 2e-3, 2e-3]);
    assert_eq!(rates[4..6], [4e-3 / 2.0, 4e-3]);
}

#[test]
fn late_steps_see_the_same_and_then_more() {
    let run = |settings: &[&str]| {
        let setup = setup(settings);
        let run = setup.create("run");
        let (_, summary) = setup.train(&run, None, usize::MAX).unwrap();
        let lines = metrics(&run, "train");
        let losses: Vec<f64> = lines
            .iter()
            .map(|line| line["loss"].as_f64().unwrap())
            .collect();
        (losses, summary.tokens)
    };
    let late = ["train.late_accumulate=2", "train.late_from=0.75"];
    let ((plain, tokens), (found, more)) = (run(&[]), run(&late));
    assert_eq!(found[..6], plain[..6]);
    assert_ne!(found[6], plain[6]);
    // Two steps of eight learn from twice as much.
    assert_eq!(8 * more, 10 * tokens);
    // All along it is what accumulation is.
    let always = ["train.late_accumulate=2", "train.late_from=0.0"];
    assert_eq!(run(&always), run(&["train.accumulate=2"]));
}

#[test]
fn a_teacher_speaks_from_its_step_on() {
    let teacher = Setup::new(&[
        "train.steps=8",
        "model.hidden_size=64",
        "model.linear=float",
    ]);
    let folder = teacher.create("teacher");
    let (model, _) = teacher.train(&folder, None, usize::MAX).unwrap();
    export(&folder, &model, 8).unwrap();
    let from = format!(
        "train.distill_from={:?}",
        folder.path().display().to_string()
    );
    let run = |settings: &[&str]| {
        let setup = setup(settings);
        losses(&setup, &setup.create("run"))
    };
    let alone = run(&[]);
    let taught = run(&[&from]);
    let late = run(&[&from, "train.distill_start=0.5"]);
    assert_ne!(alone[0], taught[0]);
    assert_eq!(late[..4], alone[..4]);
    assert_ne!(late[4], alone[4]);
    assert_eq!(run(&[&from, "train.distill_start=1.0"]), alone);
}

/// Muon keeps a momentum for the matrices of the layers, and AdamW's moments for the rest.
#[test]
fn muon_moves_the_matrices_of_the_layers() {
    for linear in ["ternary", "float"] {
        let kind = format!("model.linear={linear}");
        let settings = ["train.optimizer=muon", "train.steps=40", &kind];
        let setup = Setup::new(&settings);
        let run = setup.create("run");
        let found = losses(&setup, &run);
        assert!(found[39] < found[0] - 0.3, "it learns: {found:?}");
        let path = Checkpoint::latest(&run)
            .unwrap()
            .path()
            .join("optimizer.bpk");
        let file = fs::read(path).unwrap();
        let has = |name: &str| {
            file.windows(name.len())
                .any(|window| window == name.as_bytes())
        };
        let weight = match linear {
            "ternary" => "layers.0.mlp.up_proj.Ternary.weight",
            _ => "layers.0.mlp.up_proj.Float.weight",
        };
        assert!(has(&format!("{weight}.moment_1")) && !has(&format!("{weight}.moment_2")));
        for other in ["embed_tokens.weight", "norm.gamma"] {
            assert!(has(&format!("{other}.moment_2")), "{other}");
        }
        // A run does not change its optimiser on the way.
        let other = Setup::new(&["train.steps=40", &kind]);
        let latest = Checkpoint::latest(&run).unwrap();
        let error = other.train(&run, Some(latest), usize::MAX).err().unwrap();
        assert!(error.to_string().contains("optimizer"), "{error}");
    }
}

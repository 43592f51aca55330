//! Runs that go on: after an interruption, from an earlier step, longer, after damage and divergence.

#![cfg(feature = "flex")]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use bitnet_models::{Network, Transformer};
use bitnet_results::TrainSummary;
use bitnet_train::{Checkpoint, LanguageModel, RunDir, Task, TrainError, export, load_exported};
use serde_json::Value;

use crate::common::{Setup, StopAfter, bits, metrics, steps_on_disk};

#[test]
fn an_interrupted_run_goes_on_as_if_it_had_not_been() {
    let setup = Setup::new(&[
        "train.steps=12",
        "train.checkpoint_interval=0",
        "train.eval_interval=5",
        // So that a stop falls between two lines of the log.
        "train.log_interval=3",
        "model.dropout=0.1",
    ]);
    let whole = setup.create("whole");
    let (expected, summary) = setup.train(&whole, None, usize::MAX).unwrap();
    assert_eq!((summary.steps, summary.interrupted), (12, false));
    // Neither at a checkpoint nor at an evaluation.
    for stop in [1, 7] {
        let run = setup.create(&format!("stopped-{stop}"));
        let (_, stopped) = setup.train(&run, None, stop).unwrap();
        assert_eq!((stopped.steps, stopped.interrupted), (stop, true));
        let checkpoint = Checkpoint::latest(&run).unwrap();
        assert_eq!(checkpoint.state().unwrap().step, stop);
        let (model, finished) = setup.train(&run, Some(checkpoint), usize::MAX).unwrap();
        assert!(bits(&model) == bits(&expected), "stopped after {stop}");
        // An interrupt saves and ends; what it left is not scored.
        assert!(stopped.val_loss.is_nan() && stopped.train_loss.is_finite());
        assert_eq!(finished.val_loss.to_bits(), summary.val_loss.to_bits());
        assert_eq!(finished.train_loss.to_bits(), summary.train_loss.to_bits());
        assert_eq!(
            finished.initial_val_loss.to_bits(),
            summary.initial_val_loss.to_bits()
        );
        assert_eq!(finished.tokens, summary.tokens);
        for kind in ["train", "val", "layers"] {
            assert_eq!(metrics(&run, kind), metrics(&whole, kind), "{kind}");
        }
        for file in ["model.bpk", "optimizer.bpk"] {
            let bytes = |run: &RunDir| {
                fs::read(Checkpoint::latest(run).unwrap().path().join(file)).unwrap()
            };
            assert!(bytes(&run) == bytes(&whole), "{file}, stopped after {stop}");
        }
    }
}

/// Before the first step, between two, after the last on the whole split and for the curve: a signal is heeded there, and
/// whoever goes on makes what was left out.
#[test]
fn an_interrupted_evaluation_is_made_by_who_goes_on() {
    let setup = Setup::new(&[
        "train.steps=10",
        "train.checkpoint_interval=0",
        "train.eval_interval=5",
        "train.log_interval=3",
        "train.sample_tokens=4",
        "train.stop_after=5",
    ]);
    let whole = setup.create("whole");
    let (expected, summary) = setup.train(&whole, None, usize::MAX).unwrap();
    let moments = [(1, 0), (2, 5), (3, 10), (4, 10)];
    for (evaluation, step) in moments {
        let run = setup.create(&format!("evaluation-{evaluation}"));
        let stopped = setup.train_until(&run, None, usize::MAX, evaluation);
        let (_, stopped, _) = stopped.unwrap();
        assert_eq!((stopped.steps, stopped.interrupted), (step, true));
        assert!(stopped.val_loss.is_nan(), "{evaluation}");
        // Told again before it has made up for it, and then left alone.
        for again in [1, usize::MAX] {
            let checkpoint = Checkpoint::latest(&run).unwrap();
            assert_eq!(checkpoint.state().unwrap().step, step);
            let trained = setup.train_until(&run, Some(checkpoint), usize::MAX, again);
            let (model, finished, _) = trained.unwrap();
            if again == 1 {
                assert_eq!((finished.steps, finished.interrupted), (step, true));
                continue;
            }
            assert!(bits(&model) == bits(&expected), "{evaluation}");
            assert!(!finished.interrupted);
            let losses = |summary: &TrainSummary| {
                let TrainSummary {
                    val_loss,
                    train_loss,
                    initial_val_loss,
                    best_val_loss,
                    ..
                } = *summary;
                [
                    val_loss,
                    train_loss,
                    initial_val_loss,
                    best_val_loss.unwrap(),
                ]
                .map(f64::to_bits)
            };
            assert_eq!(losses(&finished), losses(&summary), "{evaluation}");
        }
        for kind in ["train", "val", "layers", "sample"] {
            assert_eq!(
                metrics(&run, kind),
                metrics(&whole, kind),
                "{evaluation}, {kind}"
            );
        }
        assert_eq!(steps_on_disk(&run).last(), steps_on_disk(&whole).last());
    }
}

/// A step may be long where it learns from many batches: one that is interrupted is not taken, and is taken later.
#[test]
fn a_step_of_many_parts_is_interrupted_between_them() {
    let setup = Setup::new(&[
        "train.steps=6",
        "train.accumulate=3",
        "train.checkpoint_interval=0",
        "train.log_interval=4",
        "model.dropout=0.1",
    ]);
    let whole = setup.create("whole");
    let (expected, summary) = setup.train(&whole, None, usize::MAX).unwrap();
    let run = setup.create("run");
    let (_, stopped) = setup.train(&run, None, 3).unwrap();
    assert_eq!((stopped.steps, stopped.interrupted), (2, true));
    assert_eq!(stopped.tokens, summary.tokens / 3);
    let (model, finished) = (setup.train(&run, Checkpoint::latest(&run).ok(), usize::MAX)).unwrap();
    assert!(bits(&model) == bits(&expected));
    assert_eq!(finished.tokens, summary.tokens);
    for kind in ["train", "val", "layers"] {
        assert_eq!(metrics(&run, kind), metrics(&whole, kind), "{kind}");
    }
}

#[test]
fn a_run_goes_on_from_an_earlier_step_and_keeps_what_it_writes() {
    let settings = [
        "train.steps=9",
        "train.checkpoint_interval=2",
        "train.keep_checkpoints=3",
    ];
    let setup = Setup::new(&settings);
    let run = setup.create("run");
    let (expected, _) = setup.train(&run, None, usize::MAX).unwrap();
    let earlier = Checkpoint::at(run.path().join("checkpoints/step-00000006"));
    // With a signal at once: what is saved then stays, although there were later steps.
    let (_, _, notes) = setup.train_with_notes(&run, Some(earlier), 0).unwrap();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("aside-step-00000009")),
        "{notes:?}"
    );
    let aside = ["aside-step-00000008", "aside-step-00000009"];
    let names = |steps: &[&'static str]| [&aside[..], steps].concat();
    assert_eq!(
        steps_on_disk(&run),
        names(&["step-00000006", "step-00000007"])
    );
    let latest = Checkpoint::latest(&run).unwrap();
    let (again, _) = setup.train(&run, Some(latest), usize::MAX).unwrap();
    assert!(bits(&again) == bits(&expected));
    assert_eq!(
        steps_on_disk(&run),
        names(&["step-00000007", "step-00000008", "step-00000009"])
    );
}

#[test]
fn the_best_checkpoint_stays_besides_the_newest() {
    // A rate that is too high: the loss is lowest somewhere on the way.
    let setup = Setup::new(&[
        "train.steps=30",
        "train.eval_interval=5",
        "train.checkpoint_interval=5",
        "train.keep_checkpoints=1",
        "train.learning_rate=0.3",
        "train.schedule=constant",
        "train.grad_clip=0",
    ]);
    let run = setup.create("run");
    setup.train(&run, None, usize::MAX).unwrap();
    let losses = metrics(&run, "val");
    let saved = losses
        .iter()
        .filter(|line| (5..30).contains(&line["step"].as_u64().unwrap()));
    let best = saved.min_by(|a, b| {
        let loss = |line: &Value| line["loss"].as_f64().unwrap();
        loss(a).total_cmp(&loss(b))
    });
    let best = format!("step-{:08}", best.unwrap()["step"].as_u64().unwrap());
    assert_eq!(steps_on_disk(&run), [best.as_str(), "step-00000030"]);
}

#[test]
fn what_is_not_of_this_run_is_refused() {
    let setup = Setup::new(&["train.steps=3"]);
    let (run, other) = (setup.create("run"), setup.create("other"));
    setup.train(&run, None, 2).unwrap();
    setup.train(&other, None, 2).unwrap();
    let foreign = Checkpoint::latest(&other).unwrap();
    let error = setup.train(&run, Some(foreign), usize::MAX).err().unwrap();
    assert!(error.to_string().contains("another run"), "{error}");
    let (model, _) = setup
        .train(&other, Checkpoint::latest(&other).ok(), usize::MAX)
        .unwrap();
    export(&other, &model, 3).unwrap();
    let (model, _) = setup
        .train(&run, Checkpoint::latest(&run).ok(), usize::MAX)
        .unwrap();
    export(&run, &model, 3).unwrap();
    // The same seed gives the same file; another does not.
    fs::copy(other.packed_path(), run.packed_path()).unwrap();
    assert!(load_exported::<Transformer>(&run, &setup.device).is_ok());
    let seventh = Setup::new(&["train.steps=3", "train.seed=7"]);
    let third = seventh.create("third");
    let (model, _) = seventh.train(&third, None, usize::MAX).unwrap();
    export(&third, &model, 3).unwrap();
    fs::copy(third.packed_path(), run.packed_path()).unwrap();
    let error = load_exported::<Transformer>(&run, &setup.device)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("not packed from this run"),
        "{error}"
    );
    // A text of the same characters.
    let mut changed = Setup::new(&["train.steps=3"]);
    let mut ids = changed.corpus.train.to_vec(0..changed.corpus.train.len());
    ids.swap(0, 1);
    changed.corpus.text.train = ids.into();
    let latest = Checkpoint::latest(&run).unwrap();
    let error = changed.train(&run, Some(latest), usize::MAX).err().unwrap();
    assert!(error.to_string().contains("data is not what"), "{error}");
}

/// Between the two renames by which a checkpoint takes the place of another of its step.
#[test]
fn a_kill_while_a_checkpoint_is_replaced_loses_none() {
    let setup = Setup::new(&["train.steps=6", "train.checkpoint_interval=0"]);
    let (whole, run) = (setup.create("whole"), setup.create("run"));
    let (expected, _) = setup.train(&whole, None, usize::MAX).unwrap();
    setup.train(&run, None, 4).unwrap();
    let folder = run.path().join("checkpoints");
    let [step, replaced] = ["step-00000004", "replaced-step-00000004"].map(|it| folder.join(it));
    fs::rename(&step, &replaced).unwrap();
    fs::create_dir(folder.join("partial-step-00000004")).unwrap();
    assert!(load_exported::<Transformer>(&run, &setup.device).is_ok());
    let latest = Checkpoint::latest(&run).unwrap();
    let (model, _) = setup.train(&run, Some(latest), usize::MAX).unwrap();
    assert!(bits(&model) == bits(&expected));
    assert_eq!(steps_on_disk(&run), ["step-00000004", "step-00000006"]);
    // Killed after them, it is only in the way.
    fs::create_dir(&replaced).unwrap();
    let latest = Checkpoint::latest(&run).unwrap();
    setup.train(&run, Some(latest), usize::MAX).unwrap();
    assert_eq!(steps_on_disk(&run), ["step-00000004", "step-00000006"]);
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before_it() {
    let setup = Setup::new(&["train.steps=5", "train.checkpoint_interval=2"]);
    let whole = setup.create("whole");
    let (expected, _) = setup.train(&whole, None, usize::MAX).unwrap();
    for file in ["state.json", "model.bpk", "optimizer.bpk"] {
        let run = setup.create(file);
        setup.train(&run, None, usize::MAX).unwrap();
        let newest = Checkpoint::latest(&run).unwrap();
        fs::write(newest.path().join(file), b"").unwrap();
        // A kill while the next one was written.
        fs::create_dir(run.path().join("checkpoints/partial-step-00000006")).unwrap();
        let all = Checkpoint::newest_first(&run).unwrap();
        let (model, _, notes) = setup.train_with_notes(&run, all, usize::MAX).unwrap();
        let told = notes
            .iter()
            .any(|note| note.contains(file) && note.contains("step-00000004"));
        assert!(told, "{notes:?}");
        assert!(bits(&model) == bits(&expected), "{file}");
        assert_eq!(
            steps_on_disk(&run),
            ["aside-step-00000005", "step-00000004", "step-00000005"]
        );
    }
}

#[test]
fn an_export_is_not_used_once_the_run_went_on() {
    let mut setup = Setup::new(&["train.steps=3"]);
    let run = setup.create("run");
    let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
    export(&run, &model, 3).unwrap();
    let stale = fs::read(run.packed_path()).unwrap();
    setup.config.train.steps = 6;
    let latest = Checkpoint::latest(&run).unwrap();
    let (longer, _, notes) = setup.train_with_notes(&run, Some(latest), 5).unwrap();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("train.steps was 3, and is 6")),
        "{notes:?}"
    );
    assert!(
        notes
            .iter()
            .any(|note| note.contains("the learning rate goes")),
        "{notes:?}"
    );
    assert_eq!(
        run.config().unwrap().train.steps,
        6,
        "config.toml says what was run"
    );
    assert!(!run.packed_path().exists());
    let used: Transformer = load_exported(&run, &setup.device).unwrap();
    // Put back by hand, or left by a version that did not remove it: it is older than the checkpoint.
    fs::write(run.packed_path(), stale).unwrap();
    let still: Transformer = load_exported(&run, &setup.device).unwrap();
    assert!(bits(&still) == bits(&used) && bits(&still) == bits(&longer.pack()));
    let note = bitnet_train::export_note(&run).unwrap().unwrap();
    assert!(note.contains("after 5 steps"), "{note}");
}

#[test]
fn after_a_divergence_the_last_good_checkpoint_goes_on_with_a_lower_rate() {
    let mut setup = Setup::new(&[
        "train.steps=12",
        "train.checkpoint_interval=1",
        "train.schedule=constant",
        "train.warmup_steps=0",
        // More than all of a weight, at the higher rate.
        "train.weight_decay=100",
        "train.keep_checkpoints=20",
    ]);
    let run = setup.create("run");
    setup.train(&run, None, 3).unwrap();
    let latest = || Checkpoint::latest(&run).unwrap();
    let good = latest();
    setup.config.train.shared.learning_rate = 10.0;
    let error = setup
        .train(&run, Some(good.clone()), usize::MAX)
        .err()
        .unwrap();
    let TrainError::Diverged {
        resumable: Some(resumable),
        summary,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(summary.diverged && summary.steps > 3);
    assert!(
        error.to_string().contains("--set train.learning_rate"),
        "{error}"
    );
    // None of those on disk holds a number that is none.
    for checkpoint in Checkpoint::newest_first(&run).unwrap() {
        let setup = Setup::new(&[]);
        let model = StopAfter {
            task: LanguageModel::new(&setup.config, &setup.corpus).unwrap(),
            step: 0,
            evaluation: 0,
            evaluations: AtomicUsize::new(0),
            interrupt: &AtomicBool::new(false),
        };
        let model = model.model(&setup.device).unwrap();
        let model = checkpoint.load_model(model).unwrap();
        assert!(
            bits(&model)
                .into_iter()
                .all(|bits| f32::from_bits(bits).is_finite())
        );
    }
    assert_eq!(*resumable, latest().path());
    setup.config.train.shared.learning_rate = 1e-3;
    let (_, summary) = setup.train(&run, Some(good), usize::MAX).unwrap();
    assert_eq!((summary.steps, summary.diverged), (12, false));
}

#[test]
fn a_folder_is_one_process_s() {
    let setup = Setup::new(&[]);
    let run = setup.create("run");
    // A lock is of the open file, so that this process can stand for another.
    let error = RunDir::open_to_train(run.path()).err().unwrap();
    assert!(matches!(error, TrainError::InUse(_)), "{error}");
    let path = run.path().to_owned();
    drop(run);
    assert!(RunDir::open_to_train(&path).is_ok());
    // It has no checkpoint: it can be begun again.
    let again = RunDir::create(&path, &setup.config, None, &[], None, None).unwrap();
    setup.train(&again, None, 1).unwrap();
    drop(again);
    let error = RunDir::create(&path, &setup.config, None, &[], None, None)
        .err()
        .unwrap();
    assert!(matches!(error, TrainError::RunExists(_)), "{error}");
}

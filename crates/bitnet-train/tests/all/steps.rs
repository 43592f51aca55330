//! Steps of several batches, logits in chunks, runs that end early, and the test of learning rates.

#![cfg(feature = "flex")]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bitnet_data::Tokenizer;
use bitnet_models::Transformer;
use bitnet_results::{Evaluation, TrainSummary};
use bitnet_train::{
    Checkpoint, LanguageModel, RunDir, StepLoss, Task, TrainError, Training, find_rate,
};
use burn::tensor::Device;

use crate::common::{Notes, Setup, bits, metrics, steps_on_disk};

/// The training losses of a run with these settings.
fn losses(settings: &[&str]) -> Vec<f64> {
    let setup = Setup::new(settings);
    let run = setup.create("run");
    setup.train(&run, None, usize::MAX).unwrap();
    let lines = metrics(&run, "train");
    lines
        .iter()
        .map(|line| line["loss"].as_f64().unwrap())
        .collect()
}

fn close(found: &[f64], expected: &[f64], within: f64) {
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < within,
            "step {step}: {found} for {expected}"
        );
    }
}

#[test]
fn two_sequences_four_times_are_eight_at_once() {
    let run = |linear: &str, batches: [&str; 2], steps: &str| {
        losses(&[
            &format!("model.linear={linear}"),
            batches[0],
            batches[1],
            steps,
        ])
    };
    let (once, often, less) = (
        ["train.batch_size=8", "train.accumulate=1"],
        ["train.batch_size=2", "train.accumulate=4"],
        ["train.batch_size=2", "train.accumulate=1"],
    );
    let steps = "train.steps=20";
    // Sums of floats in another order, 20 times: a few units in the last place of losses around 4.
    close(
        &run("float", often, steps),
        &run("float", once, steps),
        2e-5,
    );
    // A code that flips changes what follows; the first steps have none.
    let steps = "train.steps=5";
    close(
        &run("ternary", often, steps),
        &run("ternary", once, steps),
        2e-4,
    );
    let other = run("float", less, steps);
    let same = run("float", once, steps);
    assert!(
        (other[1] - same[1]).abs() > 1e-3,
        "batches of another size: {other:?} {same:?}"
    );
}

#[test]
fn logits_in_chunks_are_the_logits_at_once() {
    let run =
        |rows: &str, tied: &str| losses(&["model.linear=float", "train.steps=20", rows, tied]);
    for tied in [
        "model.tie_word_embeddings=true",
        "model.tie_word_embeddings=false",
    ] {
        let whole = run("train.loss_rows=1000000", tied);
        assert!(whole[19] < whole[0] - 0.3, "it learns: {whole:?}");
        for rows in ["train.loss_rows=7", "train.loss_rows=64"] {
            close(&run(rows, tied), &whole, 2e-5);
        }
    }
}

#[test]
fn blocks_computed_anew_give_the_same_weights() {
    for settings in [
        &[
            "model.linear=ternary",
            "model.dropout=0.1",
            "train.accumulate=2",
        ][..],
        &[
            "model.linear=float",
            "model.tie_word_embeddings=true",
            "train.loss_rows=20",
        ],
    ] {
        let train = |anew: &str| {
            let setup = Setup::new(&[settings, &["train.steps=5", anew]].concat());
            let run = setup.create("run");
            let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
            let losses: Vec<f64> = metrics(&run, "train")
                .iter()
                .map(|line| line["loss"].as_f64().unwrap())
                .collect();
            (bits(&model), losses)
        };
        let anew = train("train.checkpoint_activations=true");
        let whole = train("train.checkpoint_activations=false");
        assert_eq!(anew.1, whole.1, "{settings:?}");
        assert!(anew.0 == whole.0, "{settings:?}");
    }
}

#[test]
fn a_step_of_several_batches_goes_on_bit_by_bit() {
    let setup = Setup::new(&[
        "train.steps=8",
        "train.accumulate=3",
        "train.loss_rows=20",
        "train.eval_interval=3",
        "train.log_interval=3",
        "model.dropout=0.1",
    ]);
    let whole = setup.create("whole");
    let (expected, _) = setup.train(&whole, None, usize::MAX).unwrap();
    let run = setup.create("stopped");
    setup.train(&run, None, 4).unwrap();
    let checkpoint = Checkpoint::latest(&run).unwrap();
    let (model, _) = setup.train(&run, Some(checkpoint), usize::MAX).unwrap();
    assert!(bits(&model) == bits(&expected));
    for kind in ["train", "val", "layers", "sample"] {
        assert_eq!(metrics(&run, kind), metrics(&whole, kind), "{kind}");
    }
    assert!(!metrics(&whole, "sample").is_empty());
}

/// A language model whose validation losses are these, one after the other.
struct Scripted<'a> {
    task: LanguageModel<'a>,
    losses: &'a [f64],
    next: AtomicUsize,
}

impl Task for Scripted<'_> {
    type Model = Transformer;

    fn model(&self, device: &Device) -> Result<Transformer, TrainError> {
        self.task.model(device)
    }

    fn loss(
        &self,
        model: &Transformer,
        part: bitnet_train::Part,
        device: &Device,
    ) -> Option<StepLoss> {
        self.task.loss(model, part, device)
    }

    fn evaluate(
        &self,
        model: &Transformer,
        batches: usize,
        device: &Device,
        interrupt: bitnet_train::Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let evaluation = self.task.evaluate(model, batches, device, interrupt)?;
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Evaluation {
            loss: self.losses.get(next).copied().unwrap_or(9.0),
            ..evaluation
        })
    }

    fn score(&self, model: &Transformer, device: &Device) -> Result<Evaluation, TrainError> {
        self.task.score(model, device)
    }

    fn answerer<'a>(
        &'a self,
        model: &'a Transformer,
        device: &'a Device,
    ) -> Result<bitnet_train::Answerer<'a>, TrainError> {
        self.task.answerer(model, device)
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        self.task.tokenizer()
    }

    fn data_checksum(&self) -> String {
        self.task.data_checksum()
    }

    fn description(&self) -> String {
        self.task.description()
    }
}

fn scripted(
    setup: &Setup,
    run: &RunDir,
    resume: Option<Checkpoint>,
    (losses, first): (&[f64], usize),
) -> (TrainSummary, Vec<String>) {
    let task = Scripted {
        task: LanguageModel::new(&setup.config, &setup.corpus).unwrap(),
        losses,
        next: AtomicUsize::new(first),
    };
    let training = Training {
        config: &setup.config,
        task: &task,
        run,
        device: &setup.device,
        others: &[],
        resume: resume.into_iter().collect(),
        interrupt: &AtomicBool::new(false),
    };
    let mut notes = Notes::default();
    let summary = training.run(&mut notes).unwrap().summary;
    (summary, notes.0)
}

#[test]
fn a_run_whose_validation_loss_falls_no_more_ends_early_and_keeps_the_best() {
    let setup = Setup::new(&[
        "train.steps=100",
        "train.eval_interval=2",
        "train.stop_after=3",
        "train.checkpoint_interval=0",
        "train.keep_checkpoints=1",
    ]);
    // Before the first step, then after 2, 4, 6 and so on: the lowest is that of step 4.
    let losses = [4.0, 3.5, 3.0, 3.1, 3.0, 3.2, 2.0];
    let run = setup.create("run");
    let (summary, notes) = scripted(&setup, &run, None, (&losses, 0));
    assert_eq!(
        (summary.steps, summary.stopped_early, summary.interrupted),
        (10, true, false)
    );
    assert_eq!(
        (summary.best_step, summary.best_val_loss),
        (Some(4), Some(3.0))
    );
    assert!(
        notes.iter().any(|note| note.contains("3.0000 at step 4")),
        "{notes:?}"
    );
    assert_eq!(steps_on_disk(&run), ["step-00000004", "step-00000010"]);
    let val: Vec<u64> = metrics(&run, "val")
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(val, [0, 2, 4, 6, 8, 10]);

    // Whichever is asked for is used; what there is not is said.
    let chosen = |which: &str| RunDir::open(run.path()).unwrap().at(which);
    let model =
        |run: &RunDir| bitnet_train::load_latent::<Transformer>(run, &setup.device).unwrap();
    let (best, last) = (
        model(&chosen("best").unwrap()),
        model(&chosen("last").unwrap()),
    );
    assert!(bits(&best) != bits(&last));
    assert!(bits(&best) == bits(&model(&chosen("4").unwrap())));
    assert!(bits(&last) == bits(&model(&run)));
    let error = chosen("6").unwrap_err().to_string();
    assert!(
        error.contains("@best") && error.contains("4 (validation loss 3.0000)"),
        "{error}"
    );

    // With more patience it goes on as if it had had it from the start.
    let patient = Setup::new(&[
        "train.steps=16",
        "train.eval_interval=2",
        "train.stop_after=4",
        "train.checkpoint_interval=0",
        "train.keep_checkpoints=1",
    ]);
    let checkpoint = Checkpoint::latest(&run).unwrap();
    let (resumed, _) = scripted(&patient, &run, Some(checkpoint), (&losses, 6));
    let whole = patient.create("whole");
    let (expected, _) = scripted(&patient, &whole, None, (&losses, 0));
    assert_eq!((resumed.steps, resumed.stopped_early), (16, false));
    assert_eq!(resumed.best_step, expected.best_step);
    assert_eq!(resumed.best_step, Some(12));
    let bytes =
        |run: &RunDir| fs::read(Checkpoint::latest(run).unwrap().path().join("model.bpk")).unwrap();
    // The learning rate's schedule is another with other steps, so weights are compared from the same one.
    assert_eq!(bytes(&run).len(), bytes(&whole).len());
}

#[test]
fn the_test_of_rates_ends_where_the_loss_explodes() {
    let setup = Setup::new(&["model.linear=float"]);
    let task = LanguageModel::new(&setup.config, &setup.corpus).unwrap();
    let search = find_rate(
        &setup.config,
        &task,
        &setup.device,
        80,
        &AtomicBool::new(false),
    )
    .unwrap();
    let suggested = search.suggested.unwrap();
    // What the configuration has, 4e-3, is within a factor of ten.
    assert!((4e-4..4e-2).contains(&suggested), "{suggested}");
    let rates: Vec<f64> = search.points.iter().map(|point| point.rate).collect();
    assert!(rates.is_sorted() && rates[0] == 1e-6);
    let again = find_rate(
        &setup.config,
        &task,
        &setup.device,
        80,
        &AtomicBool::new(false),
    )
    .unwrap();
    assert_eq!(again, search);
}

/// The last checkpoint is written before its model is evaluated.
#[test]
fn the_last_checkpoint_may_be_the_best() {
    let best = |losses: [f64; 4]| {
        let setup = Setup::new(&[
            "train.steps=4",
            "train.eval_interval=2",
            "train.checkpoint_interval=2",
        ]);
        let run = setup.create("run");
        scripted(&setup, &run, None, (&losses, 0));
        assert_eq!(steps_on_disk(&run), ["step-00000002", "step-00000004"]);
        let best = RunDir::open(run.path()).unwrap().at("best").unwrap();
        let model = |run: &RunDir| {
            bits(&bitnet_train::load_latent::<Transformer>(run, &setup.device).unwrap())
        };
        model(&best) == model(&run)
    };
    // Before the first step, after 2 and 4, and the whole split in the end.
    assert!(best([4.0, 3.0, 2.0, 2.0]));
    assert!(!best([4.0, 2.0, 3.0, 3.0]));
    let setup = Setup::new(&[
        "train.steps=2",
        "train.eval_interval=0",
        "train.eval_batches=0",
    ]);
    let run = setup.create("run");
    scripted(&setup, &run, None, (&[4.0, 3.0], 0));
    fs::remove_file(run.metrics_path()).unwrap();
    let error = RunDir::open(run.path())
        .unwrap()
        .at("best")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("use @last, or one of these steps: 2"),
        "{error}"
    );
}

//! Runs on disk: what the loop writes, where it goes on from, and what a folder refuses.

#![cfg(feature = "flex")]

use std::fs;

use bitnet_data::{Tokenizer, TokenizerKind};
use bitnet_models::Transformer;
use bitnet_train::{Checkpoint, RunDir, TrainError, export, load_exported, load_latent};

use crate::common::{Setup, bits, metrics, steps_on_disk};

#[test]
fn one_seed_gives_one_model_and_another_seed_another() {
    for linear in ["ternary", "float"] {
        let set = format!("model.linear=\"{linear}\"");
        let setup = Setup::new(&["train.steps=6", &set]);
        let (first, _) = setup
            .train(&setup.create("first"), None, usize::MAX)
            .unwrap();
        let (second, _) = setup
            .train(&setup.create("second"), None, usize::MAX)
            .unwrap();
        assert!(bits(&first) == bits(&second), "{linear}");
        let other = Setup::new(&["train.steps=6", "train.seed=7", &set]);
        let (third, _) = other
            .train(&other.create("third"), None, usize::MAX)
            .unwrap();
        assert!(bits(&first) != bits(&third), "{linear}");
    }
}

#[test]
fn the_two_newest_checkpoints_stay() {
    let setup = Setup::new(&["train.steps=9", "train.checkpoint_interval=2"]);
    let run = setup.create("run");
    let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
    assert_eq!(steps_on_disk(&run), ["step-00000008", "step-00000009"]);
    let latest = Checkpoint::latest(&run).unwrap();
    assert_eq!(latest.path().file_name().unwrap(), "step-00000009");
    assert_eq!(latest.state().unwrap().step, 9);
    let loaded: Transformer = load_latent(&run, &setup.device).unwrap();
    assert!(bits(&loaded) == bits(&model));
}

#[test]
fn the_export_of_a_ternary_run_is_its_packed_model() {
    let setup = Setup::new(&["train.steps=3"]);
    let run = setup.create("run");
    let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
    let packed: Transformer = load_exported(&run, &setup.device).unwrap();
    export(&run, &model, 3).unwrap();
    let exported: Transformer = load_exported(&run, &setup.device).unwrap();
    assert!(
        bits(&exported) == bits(&packed),
        "packed from the checkpoint, and from the file"
    );
    assert!(bits(&exported) != bits(&model));
}

#[test]
fn a_rate_beyond_reason_is_called_divergence() {
    let mut setup = Setup::new(&["train.steps=20", "train.warmup_steps=0"]);
    // More than a configuration may ask for.
    setup.config.train.shared.learning_rate = 1e30;
    let error = setup
        .train(&setup.create("run"), None, usize::MAX)
        .err()
        .unwrap();
    let TrainError::Diverged {
        step,
        learning_rate,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(*step <= 20 && *learning_rate > 1e29, "{error}");
    assert!(
        error.to_string().contains("lower train.learning_rate"),
        "{error}"
    );
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let setup = Setup::new(&["train.steps=2"]);
    let run = setup.create("run");
    setup.train(&run, None, usize::MAX).unwrap();
    let checkpoint = Checkpoint::latest(&run).unwrap();
    for file in ["state.json", "model.bpk", "optimizer.bpk"] {
        let path = checkpoint.path().join(file);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        // In a number, or in the bytes of a tensor.
        flipped[whole.len() - 20] ^= 1;
        for damage in [&whole[..whole.len() / 2], &flipped] {
            fs::write(&path, damage).unwrap();
            let error = setup
                .train(&run, Some(checkpoint.clone()), usize::MAX)
                .err()
                .unwrap();
            assert!(error.to_string().contains(file), "{error}");
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(setup.train(&run, Some(checkpoint), usize::MAX).is_ok());
    let empty = setup.create("empty");
    let error = Checkpoint::latest(&empty).err().unwrap();
    assert!(matches!(error, TrainError::NoCheckpoint(_)), "{error}");
}

#[test]
fn a_folder_that_is_no_run_is_named() {
    let setup = Setup::new(&[]);
    let run = setup.create("run");
    assert_eq!(
        RunDir::open(run.path()).unwrap().config().unwrap(),
        setup.config
    );
    let file = setup.folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (path, problem) in [
        (setup.folder.path().join("nothing"), "no such folder"),
        (file, "it is a file"),
        (setup.folder.path().to_owned(), "config.toml is missing"),
    ] {
        let error = RunDir::open(path).err().unwrap();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn other_data_is_refused() {
    let setup = Setup::new(&[]);
    let run = setup.create("run");
    let own = Some(&setup.corpus.tokenizer);
    let spam = ["spam".to_owned()];
    assert!(run.check_data(own, &[]).is_ok());
    let other = Tokenizer::for_text(TokenizerKind::Byte, "").unwrap();
    for (tokenizer, labels, what) in [
        (Some(&other), &[][..], "other tokens"),
        (None, &[], "other tokens"),
        (own, &spam, "other classes"),
    ] {
        let error = run.check_data(tokenizer, labels).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn rewinding_drops_later_and_torn_lines() {
    let setup = Setup::new(&[]);
    let run = setup.create("run");
    run.rewind_metrics(3, false).unwrap();
    assert!(!run.metrics_path().exists(), "nothing to rewind");
    for step in [0, 2, 3, 4, 3] {
        run.append_metrics(&serde_json::json!({ "kind": "train", "step": step }))
            .unwrap();
    }
    let mut whole = fs::read(run.metrics_path()).unwrap();
    // A torn sector, and a line that a kill cut off.
    whole.extend(b"{\"kind\": \"train\", \xff\xfe\n{\"kind\": \"tra");
    fs::write(run.metrics_path(), whole).unwrap();
    run.rewind_metrics(3, false).unwrap();
    let steps: Vec<_> = metrics(&run, "train")
        .iter()
        .map(|line| line["step"].as_u64())
        .collect();
    assert_eq!(steps, [Some(0), Some(2), Some(3), Some(3)]);
}

#[test]
fn two_runs_of_one_seed_are_equal_in_every_byte() {
    let setup = Setup::new(&["train.steps=4"]);
    let files = |name: &str| {
        let run = setup.create(name);
        let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
        export(&run, &model, 4).unwrap();
        let checkpoint = Checkpoint::latest(&run).unwrap();
        let files = ["model.bpk", "optimizer.bpk"].map(|file| checkpoint.path().join(file));
        let files = files.into_iter().chain([run.packed_path()]);
        files
            .map(|path| fs::read(path).unwrap())
            .collect::<Vec<_>>()
    };
    let (first, second) = (files("first"), files("second"));
    for (index, (first, second)) in first.iter().zip(&second).enumerate() {
        assert!(first == second, "file {index}");
    }
}

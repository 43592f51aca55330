//! A checkpoint as versions before checksums wrote it goes on to the same weights.

#![cfg(feature = "flex")]

use std::fs;
use std::path::Path;

use bitnet_models::Transformer;
use bitnet_train::{Checkpoint, RunDir, export, load_exported, load_latent};
use burn::tensor::{DType, TensorData};
use burn_pack::{Reader, Writer};
use serde_json::Value;

use crate::common::{Setup, bits};

/// The name that a parameter of a projection had.
fn earlier(name: &str) -> String {
    name.replace(".Ternary.", ".Latent.")
        .replace(".Float.", ".Latent.")
}

/// Rewrites the files of a checkpoint: other names, no checksums, and moments under numbers with a remark for each.
fn age(checkpoint: &Path) {
    let model = checkpoint.join("model.bpk");
    let mut tensors = Reader::from_file_exact(&model)
        .unwrap()
        .into_tensors()
        .unwrap();
    for tensor in &mut tensors {
        tensor.name = earlier(&tensor.name);
    }
    assert!(
        tensors
            .iter()
            .any(|tensor| tensor.name.contains(".Latent."))
    );
    Writer::new(tensors)
        .overwrite(true)
        .write_to_file(&model)
        .unwrap();

    let optimizer = checkpoint.join("optimizer.bpk");
    let reader = Reader::from_file_exact(&optimizer).unwrap();
    let times: Vec<_> = (reader.scalars().iter())
        .filter(|(name, _)| name.ends_with(".time"))
        .map(|(name, time)| (name.trim_end_matches(".time").to_owned(), *time))
        .collect();
    let number = |path: &str| times.iter().position(|(known, _)| known == path);
    let mut tensors = reader.into_tensors().unwrap();
    tensors.retain(|tensor| tensor.name.contains(".moment_"));
    for tensor in &mut tensors {
        let (path, which) = tensor.name.rsplit_once('.').unwrap();
        tensor.name = format!("{}.{which}", 7000 + number(path).unwrap());
    }
    let mut writer = Writer::new(tensors).overwrite(true);
    for (at, (path, time)) in times.iter().enumerate() {
        let id = (7000 + at).to_string();
        writer = writer
            .with_scalar(&format!("{id}.time"), *time)
            .with_metadata(&id, &earlier(path));
    }
    writer.write_to_file(&optimizer).unwrap();

    let path = checkpoint.join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let known = [
        "step",
        "tokens",
        "seconds",
        "initial_val_loss",
        "train_loss",
    ];
    state
        .as_object_mut()
        .unwrap()
        .retain(|key, _| known.contains(&key.as_str()));
    fs::write(&path, state.to_string()).unwrap();
}

#[test]
fn a_checkpoint_of_an_earlier_version_goes_on() {
    for linear in ["model.linear=ternary", "model.linear=float"] {
        let setup = Setup::new(&[linear, "train.steps=10", "train.checkpoint_interval=5"]);
        let run = setup.create("run");
        let (expected, _) = setup.train(&run, None, usize::MAX).unwrap();
        let checkpoint = Checkpoint::at(run.path().join("checkpoints/step-00000005"));
        age(checkpoint.path());
        let old = RunDir::open(run.path()).unwrap().at("5").unwrap();
        let loaded: Transformer = load_latent(&old, &setup.device).unwrap();
        assert!(bits(&loaded) != bits(&expected));
        let (model, _, notes) = setup
            .train_with_notes(&run, Some(checkpoint), usize::MAX)
            .unwrap();
        assert!(bits(&model) == bits(&expected), "{linear}");
        assert!(
            notes.iter().any(|note| note.contains("older version")),
            "{notes:?}"
        );
    }
}

/// Burn would compute with what it is given, or panic in a product; no checksum is there to tell.
#[test]
fn a_parameter_of_another_type_is_damage() {
    let setup = Setup::new(&["train.steps=1", "train.checkpoint_interval=0"]);
    let run = setup.create("run");
    let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
    export(&run, &model, 1).unwrap();
    let checkpoint = Checkpoint::latest(&run).unwrap();
    age(checkpoint.path());
    let latent = checkpoint.path().join("model.bpk");
    for (path, packed) in [(latent, false), (run.packed_path(), true)] {
        let read = || Reader::from_file_exact(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let load = || match packed {
            true => load_exported::<Transformer>(&run, &setup.device),
            false => load_latent::<Transformer>(&run, &setup.device),
        };
        load().unwrap();
        let names: Vec<String> = (read().into_tensors().unwrap().into_iter())
            .map(|tensor| tensor.name)
            .collect();
        for name in &names {
            use DType::{BF16, F16, F32, F64, I32, I64};
            for dtype in [BF16, F16, F32, F64, I32, I64] {
                let mut tensors = read().into_tensors().unwrap();
                let tensor = tensors.iter_mut().find(|one| one.name == *name).unwrap();
                if tensor.dtype == dtype {
                    continue;
                }
                let zeros = TensorData::zeros::<f32, _>(tensor.shape.clone());
                let (bytes, shape, dtype) = zeros.convert_dtype(dtype).into_parts();
                *tensor = burn_pack::Tensor::new(name.clone(), dtype, shape, None, bytes);
                let writer = Writer::new(tensors).overwrite(true);
                writer.write_to_file(&path).unwrap();
                let error = load().err().unwrap().to_string();
                let last = name.rsplit('.').next().unwrap();
                assert!(
                    error.contains(last) && error.contains(dtype.name()),
                    "{name} as {dtype:?}: {error}"
                );
                fs::write(&path, &whole).unwrap();
            }
        }
    }
}

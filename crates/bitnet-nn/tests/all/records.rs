//! Records: layers saved to a file and loaded again, and files that must be refused with an error.

use std::path::PathBuf;

use crate::common::*;
use bitnet_nn::{
    BitLinear, BitLinearConfig, Granularity, PackError, PackedBitLinear, PackedBitLinearConfig,
    Quantization,
};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device};

/// A file that is gone when the test is.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str) -> Self {
        Self(
            PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("{name}-{}.bpk", std::process::id())),
        )
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const K: usize = 21;
const N: usize = 6;

/// The default scheme with other scales.
fn by(granularity: Granularity) -> Quantization {
    Quantization {
        granularity,
        ..Quantization::default()
    }
}

fn latent_config(granularity: Granularity) -> BitLinearConfig {
    BitLinearConfig::new(K, N)
        .with_bias(true)
        .with_norm_eps(Some(1e-5))
        .with_quantization(by(granularity))
}

fn packed_config(granularity: Granularity) -> PackedBitLinearConfig {
    PackedBitLinearConfig::new(K, N)
        .with_bias(true)
        .with_norm_eps(Some(1e-5))
        .with_quantization(by(granularity))
}

/// A layer whose every parameter differs from what `init` gives.
fn latent(granularity: Granularity, device: &Device) -> BitLinear {
    let mut random = Random::new(30);
    let mut layer = latent_config(granularity).init(device);
    layer.weight = Param::from_tensor(tensor(&random.floats(N * K), [N, K], device));
    layer.bias = Some(Param::from_tensor(vector(&random.floats(N), device)));
    let gamma = Param::from_tensor(vector(&random.floats(K), device));
    layer.norm.as_mut().expect("a norm").gamma = gamma;
    layer
}

fn input() -> Vec<f32> {
    Random::new(31).floats(3 * K)
}

#[test]
fn a_latent_layer_round_trips() {
    let file = TempFile::new("latent");
    for target in targets() {
        let device = &target.device;
        let layer = latent(Granularity::Tensor, device);
        let x = tensor(&input(), [3, K], device);
        let y = floats(layer.forward(x.clone()));
        let fresh = latent_config(Granularity::Tensor).init(device);
        assert_ne!(floats(fresh.forward(x.clone())), y, "{}", target.name);
        layer.save_file(&file.0).expect("saved");
        let loaded = fresh.try_load_file(&file.0).expect("loaded");
        assert_eq!(floats(loaded.forward(x)), y, "{}", target.name);
    }
}

#[test]
fn a_packed_layer_round_trips() {
    let file = TempFile::new("packed");
    for target in targets() {
        for granularity in GRANULARITIES {
            let device = &target.device;
            let layer = latent(granularity, device).pack();
            let x = tensor(&input(), [3, K], device);
            let y = floats(layer.forward(x.clone()));
            let weights = layer.to_packed().expect("weights");
            layer.save_file(&file.0).expect("saved");
            let empty = packed_config(granularity).init(device);
            let loaded = empty.try_load_file(&file.0).expect("loaded");
            assert_eq!(loaded.words.val().dtype(), DType::U32);
            assert_eq!(loaded.to_packed().expect("weights"), weights);
            assert_eq!(
                floats(loaded.forward(x)),
                y,
                "{}, {granularity:?}",
                target.name
            );
        }
    }
}

#[test]
fn a_packed_record_is_the_same_on_every_device() {
    let file = TempFile::new("across");
    let targets = targets();
    let first = latent(Granularity::Row, &targets[0].device).pack();
    let weights = first.to_packed().expect("weights");
    first.save_file(&file.0).expect("saved");
    for target in &targets {
        let empty = packed_config(Granularity::Row).init(&target.device);
        let loaded = empty.try_load_file(&file.0).expect("loaded");
        assert_eq!(
            loaded.to_packed().expect("weights"),
            weights,
            "{}",
            target.name
        );
    }
}

#[test]
fn an_empty_packed_layer_has_zero_weights() {
    for target in targets() {
        for granularity in GRANULARITIES {
            let layer = packed_config(granularity).init(&target.device);
            let packed = layer.to_packed().expect("legal codes");
            assert!((0..N * K).all(|i| packed.code(i / K, i % K) == 0));
            let y = layer.forward(tensor(&input(), [3, K], &target.device));
            assert_eq!(floats(y), [0.0; 3 * N], "{}", target.name);
        }
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    let (file, cut) = (TempFile::new("whole"), TempFile::new("cut"));
    let device = &targets()[0].device;
    latent(Granularity::Row, device)
        .pack()
        .save_file(&file.0)
        .expect("saved");
    let bytes = std::fs::read(&file.0).expect("read");
    let load = || {
        packed_config(Granularity::Row)
            .init(device)
            .try_load_file(&cut.0)
    };
    let mut lengths = vec![0, 1, 3, 4, 8, 15, 16, 31, 32, 64, bytes.len() - 1];
    lengths.extend((1..16).map(|i| bytes.len() * i / 16));
    for length in lengths {
        std::fs::write(&cut.0, &bytes[..length]).expect("written");
        assert!(load().is_err(), "{length} of {} bytes", bytes.len());
    }
    std::fs::write(&cut.0, &bytes).expect("written");
    assert!(load().is_ok());
    std::fs::remove_file(&cut.0).expect("removed");
    assert!(load().is_err(), "no file");
}

#[test]
fn a_record_of_another_layer_is_an_error() {
    let (packed_file, latent_file) = (TempFile::new("shape"), TempFile::new("shape-latent"));
    let device = &targets()[0].device;
    let layer = latent(Granularity::Row, device);
    layer.pack().save_file(&packed_file.0).expect("saved");
    layer.save_file(&latent_file.0).expect("saved");
    let refused = |config: PackedBitLinearConfig, file: &TempFile| {
        let result = config.init(device).try_load_file(&file.0);
        result.expect_err("another layer").to_string()
    };
    let good = || packed_config(Granularity::Row);
    // Rows; words of a row; scales; bias and norm that the layer has and the record lacks, and the other way round.
    let rows = PackedBitLinearConfig {
        d_output: N + 1,
        ..good()
    };
    assert!(refused(rows, &packed_file).contains("words"));
    let words = PackedBitLinearConfig {
        d_input: K + 16,
        ..good()
    };
    assert!(refused(words, &packed_file).contains("words"));
    assert!(refused(packed_config(Granularity::Tensor), &packed_file).contains("scales"));
    assert!(refused(good().with_bias(false), &packed_file).contains("bias"));
    assert!(refused(good().with_norm_eps(None), &packed_file).contains("norm"));
    assert!(refused(good(), &latent_file).contains("words"));
    let result = latent_config(Granularity::Row)
        .init(device)
        .try_load_file(&packed_file.0);
    assert!(
        result
            .expect_err("another layer")
            .to_string()
            .contains("weight")
    );
}

#[test]
fn damaged_weights_are_an_error_on_the_host() {
    for target in targets() {
        let damage = |words: &[u32], scale: f32| -> PackError {
            let mut layer = PackedBitLinearConfig::new(17, 1).init(&target.device);
            layer.words = layer
                .words
                .map(|_| words_tensor(words, [1, 2], &target.device));
            layer.scales = layer.scales.map(|_| vector(&[scale], &target.device));
            PackedBitLinear::to_packed(&layer).expect_err("damaged")
        };
        // The code 0b11, padding that is not weight 0, and a scale that is no scale.
        for error in [
            damage(&[0x5555_5557, 0x5555_5555], 1.0),
            damage(&[0x5555_5555, 0x5555_5545], 1.0),
            damage(&[0x5555_5555, 0x5555_5555], 0.0),
        ] {
            assert!(
                matches!(error, PackError::Layout(_)),
                "{}: {error}",
                target.name
            );
        }
    }
}

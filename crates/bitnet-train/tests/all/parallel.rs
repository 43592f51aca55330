//! Several devices that share the steps of a run.

#![cfg(feature = "flex")]

use bitnet_train::{Backend, TrainError};
use burn::tensor::Device;

use crate::common::{Setup, bits, metrics, steps_on_disk};

/// Losses and final weights of a run on Flex with other devices beside it.
fn trained(settings: &[&str], others: &[Device]) -> (Vec<f64>, Vec<u32>) {
    let mut setup = Setup::new(settings);
    setup.others = others.to_vec();
    let run = setup.create("run");
    let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
    let losses = metrics(&run, "train");
    let losses = losses.iter().map(|line| line["loss"].as_f64().unwrap());
    (losses.collect(), bits(&model))
}

#[test]
fn a_part_on_each_device_gives_the_bits_of_one_device() {
    for linear in ["model.linear=ternary", "model.linear=float"] {
        for parts in [2, 3] {
            let parts_of_it = format!("train.accumulate={parts}");
            let settings = [linear, &parts_of_it, "train.batch_size=2"];
            let one = trained(&settings, &[]);
            assert!(one.0[19] < one.0[0] - 0.3, "it learns: {:?}", one.0);
            let several = trained(&settings, &vec![Device::flex(); parts - 1]);
            assert!(one == several, "{linear}, {parts} parts");
        }
    }
}

/// Two parts on one device and one on the other: sums in another order.
#[test]
fn devices_with_several_parts_follow_one_device() {
    let settings = [
        "model.linear=float",
        "train.accumulate=5",
        "train.batch_size=1",
    ];
    let (one, _) = trained(&settings, &[]);
    let (several, _) = trained(&settings, &[Device::flex()]);
    assert_eq!(one.len(), several.len());
    for (step, (one, several)) in one.iter().zip(&several).enumerate() {
        assert!((one - several).abs() < 2e-5, "step {step}: {one} {several}");
    }
}

/// Of two backends, so that weights and gradients cross from one to the other.
#[test]
fn an_adapter_takes_half_of_each_step() {
    let gpu = match Backend::Wgpu.device(0) {
        Ok(gpu) => gpu,
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{error}");
            eprintln!("SKIPPED: {error}");
            return;
        }
    };
    for (linear, within) in [("model.linear=float", 1e-5), ("model.linear=ternary", 2e-3)] {
        let settings = [
            linear,
            "train.accumulate=2",
            "train.batch_size=2",
            "train.steps=10",
        ];
        let (one, _) = trained(&settings, &[]);
        let (both, _) = trained(&settings, std::slice::from_ref(&gpu));
        println!("{linear}: {one:?} {both:?}");
        assert_eq!(one.len(), both.len());
        for (step, (one, both)) in one.iter().zip(&both).enumerate() {
            assert!(
                (one - both).abs() < within,
                "{linear}, step {step}: {one} {both}"
            );
        }
    }
}

#[test]
fn what_devices_cannot_share_is_refused() {
    for (settings, says) in [
        (&["train.accumulate=2"][..], "train.accumulate = 3"),
        (
            &["train.accumulate=3", "model.dropout=0.1"],
            "model.dropout = 0",
        ),
        (
            &["train.accumulate=3", "train.distill_from=teacher"],
            "train.distill_from",
        ),
    ] {
        let mut setup = Setup::new(settings);
        setup.others = vec![Device::flex(); 2];
        let run = setup.create("run");
        match setup.train(&run, None, usize::MAX) {
            Err(TrainError::Devices { problem }) => {
                assert!(problem.contains(says), "{settings:?}: {problem}");
            }
            other => panic!("{settings:?}: {:?}", other.map(|_| ())),
        }
    }
}

/// A signal in the middle of a shared step leaves a checkpoint that goes on to the same weights.
#[test]
fn a_stopped_run_goes_on_bit_by_bit() {
    let settings = ["train.accumulate=2", "train.batch_size=2"];
    let whole = trained(&settings, &[Device::flex()]);
    let mut setup = Setup::new(&settings);
    setup.others = vec![Device::flex()];
    let run = setup.create("run");
    setup.train(&run, None, 7).unwrap();
    let on_disk = steps_on_disk(&run);
    assert!(
        on_disk.len() == 1 && *on_disk[0] < *"step-00000008",
        "{on_disk:?}"
    );
    let newest = bitnet_train::Checkpoint::newest_first(&run).unwrap();
    let (model, _) = setup.train(&run, newest, usize::MAX).unwrap();
    assert!(bits(&model) == whole.1);
}

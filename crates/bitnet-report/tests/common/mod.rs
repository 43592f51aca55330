//! FIXTURE. Every number here is made up, shaped like a real run so that a rendered report can be looked at.

use bitnet_report::energy::{LinearKind, ModelShape};
use bitnet_report::{
    DataInfo, FloatBytes, Inference, Machine, Packed, Probes, Sample, Summary, TokenMatch, Train,
    TrainPoint, Twin, Val, ValPoint,
};

const STEPS: u64 = 2000;

/// A comparison that never happened.
pub fn made_up() -> Summary {
    Summary {
        version: "0.1.0".into(),
        name: "fixture (made-up numbers)".into(),
        date: "2026-01-02 03:04 UTC".into(),
        command: "bitnet compare configs/compare/shakespeare-cpu.toml --seed 42 --set train.steps=2000".into(),
        backend: "flex".into(),
        device: "cpu".into(),
        machine: Machine {
            cpu: "Imaginary 2-core processor".into(),
            cores: 2,
            os: "Linux".into(),
            kernel: "6.1.0".into(),
        },
        seed: Some(42),
        data: DataInfo {
            description: "tiny-shakespeare, one token per character".into(),
            train_tokens: 1_003_854,
            validation_tokens: 111_540,
            vocab: 65,
        },
        twins: vec![float(), ternary()],
        config: "[model]\nhidden_size = 128\nnum_hidden_layers = 4\n\n[train]\nsteps = 2000\nseed = 42\n".into(),
        report: "runs/fixture/report.html".into(),
    }
}

fn shape() -> ModelShape {
    ModelShape {
        hidden: 128,
        intermediate: 352,
        layers: 4,
        heads: 4,
        kv_heads: 4,
        head_dim: 32,
        vocab: 65,
    }
}

fn float() -> Twin {
    Twin {
        name: Summary::FLOAT.into(),
        params: 819_840,
        ternary_weights: 0,
        float_weights: 819_840,
        float_bytes: FloatBytes::of(802_816),
        file_bytes: Some(3_281_904),
        bits_per_ternary_weight: None,
        optim: vec![
            "AdamW, learning rate 0.001, cosine to 10 %".into(),
            "β 0.9/0.95, weight decay 0.1".into(),
        ],
        initial_val_loss: Some(4.193),
        train: train(168.2),
        ms_per_step: Some(84.1),
        val: Val {
            loss: 1.7012,
            perplexity: 5.4805,
            accuracy: 0.4981,
        },
        bits_per_byte: Some(2.4543),
        probes: Some(Probes {
            asked: 40,
            right: 22,
        }),
        packed: None,
        inference: Some(Inference {
            prefill_tps: 21_480.0,
            decode_tps: 1_610.0,
            peak_rss_bytes: Some(61_000_000),
            engine: Some("avx2, two-bit, int8 head".into()),
            val_loss: Some(1.7013),
        }),
        energy: Some(shape().energy(LinearKind::Float, 64)),
        train_curve: train_curve(1.64, 340.0, 1e-3),
        val_curve: val_curve(1.7012, 340.0, 168.2),
        samples: samples(
            "the king shall be the world,\nAnd so the heart of men that would not speak.",
        ),
    }
}

fn ternary() -> Twin {
    Twin {
        name: Summary::TERNARY.into(),
        ternary_weights: 802_816,
        float_weights: 17_024,
        file_bytes: None,
        bits_per_ternary_weight: Some(2.06),
        optim: vec![
            "AdamW, learning rate 0.003, cosine to 10 %".into(),
            "β 0.9/0.95, weight decay 0".into(),
        ],
        initial_val_loss: Some(4.188),
        train: train(186.9),
        ms_per_step: Some(93.4),
        val: Val {
            loss: 1.7438,
            perplexity: 5.719,
            accuracy: 0.4867,
        },
        bits_per_byte: Some(2.5158),
        probes: Some(Probes {
            asked: 40,
            right: 21,
        }),
        packed: Some(Packed {
            val_loss: 1.74381,
            weight_bytes: 206_725,
            file_bytes: 275_112,
            token_match: TokenMatch {
                compared: 4096,
                equal: 4094,
            },
        }),
        inference: Some(Inference {
            prefill_tps: 19_320.0,
            decode_tps: 2_093.0,
            peak_rss_bytes: Some(47_500_000),
            engine: Some("avx2, two-bit, int8 head".into()),
            val_loss: Some(1.74385),
        }),
        energy: Some(shape().energy(LinearKind::Ternary, 64)),
        train_curve: train_curve(1.69, 420.0, 3e-3),
        val_curve: val_curve(1.7438, 420.0, 186.9),
        samples: samples(
            "the <b>king</b> & \"queen\" of the |house|,\n```\nWhat say'st thou? `No more`, my lord.\u{1b}[31m",
        ),
        ..float()
    }
}

fn train(seconds: f64) -> Train {
    let tokens = STEPS * 12 * 64;
    Train {
        steps: STEPS,
        tokens,
        seconds,
        tokens_per_second: tokens as f64 / seconds,
        peak_rss_bytes: Some(412_000_000),
    }
}

fn loss_at(step: u64, end: f64, scale: f64) -> f64 {
    let t = step as f64;
    let decay = |t: f64| (-t / scale).exp() + 0.12 * (1.0 - t / STEPS as f64);
    end + (4.19 - end) * (decay(t) - decay(STEPS as f64)) / (decay(0.0) - decay(STEPS as f64))
}

fn train_curve(end: f64, scale: f64, lr: f64) -> Vec<TrainPoint> {
    let mut noise = 12345_u32;
    (0..STEPS)
        .map(|step| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wobble = (f64::from(noise >> 16) / 65_536.0 - 0.5) * 0.22;
            let t = step as f64 / STEPS as f64;
            let warmup = (step as f64 / 100.0).min(1.0);
            let cosine = 0.1 + 0.45 * (1.0 + (std::f64::consts::PI * t).cos());
            TrainPoint {
                step,
                loss: loss_at(step, end, scale) + wobble,
                lr: lr * warmup * cosine,
            }
        })
        .collect()
}

fn val_curve(end: f64, scale: f64, seconds: f64) -> Vec<ValPoint> {
    let point = |i: u64| {
        let step = i * 100;
        ValPoint {
            step,
            seconds: seconds * step as f64 / STEPS as f64,
            loss: loss_at(step, end, scale),
        }
    };
    (0..=STEPS / 100).map(point).collect()
}

fn samples(first: &str) -> Vec<Sample> {
    vec![
        Sample { prompt: "ROMEO: ".into(), text: first.into() },
        Sample {
            prompt: "To be, or not to be".into(),
            text: ", that is the matter of the world\nThat I have seen the people of the state,\n\nMENENIUS:\nI know it well.".into(),
        },
    ]
}

//! FIXTURE. Every number here is made up, shaped like a real comparison so that a rendered report can be looked at.

use bitnet_results::energy::Products;
use bitnet_results::{
    Evaluation, Experiment, Linear, Machine, Metric, Probes, Run, Sample, Speed, TextMeasures,
    TokenMatch, TrainPoint, ValPoint, Variant,
};

const STEPS: u64 = 2000;
const WEIGHTS: u64 = 802_816;

/// A comparison that never happened.
pub fn made_up() -> Experiment {
    Experiment {
        version: "0.1.0".into(),
        name: "fixture".into(),
        title: "Float and ternary: fixture (made-up numbers)".into(),
        task: "lm".into(),
        date: "2026-01-02".into(),
        command:
            "bitnet compare configs/compare/shakespeare-cpu.toml --seed 42 --set train.steps=2000"
                .into(),
        backend: "flex".into(),
        machine: Machine {
            cpu: "Imaginary 2-core processor".into(),
            cores: 2,
            os: "Linux".into(),
            kernel: "6.1.0".into(),
        },
        seeds: vec![42],
        data: "tiny-shakespeare: 1003854 training tokens".into(),
        metric: Metric {
            key: "loss".into(),
            label: "validation loss".into(),
            unit: "nats per token".into(),
            ..Metric::default()
        },
        variants: vec![float(), ternary()],
        baseline: Some("float".into()),
        config: "[model]\nhidden_size = 128\n\n[train]\nsteps = 2000\nseed = 42\n".into(),
        curves: true,
        waited: Some(0.004),
        ..Experiment::default()
    }
}

fn float() -> Variant {
    Variant {
        name: "float".into(),
        linear: Linear::Float,
        params: 819_840,
        packed_bytes: 4 * WEIGHTS,
        file_bytes: 3_281_904,
        learning_rate: 1e-3,
        optim: vec![
            "AdamW, learning rate 0.001".into(),
            "weight decay 0.1".into(),
        ],
        speed: Some(speed(1_610.0, 21_480.0, 84.1)),
        runs: vec![run(1.7012, 1.7012, 340.0, Linear::Float)],
        ..Variant::default()
    }
}

fn ternary() -> Variant {
    let mut run = run(1.743_81, 1.7438, 420.0, Linear::Ternary);
    run.seconds = 186.9;
    let text = run.text.as_mut().expect("a language model");
    text.token_match = Some(TokenMatch {
        compared: 4096,
        equal: 4094,
    });
    text.samples[0].text =
        "the <b>king</b> & \"queen\" of the |house|,\n```\nWhat say'st thou? `No more`, my lord.\u{1b}[31m".into();
    Variant {
        name: "ternary".into(),
        linear: Linear::Ternary,
        ternary_weights: WEIGHTS,
        packed_bytes: 206_725,
        file_bytes: 275_112,
        learning_rate: 3e-3,
        speed: Some(speed(2_093.0, 19_320.0, 93.4)),
        runs: vec![run],
        ..float()
    }
}

/// Nine turns about as far apart as on a quiet machine.
pub fn speed(decode: f64, prefill: f64, step: f64) -> Speed {
    let turns = |middle: f64| {
        (0..9)
            .map(|i| middle * (1.0 + 0.004 * f64::from(i - 4)))
            .collect()
    };
    Speed {
        decode_tps: turns(decode),
        prefill_tps: turns(prefill),
        latency_ms: Vec::new(),
        step_ms: turns(step),
    }
}

fn run(score: f64, trained: f64, scale: f64, linear: Linear) -> Run {
    let products = Products {
        linear: [(128, 128), (128, 352), (352, 128)].repeat(4),
        float: Some(Products::head_and_attention(128, 65, 16, 32, 64)),
    };
    let loss = |step: u64| trained + 2.5 * (-(step as f64) / scale).exp();
    let val = |i: u64| ValPoint {
        step: i * 100,
        seconds: i as f64 * 8.4,
        loss: loss(i * 100),
        accuracy: Some(0.4),
        bits_per_byte: None,
        batches: Some(20),
    };
    let train = |step: u64| TrainPoint {
        step: step * 20,
        loss: loss(step * 20) + 0.1 * (step as f64).sin(),
        lr: Some(1e-3 * (1.0 - step as f64 / 101.0)),
        seconds: None,
    };
    let sample = |prompt: &str, text: &str| Sample {
        prompt: prompt.into(),
        text: text.into(),
    };
    Run {
        seed: 42,
        learning_rate: 1e-3,
        score,
        trained_score: (linear == Linear::Ternary).then_some(trained),
        val: Some(Evaluation {
            tokens: 111_540,
            loss: trained,
            accuracy: Some(0.4867),
            ..Evaluation::default()
        }),
        initial_val_loss: Some(4.193),
        metrics: [
            ("loss", score),
            ("perplexity", score.exp()),
            ("accuracy", 0.4867),
            ("bits_per_byte", 2.4543),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        steps: STEPS,
        tokens: STEPS * 12 * 64,
        seconds: 168.2,
        tokens_per_second: 9132.0,
        peak_rss_bytes: Some(412_000_000),
        inference_peak_rss_bytes: Some(61_000_000),
        modelled: products.modelled(linear),
        text: Some(TextMeasures {
            engine: Some("avx2, two-bit, int8 head".into()),
            engine_loss: Some(score + 1e-4),
            token_match: None,
            probes: Some(Probes {
                asked: 40,
                right: 22,
            }),
            samples: vec![
                sample("ROMEO: ", "the king shall be"),
                sample("To be", ", that is\n\nMENENIUS:\nI know it well."),
            ],
        }),
        curve: (0..=20).map(val).collect(),
        train_curve: (1..=100).map(train).collect(),
        ..Run::default()
    }
}

//! `bitnet score RUN` (hidden): what an experiment measures of one trained run, in a process of its own.
//!
//! The exported model is loaded and timed first, and the peak memory read then, before a latent model joins it.

use std::collections::BTreeMap;
use std::time::Instant;

use bitnet_config::{LinearKind, RunConfig, Task as Kind};
use bitnet_models::{ActivationQuantizer, Network};
use bitnet_report::energy::{FloatWidth, Process, float_product_pj, ternary_product_pj};
use bitnet_train::{
    Evaluation, RunDir, Task, exported_bytes, load_exported, load_latent, median, peak_rss_bytes,
};
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::args::ScoreArgs;
use crate::{output, setup, task};

/// Timings of one example; the first warms up and does not count.
const REPETITIONS: usize = 5;

/// What was measured of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Of the exported model: packed, if ternary.
    pub score: Evaluation,
    /// Of the model as it was trained; absent for a float one, where it is the same.
    pub trained: Option<Evaluation>,
    /// Trainable parameters.
    pub params: u64,
    /// Of those, the ones that are ternary in the exported model.
    pub ternary_weights: u64,
    /// Bytes of the linear layers as stored.
    pub packed_bytes: u64,
    /// Bytes of the exported file.
    pub file_bytes: u64,
    /// Median milliseconds for one example.
    pub latency_ms: f64,
    /// Peak memory until then.
    pub peak_rss_bytes: Option<u64>,
    /// Modelled picojoules of the linear layers, for a token or example.
    pub modelled: BTreeMap<String, f64>,
    /// One line: what was learned from.
    pub data: String,
}

pub fn run(args: ScoreArgs) -> anyhow::Result<Outcome> {
    let run = RunDir::open(&args.run)?;
    let device = setup::open_device(&args.device)?;
    let mut config = run.config()?;
    let tokenizer = match config.task {
        Kind::Lm => None,
        _ => run.known_tokenizer()?,
    };
    let measure = Measure {
        run: &run,
        device: &device,
    };
    output::json(&task::open(&mut config, tokenizer, measure)?)?;
    Ok(Outcome::Done)
}

struct Measure<'a> {
    run: &'a RunDir,
    device: &'a Device,
}

impl task::Visitor for Measure<'_> {
    type Output = Measured;

    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<Measured> {
        let Self { run, device } = self;
        let model: T::Model = load_exported(run, device)?;
        let mut times = Vec::new();
        for repetition in 0..=REPETITIONS {
            let begin = Instant::now();
            task.answer_one(&model, device)?;
            if repetition > 0 {
                times.push(begin.elapsed().as_secs_f64() * 1e3);
            }
        }
        let peak_rss_bytes = peak_rss_bytes();
        let score = task.score(&model, device)?;
        let linear_weights = model.projection_weights() as u64;
        let (params, ternary_weights, trained) = match config.model.linear {
            LinearKind::Float => (model.num_params() as u64, 0, None),
            LinearKind::Ternary => {
                let latent: T::Model = load_latent(run, device)?;
                let trained = task.score(&latent, device)?;
                (latent.num_params() as u64, linear_weights, Some(trained))
            }
        };
        Ok(Measured {
            score,
            trained,
            params,
            ternary_weights,
            packed_bytes: model.projection_bytes() as u64,
            file_bytes: exported_bytes(run)?,
            latency_ms: median(&times),
            peak_rss_bytes,
            modelled: modelled(&model, config),
            data: task.description(),
        })
    }
}

/// Arithmetic of the linear layers for one token, or example, 7 nm. Nothing for ternary layers whose activations are not int8:
/// the published figures are of 8-bit additions.
fn modelled(model: &impl Network, config: &RunConfig) -> BTreeMap<String, f64> {
    let mut energy = BTreeMap::new();
    let linear = config.model.linear;
    if linear == LinearKind::Ternary && config.quant.activations != ActivationQuantizer::Int8 {
        return energy;
    }
    for width in FloatWidth::ALL {
        let of = |(inputs, outputs): (usize, usize)| {
            let (inputs, outputs) = (inputs as u64, outputs as u64);
            match linear {
                LinearKind::Float => float_product_pj(1, inputs, outputs, width, Process::Nm7),
                LinearKind::Ternary => ternary_product_pj(1, inputs, outputs, width, Process::Nm7),
            }
        };
        let total = model.projections().iter().map(|(_, p)| of(p.dims())).sum();
        energy.insert(format!("linear layers, {}, 7 nm", width.name()), total);
    }
    energy
}

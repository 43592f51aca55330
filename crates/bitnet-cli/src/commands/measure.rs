//! `bitnet measure RUN` (hidden): what is measured of one trained run, in a process of its own; `bitnet measure --turns
//! RUN RUN …` times several in turns; `bitnet measure --formats q8_0,q4_0 RUN` stores its model in these and measures that.
//!
//! The order matters. The exported model is loaded and used first, and the peak memory read then, before a latent model and
//! the data of an evaluation join it.

pub mod formats;
mod text;
mod turns;

use bitnet_config::{LinearKind, RunConfig, Task as Kind};
use bitnet_models::{ActivationQuantizer, Network};
use bitnet_results::energy::Products;
use bitnet_results::{Linear, Measured};
use bitnet_train::{
    LanguageModel, RunDir, Task, exported_bytes, load_exported, load_latent, peak_rss_bytes,
};
use burn::module::Module;
use burn::tensor::Device;

use super::Outcome;
use crate::args::MeasureArgs;
use crate::{corpus, device, output, task};

pub fn run(args: MeasureArgs) -> anyhow::Result<Outcome> {
    let device = device::open(&args.device)?;
    if args.turns {
        output::json(&turns::measure(&args, &device)?)?;
        return Ok(Outcome::Done);
    }
    for path in &args.runs {
        if !args.formats.is_empty() {
            output::json(&formats::measure(&RunDir::open(path)?, &args)?)?;
            continue;
        }
        output::json(&one(&RunDir::open(path)?, &args, &device)?)?;
    }
    Ok(Outcome::Done)
}

fn one(run: &RunDir, args: &MeasureArgs, device: &Device) -> anyhow::Result<Measured> {
    let mut config = run.config()?;
    if config.task != Kind::Lm || config.train.init_from.is_some() {
        return task::open(&mut config, Some(run), OneRun { run, device });
    }
    let corpus = corpus::load(&mut config, run.known_tokenizer()?)?;
    let language_model = LanguageModel::new(&config, &corpus)?;
    // Inference on the engine, where it runs there, and its memory.
    let (text, peak_rss_bytes) = text::measure(run, &corpus, &config, args, device)?;
    let measured = measure(run, device, &config, &language_model)?;
    Ok(Measured {
        text: Some(text),
        peak_rss_bytes,
        ..measured
    })
}

struct OneRun<'a> {
    run: &'a RunDir,
    device: &'a Device,
}

impl task::Visitor for OneRun<'_> {
    type Output = Measured;

    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<Measured> {
        measure(self.run, self.device, config, task)
    }
}

/// Quality, size, memory and modelled energy, of any task.
fn measure<T: Task>(
    run: &RunDir,
    device: &Device,
    config: &RunConfig,
    task: &T,
) -> anyhow::Result<Measured> {
    let model: T::Model = load_exported(run, device)?;
    let mut answerer = task.answerer(&model, device)?;
    (answerer.answer)()?;
    let engine = answerer.kernel.map(|kernel| kernel.to_string());
    drop(answerer);
    let peak_rss_bytes = peak_rss_bytes();
    let score = task.score(&model, device)?;
    let (params, ternary_weights, trained) = match config.model.linear {
        LinearKind::Float => (model.num_params(), 0, None),
        LinearKind::Ternary => {
            let latent: T::Model = load_latent(run, device)?;
            let trained = task.score(&latent, device)?;
            (
                latent.num_params(),
                model.projection_weights(),
                Some(trained),
            )
        }
    };
    let linear = match config.model.linear {
        LinearKind::Float => Linear::Float,
        LinearKind::Ternary => Linear::Ternary,
    };
    // The published figures are of 8-bit additions.
    let known = linear == Linear::Float || config.quant.activations == ActivationQuantizer::Int8;
    let modelled = known.then(|| products(&model, config).modelled(linear));
    Ok(Measured {
        score,
        trained,
        params: params as u64,
        ternary_weights: ternary_weights as u64,
        packed_bytes: model.projection_bytes() as u64,
        file_bytes: exported_bytes(run)?,
        peak_rss_bytes,
        modelled: modelled.unwrap_or_default(),
        data: task.description(),
        engine,
        text: None,
    })
}

/// The products of one token or example: of a language model all of them, else those of the linear layers.
fn products(model: &impl Network, config: &RunConfig) -> Products {
    let linear = model.projections().into_iter().map(|(_, projection)| {
        let (inputs, outputs) = projection.dims();
        (inputs as u64, outputs as u64)
    });
    let float = (config.task == Kind::Lm).then(|| head_and_attention(config));
    Products {
        linear: linear.collect(),
        float,
    }
}

/// What stays float in a language model.
fn head_and_attention(config: &RunConfig) -> Vec<(u64, u64, u64)> {
    let shape = &config.model;
    Products::head_and_attention(
        shape.hidden_size as u64,
        shape.vocab_size as u64,
        (shape.num_hidden_layers * shape.num_attention_heads) as u64,
        shape.head_width() as u64,
        config.train.context as u64,
    )
}

//! When the CPU engine runs a model, how, and which flags are its own.

use anyhow::bail;
use bitnet_config::{ModelConfig, QuantConfig};
use bitnet_kernels::{Kernel, Strategy};
use bitnet_models::{
    EngineRunner, Runner, TensorRunner, Transformer,
    engine::{Engine, Options},
};
use bitnet_train::Backend;
use burn::tensor::Device;

use crate::args::{DeviceArgs, EngineArgs};

/// The engine's options, with `threads` or as many as there are cores; an error if the kernel lacks the strategy.
pub fn options(args: &EngineArgs, threads: usize) -> anyhow::Result<Options> {
    let kernel = args.kernel.unwrap_or_else(Kernel::detect);
    let strategy = match args.strategy {
        Some(strategy) => strategy.require(kernel)?,
        None => Strategy::detect(kernel),
    };
    let defaults = Options::default();
    Ok(Options {
        threads: match threads {
            0 => rayon::current_num_threads(),
            threads => threads,
        },
        kernel,
        strategy,
        layout: args.layout,
        head: args.head.unwrap_or(defaults.head),
        cache: args.kv_cache.unwrap_or(defaults.cache),
    })
}

/// Kernel, strategy, layout, head and cache in words.
pub fn describe(engine: &Engine) -> String {
    let Options {
        kernel,
        strategy,
        layout: _,
        head: _,
        cache,
        threads: _,
    } = engine.options();
    let head = engine.head();
    match engine.layout() {
        Some(layout) => {
            format!("{kernel}, {strategy} products, {layout}, {head} head, {cache} cache")
        }
        None => format!("{kernel}, {head} head, {cache} cache"),
    }
}

/// Whether inference runs on the CPU engine: on the flex backend, if it runs such models. Its flags mean nothing elsewhere.
pub fn runs(
    backend: Backend,
    args: &EngineArgs,
    model: &ModelConfig,
    quant: &QuantConfig,
) -> anyhow::Result<bool> {
    let asked = asked_for(backend, args)?;
    match model.engine_shape(quant) {
        Ok(_) => Ok(backend == Backend::Flex),
        Err(error) if asked => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Whether one of the engine's flags was given.
pub fn asked_for(backend: Backend, args: &EngineArgs) -> anyhow::Result<bool> {
    match args.given() {
        Some(flag) if backend != Backend::Flex => {
            bail!("{flag} is for the flex backend, not for {backend}")
        }
        given => Ok(given.is_some()),
    }
}

/// A run's activations are those that it was trained with.
pub fn refuse_activations(args: &EngineArgs) -> anyhow::Result<()> {
    match args.activations {
        Some(_) => bail!(
            "--activations is for model files that do not say what they were made for; a run does (quant.activations)"
        ),
        None => Ok(()),
    }
}

/// The engine runs exported models only.
pub fn refuse_latent(latent: bool, args: &EngineArgs) -> anyhow::Result<()> {
    match args.given() {
        Some(flag) if latent => bail!("--latent runs on Burn's tensors; leave out {flag}"),
        _ => Ok(()),
    }
}

/// The model as generation uses it.
pub fn runner(
    model: &Transformer,
    device: &Device,
    args: &DeviceArgs,
    engine: &EngineArgs,
) -> anyhow::Result<Box<dyn Runner>> {
    Ok(
        match runs(args.backend, engine, model.config(), model.quant())? {
            true => {
                let options = options(engine, args.threads)?;
                Box::new(EngineRunner::new(model.engine(options)?))
            }
            false => Box::new(TensorRunner::new(model, device)),
        },
    )
}

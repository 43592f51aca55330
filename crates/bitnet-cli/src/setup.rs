//! What the commands share: the configuration, the corpus, the threads, the device and the run's folder.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, bail};
use bitnet_config::{DataConfig, DataKind, Loader, ModelConfig, QuantConfig, RunConfig};
use bitnet_data::Corpus;
use bitnet_kernels::{Kernel, Strategy};
use bitnet_models::engine::{Engine, Options};
use bitnet_models::{EngineRunner, Runner, TensorRunner, Transformer};
use bitnet_train::{Backend, RunDir, tokenizer_kind};
use burn::tensor::Device;

use crate::args::{ConfigArgs, DeviceArgs, Dtype, DtypeArgs, EngineArgs};
use crate::output;

/// Stacks defaults, file (or the built-in quick start), environment, `--set` and flags.
pub fn load_config(file: Option<&Path>, args: &ConfigArgs) -> anyhow::Result<RunConfig> {
    let mut loader = Loader::new();
    loader = match file {
        Some(path) => loader.file(path)?,
        None => loader.builtin("quickstart", bitnet_config::QUICKSTART)?,
    };
    loader = loader.env(std::env::vars_os())?;
    for assignment in &args.set {
        loader = loader.set(assignment)?;
    }
    if let Some(seed) = args.seed {
        loader = loader.set(&format!("train.seed={seed}"))?;
    }
    Ok(loader.finish()?)
}

/// Reads or generates the text and fills in the size of its vocabulary.
pub fn load_corpus(config: &mut RunConfig) -> anyhow::Result<Corpus> {
    let corpus = corpus(&config.data)?;
    let vocab = corpus.tokenizer.vocab_size();
    let asked = config.model.vocab_size;
    if asked != 0 && asked < vocab {
        bail!(
            "model.vocab_size = {asked} is too small: {} has {vocab} tokens; leave it out to take that",
            corpus.name
        );
    }
    if asked == 0 {
        config.model.vocab_size = vocab;
    }
    corpus.check_context(config.train.context)?;
    Ok(corpus)
}

fn corpus(data: &DataConfig) -> anyhow::Result<Corpus> {
    let kind = tokenizer_kind(data);
    Ok(match data.kind {
        DataKind::Stories => {
            Corpus::stories(data.seed, data.characters, kind, data.train_fraction)?
        }
        DataKind::Text => {
            let path = data
                .path
                .as_ref()
                .context("data.path is missing; set it to the text file")?;
            Corpus::read(path, kind, data.train_fraction)?
        }
    })
}

/// Sets the number of threads and opens the device.
pub fn open_device(args: &DeviceArgs) -> anyhow::Result<Device> {
    set_threads(args.threads)?;
    Ok(args.backend.device(args.device)?)
}

/// Sets the number of rayon's threads, before anything uses them; 0 keeps one a core. The first call counts.
pub fn set_threads(threads: usize) -> anyhow::Result<()> {
    static SET: OnceLock<()> = OnceLock::new();
    if threads == 0 || SET.set(()).is_err() {
        return Ok(());
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("the thread pool cannot be built")
}

/// The engine's options, with `threads` or as many as there are cores; an error if the kernel lacks the strategy.
pub fn engine_options(args: &EngineArgs, threads: usize) -> anyhow::Result<Options> {
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
pub fn describe_engine(engine: &Engine) -> String {
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
pub fn uses_engine(
    backend: Backend,
    args: &EngineArgs,
    model: &ModelConfig,
    quant: &QuantConfig,
) -> anyhow::Result<bool> {
    let asked = asks_for_engine(backend, args)?;
    match model.engine_shape(quant) {
        Ok(_) => Ok(backend == Backend::Flex),
        Err(error) if asked => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Whether one of the engine's flags was given.
pub fn asks_for_engine(backend: Backend, args: &EngineArgs) -> anyhow::Result<bool> {
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
pub fn refuse_latent_engine(latent: bool, args: &EngineArgs) -> anyhow::Result<()> {
    match args.given() {
        Some(flag) if latent => bail!("--latent runs on Burn's tensors; leave out {flag}"),
        _ => Ok(()),
    }
}

/// Refuses another type than f32 where it would be ignored.
pub fn refuse_dtype(args: DtypeArgs, because: &str) -> anyhow::Result<()> {
    match args.dtype {
        Dtype::F32 => Ok(()),
        Dtype::F16 => bail!("--dtype f16 {because}"),
    }
}

/// The model with the activations that were asked for.
pub fn with_dtype(
    model: Transformer,
    args: DtypeArgs,
    backend: Backend,
    device: &Device,
) -> anyhow::Result<Transformer> {
    match args.dtype {
        Dtype::F32 => Ok(model),
        Dtype::F16 => model
            .into_half(device)
            .with_context(|| format!("--dtype f16 on {backend}")),
    }
}

/// Says on stderr where a run's exported model is not that of its last step.
pub fn note_of_export(run: &RunDir) -> anyhow::Result<()> {
    if let Some(note) = bitnet_train::export_note(run)? {
        output::say(format_args!("note: {note}"));
    }
    Ok(())
}

/// The model as generation uses it.
pub fn runner(
    model: &Transformer,
    device: &Device,
    args: &DeviceArgs,
    engine: &EngineArgs,
) -> anyhow::Result<Box<dyn Runner>> {
    Ok(
        match uses_engine(args.backend, engine, model.config(), model.quant())? {
            true => {
                let options = engine_options(engine, args.threads)?;
                Box::new(EngineRunner::new(model.engine(options)?))
            }
            false => Box::new(TensorRunner::new(model, device)),
        },
    )
}

/// The folder of a new run: the one asked for, or the first free one of `runs/NAME`, `runs/NAME-2`, ….
pub fn new_run_dir(asked: Option<PathBuf>, name: &str) -> PathBuf {
    if let Some(path) = asked {
        return path;
    }
    let base = Path::new("runs").join(name);
    if !base.exists() {
        return base;
    }
    (2usize..)
        .map(|n| Path::new("runs").join(format!("{name}-{n}")))
        .find(|path| !path.exists())
        .unwrap_or(base)
}

/// The same, made at once, so that of two processes each has its own.
///
/// # Errors
/// If it cannot be made.
pub fn reserve_run_dir(asked: Option<PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = asked {
        return Ok(path);
    }
    loop {
        let path = new_run_dir(None, name);
        let parent = path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => {
                made.with_context(|| path.display().to_string())?;
                return Ok(path);
            }
        }
    }
}

/// The processor's name, as far as the system tells.
pub fn cpu_model() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The device's own name, for backends whose devices have one.
pub fn device_name(backend: Backend, device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if matches!(backend, Backend::Wgpu | Backend::Cuda)
        && let Some(identity) = device.identity()
    {
        return identity.name;
    }
    let _ = device;
    match backend {
        Backend::Flex | Backend::NdArray => cpu_model(),
        Backend::Wgpu | Backend::Cuda => format!("{backend} device"),
    }
}

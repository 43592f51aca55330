//! What a run's model is worth in formats of others: it is stored in them by rounding, and the files are measured as the
//! engine runs them, with an embedding and a head as wide as in the file.

use std::path::Path;

use anyhow::{Context, bail};
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_experiment::stored_file;
use bitnet_formats::model::{LayerRole, Role};
use bitnet_formats::{ModelFile, Target, TensorType, convert};
use bitnet_kernels::{DenseFormat, FloatFormat};
use bitnet_load::Checkpoint;
use bitnet_models::engine::Engine;
use bitnet_results::StoredAs;
use bitnet_results::energy::{Arithmetic, Products};
use bitnet_train::{Backend, RunDir, evaluate_engine};

use crate::args::{DeviceArgs, EngineArgs, MeasureArgs};
use crate::{corpus, engine, location};

/// The type that the matrices of the layers have in a format.
///
/// # Errors
/// If `bitnet convert` writes no such GGUF file.
pub fn type_of(format: &str) -> anyhow::Result<TensorType> {
    let target = Target::ALL.iter().find_map(|(name, target)| match target {
        Target::Gguf(ty) if name.strip_prefix("gguf-") == Some(format) => Some(*ty),
        _ => None,
    });
    let known = || {
        let names = Target::ALL.iter();
        let names: Vec<_> = names
            .filter_map(|(name, _)| name.strip_prefix("gguf-"))
            .collect();
        names.join(", ")
    };
    target.with_context(|| format!("unknown format \"{format}\"; choose of {}", known()))
}

/// Refuses what a run of these settings cannot be stored in or measured as.
///
/// # Errors
/// If a format is unknown, the task is not `lm`, or the backend is not the engine's.
pub fn check(formats: &[String], config: &RunConfig, backend: Backend) -> anyhow::Result<()> {
    for format in formats {
        type_of(format)?;
    }
    if !formats.is_empty() && config.task != Kind::Lm {
        bail!(
            "formats: task = \"{}\"; other programs have formats for language models",
            config.task.name()
        );
    }
    if !formats.is_empty() && backend != Backend::Flex {
        bail!(
            "formats are measured on the CPU engine, which serves flex; leave out --backend {backend}"
        );
    }
    Ok(())
}

/// Stores a run's model in the formats of the command line, and measures the files.
pub fn measure(run: &RunDir, args: &MeasureArgs) -> anyhow::Result<Vec<StoredAs>> {
    let mut config = run.config()?;
    check(&args.formats, &config, args.device.backend)?;
    let corpus = corpus::load(&mut config, run.known_tokenizer()?)?;
    let model = location::model_file(run)?;
    let one = |format: &String| {
        let path = stored_file(run.path(), format);
        store(&model, type_of(format)?, &path)?;
        let checkpoint = Checkpoint::open(&path)?;
        let mut engine = open(&checkpoint, &args.engine, &args.device)?;
        let score = evaluate_engine(&mut engine, corpus.evaluated(), config.train.context)?;
        let matrices = || {
            let all = checkpoint.file().source().tensors().iter();
            all.filter(|entry| matches!(entry.role, Role::Layer(_, LayerRole::Projection(_))))
        };
        let dims = matrices().filter_map(|entry| match entry.shape[..] {
            [rows, cols] => Some((cols as u64, rows as u64)),
            _ => None,
        });
        let products = Products {
            linear: dims.collect(),
            float: Some(super::head_and_attention(&config)),
        };
        anyhow::Ok(StoredAs {
            format: format.clone(),
            score,
            file_bytes: path.metadata()?.len(),
            layer_bytes: matrices().map(|entry| entry.bytes).sum(),
            modelled: products.modelled(arithmetic(type_of(format)?)),
            engine: engine::describe(&engine),
        })
    };
    let measured = |format: &String| {
        let name = run.path().display();
        one(format).with_context(|| format!("{name} as {format}"))
    };
    args.formats.iter().map(measured).collect()
}

/// The engine of a stored model, its tables as wide as in the file where no flag says otherwise.
pub fn open(
    checkpoint: &Checkpoint,
    args: &EngineArgs,
    device: &DeviceArgs,
) -> anyhow::Result<Engine> {
    let mut options = engine::options(args, device.threads)?;
    let table = |role| {
        let mut all = checkpoint.file().source().tensors().iter();
        all.find(|entry| entry.role == role)
            .is_some_and(|entry| entry.storage == TensorType::F32.to_string())
    };
    if args.head.is_none() {
        options.head = match table(Role::Embedding) {
            true => DenseFormat::F32,
            false => DenseFormat::F16,
        };
    }
    if args.kv_cache.is_none() {
        options.cache = FloatFormat::F32;
    }
    Ok(checkpoint.engine(options)?)
}

/// Writes the file anew: the run may have gone on since it was written.
fn store(model: &ModelFile, ty: TensorType, path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    if path.exists() {
        std::fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    convert(model, Target::Gguf(ty), path)?;
    Ok(())
}

fn arithmetic(ty: TensorType) -> Arithmetic {
    match ty {
        ty if ty.is_ternary() => Arithmetic::Ternary,
        TensorType::F32 | TensorType::F16 | TensorType::Bf16 => Arithmetic::Float,
        _ => Arithmetic::Blocks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_convert() {
        assert_eq!(type_of("q4_0").unwrap(), TensorType::Q4_0);
        assert_eq!(arithmetic(type_of("q2_0").unwrap()), Arithmetic::Ternary);
        assert_eq!(arithmetic(type_of("f16").unwrap()), Arithmetic::Float);
        assert_eq!(arithmetic(type_of("q8_0").unwrap()), Arithmetic::Blocks);
        for wrong in ["gguf-q4_0", "hf", "int4", ""] {
            let error = type_of(wrong).unwrap_err().to_string();
            assert!(error.contains("q8_0") && error.contains(wrong), "{error}");
        }
    }
}

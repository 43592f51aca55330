//! Memory: the peak of this process, and whether the machine has what a run needs at least.

use bitnet_config::{DataKind, LinearKind, RunConfig, Task};
use bitnet_models::ModelConfig;
use burn::tensor::Device;

use crate::{Backend, TrainError, numerics};

/// Bytes of a weight in training: itself, its gradient and two moments, in f32.
const TRAINED_WEIGHT: f64 = 16.0;

/// Bytes of a packed weight in its densest layout.
const PACKED_WEIGHT: f64 = 0.2;

/// Bytes of a weight of the embedding in the densest format of heads.
const TABLE_WEIGHT: f64 = 1.0;

/// Memory and swap of this machine in bytes, as Linux counts them; elsewhere what an address can reach.
fn machine_bytes() -> f64 {
    const ADDRESSES: f64 = (1u64 << 47) as f64;
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| -> Option<f64> {
        let line = info.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    match kib("MemTotal:") {
        Some(memory) => 1024.0 * (memory + kib("SwapTotal:").unwrap_or_default()),
        None => ADDRESSES,
    }
}

/// Refuses a training run on the CPU that cannot fit whatever else the machine does. An allocation that fails ends the
/// process on the spot, and one that the system overcommits ends whichever process it chooses. The bound is a low one:
/// weights with what the optimiser keeps, tables of positions, and of a step of a language model the residual stream.
/// Sizes that only the data decides are not known yet, and count nothing.
///
/// # Errors
///
/// If the run needs more than the machine has.
pub fn check_training(config: &RunConfig, backend: Backend) -> Result<(), TrainError> {
    let of = |n: usize| n as f64;
    let weights = weights(config);
    let stream = match config.task {
        Task::Lm => {
            let tokens = of(config.train.batch_size) * of(config.train.context);
            4.0 * tokens * of(config.model.hidden_size) * of(config.model.num_hidden_layers)
        }
        _ => 0.0,
    };
    let other = stream + data_bytes(config) + positions(config);
    let what = format!("training {weights:.2e} weights");
    let remedy = "make `[model]`, train.batch_size or the sizes of `[data]` smaller";
    let on_cpu = is_cpu(backend);
    check(on_cpu, TRAINED_WEIGHT * weights + other, what, remedy)
}

/// Refuses a run's model that the machine cannot hold, before anything of it is made.
pub(crate) fn check_loading(config: &RunConfig, device: &Device) -> Result<(), TrainError> {
    let weights = weights(config);
    let table = config.model.vocab_size as f64 * config.model.hidden_size as f64;
    let bytes = match config.model.linear {
        LinearKind::Ternary => PACKED_WEIGHT,
        LinearKind::Float => 4.0,
    };
    let needed = bytes * (weights - table).max(0.0) + 4.0 * table + positions(config);
    let what = format!("a model of {weights:.2e} weights");
    let remedy = "the run's config.toml is not that of its files; copy it again from its run";
    check(numerics::is_cpu(device), needed, what, remedy)
}

/// Weights of the matrices of a task's model.
fn weights(config: &RunConfig) -> f64 {
    let (model, of) = (&config.model, |n: usize| n as f64);
    match config.task {
        Task::Lm | Task::Classify => model.matrix_weights(),
        Task::Translate | Task::Synthetic => {
            let decoder = model.num_decoder_layers.unwrap_or(model.num_hidden_layers);
            let blocks = model.num_hidden_layers.saturating_add(decoder);
            let both = ModelConfig {
                num_hidden_layers: blocks,
                ..model.clone()
            };
            both.matrix_weights()
        }
        Task::Vectors => {
            let inner = (of(model.num_hidden_layers) - 1.0).max(0.0) * of(model.hidden_size);
            of(model.hidden_size) * (of(model.input_size) + inner)
        }
        Task::Layer => of(model.input_size) * of(model.num_labels),
    }
}

/// Bytes of the tables of positions that a task's model has.
fn positions(config: &RunConfig) -> f64 {
    match config.task {
        Task::Vectors | Task::Layer => 0.0,
        _ => position_bytes(&config.model),
    }
}

/// Bytes of data that is made, not read: a text and its tokens, the letters of pairs, the numbers of a regression.
fn data_bytes(config: &RunConfig) -> f64 {
    let (data, of) = (&config.data, |n: usize| n as f64);
    let examples = of(data.examples) + of(data.validation_examples) + of(data.test_examples);
    match (config.task, data.kind) {
        (Task::Lm, DataKind::Stories) => 5.0 * of(data.characters),
        (Task::Synthetic, _) => {
            // Both sides as text and as tokens, of the mean length; the longest may have to be held at once.
            let mean = (of(data.min_symbols) + of(data.max_symbols)) / 2.0;
            10.0 * examples * mean
        }
        (Task::Layer, _) => {
            4.0 * examples * (of(config.model.input_size) + of(config.model.num_labels))
        }
        _ => 0.0,
    }
}

/// As [`check_training`], for a model that only runs.
///
/// # Errors
///
/// If the weights alone need more than the machine has.
pub fn check_running(
    model: &ModelConfig,
    ternary: bool,
    backend: Backend,
) -> Result<(), TrainError> {
    let table = model.vocab_size as f64 * model.hidden_size as f64;
    let weights = model.matrix_weights();
    let bytes = if ternary { PACKED_WEIGHT } else { 4.0 };
    let needed = bytes * (weights - table) + TABLE_WEIGHT * table + position_bytes(model);
    let what = format!("a model of {weights:.2e} weights");
    check(is_cpu(backend), needed, what, "make `[model]` smaller")
}

/// Bytes of the tables of angles or of sines.
fn position_bytes(model: &ModelConfig) -> f64 {
    4.0 * model.max_position_embeddings as f64 * model.head_width() as f64
}

/// A GPU has memory of its own, and an error when it is used up.
fn is_cpu(backend: Backend) -> bool {
    matches!(backend, Backend::Flex | Backend::NdArray)
}

fn check(on_cpu: bool, needed: f64, what: String, remedy: &'static str) -> Result<(), TrainError> {
    let present = machine_bytes();
    match on_cpu && needed > present {
        true => Err(TrainError::Memory {
            what,
            needed: needed / 1e9,
            present: present / 1e9,
            remedy,
        }),
        false => Ok(()),
    }
}

/// Peak resident set size in bytes, as Linux counts it (`VmHWM`); `None` on other systems. Memory of a discrete GPU is
/// not part of it.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

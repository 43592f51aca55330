//! Memory: the peak of this process, and whether the machine has what a run needs at least.

use bitnet_config::{RunConfig, Task};
use bitnet_models::ModelConfig;

use crate::{Backend, TrainError};

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
    let (model, of) = (&config.model, |n: usize| n as f64);
    let (hidden, layers) = (of(model.hidden_size), of(model.num_hidden_layers));
    let (weights, other) = match config.task {
        Task::Lm => {
            let tokens = of(config.train.batch_size) * of(config.train.context);
            let stream = 4.0 * tokens * hidden * layers;
            (model.matrix_weights(), stream + position_bytes(model))
        }
        Task::Translate | Task::Classify | Task::Synthetic => {
            (model.matrix_weights(), position_bytes(model))
        }
        Task::Vectors => {
            let inner = (layers - 1.0).max(0.0) * hidden;
            (hidden * (of(model.input_size) + inner), 0.0)
        }
        Task::Layer => {
            let (inputs, outputs) = (of(model.input_size), of(model.num_labels));
            let data = of(config.data.examples) * (inputs + outputs);
            (inputs * outputs, 8.0 * data)
        }
    };
    let what = format!("training {weights:.2e} weights");
    let remedy = "make `[model]` or train.batch_size smaller";
    check(backend, TRAINED_WEIGHT * weights + other, what, remedy)
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
    check(backend, needed, what, "make `[model]` smaller")
}

/// Bytes of the tables of angles or of sines.
fn position_bytes(model: &ModelConfig) -> f64 {
    4.0 * model.max_position_embeddings as f64 * model.head_width() as f64
}

fn check(
    backend: Backend,
    needed: f64,
    what: String,
    remedy: &'static str,
) -> Result<(), TrainError> {
    // A GPU has memory of its own, and an error when it is used up.
    let on_cpu = matches!(backend, Backend::Flex | Backend::NdArray);
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

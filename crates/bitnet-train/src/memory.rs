//! Memory: the peak of this process, and whether the machine has what a run needs at least.

use bitnet_config::{RunConfig, Task};
use bitnet_models::ModelConfig;

use crate::TrainError;

/// Bytes of a weight in training: itself, its gradient and two moments, in f32.
const TRAINED_WEIGHT: f64 = 16.0;

/// Bytes of a packed weight in its densest layout.
const PACKED_WEIGHT: f64 = 0.2;

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

/// Refuses a training run that cannot fit whatever else the machine does. An allocation that fails ends the process on
/// the spot, and one that the system overcommits ends whichever process it chooses. The bound is a low one: weights with
/// what the optimiser keeps, and of a step the residual stream and the logits.
///
/// # Errors
///
/// If the run needs more than the machine has.
pub fn check_training(config: &RunConfig) -> Result<(), TrainError> {
    let (model, of) = (&config.model, |n: usize| n as f64);
    let (hidden, layers) = (of(model.hidden_size), of(model.num_hidden_layers));
    let (weights, tokens) = match config.task {
        Task::Lm => (model.matrix_weights(), of(config.train.context)),
        Task::Translate | Task::Classify | Task::Synthetic => (model.matrix_weights(), 1.0),
        Task::Vectors => {
            let inner = (layers - 1.0).max(0.0) * hidden;
            (hidden * (of(model.input_size) + inner), 1.0)
        }
        Task::Layer => (of(model.input_size) * of(model.num_labels), 0.0),
    };
    let logits = match config.task {
        Task::Lm => of(model.vocab_size),
        _ => 0.0,
    };
    let step = 4.0 * of(config.train.batch_size) * tokens * (hidden * layers + logits);
    check(
        TRAINED_WEIGHT * weights + step,
        format!(
            "training {weights:.2e} weights in batches of {}",
            config.train.batch_size
        ),
    )
}

/// As [`check_training`], for a model that only runs.
///
/// # Errors
///
/// If the weights alone need more than the machine has.
pub fn check_running(model: &ModelConfig, ternary: bool) -> Result<(), TrainError> {
    let weights = model.matrix_weights();
    let bytes = if ternary { PACKED_WEIGHT } else { 4.0 };
    check(bytes * weights, format!("a model of {weights:.2e} weights"))
}

fn check(needed: f64, what: String) -> Result<(), TrainError> {
    let present = machine_bytes();
    match needed > present {
        true => Err(TrainError::Memory {
            what,
            needed: needed / 1e9,
            present: present / 1e9,
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

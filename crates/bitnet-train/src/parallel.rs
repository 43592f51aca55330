//! Data-parallel steps: every device takes parts of a step on a copy of the model. The first one, which has the model and
//! the optimiser, adds up the gradients of all.
//!
//! A step is what it is on one device, whose parts come one after the other: what a part sees is a function of the seed, the
//! step and its number. Only the order of sums differs, `(g₀ + g₁) + (g₂ + g₃)` for `((g₀ + g₁) + g₂) + g₃`; with one part a
//! device not even that. A step moves the weights to each of the other devices and a gradient back from it.

use std::panic::resume_unwind;
use std::thread;

use bitnet_config::RunConfig;
use bitnet_models::Network;
use burn::module::Module;
use burn::tensor::Device;

use crate::accumulate::Accumulated;
use crate::task::{Part, Task};
use crate::{Interrupt, TrainError};

/// Checks that a run can be shared by several devices.
///
/// # Errors
/// If it has too few parts, or something that is on one device only.
pub fn check_devices(config: &RunConfig, devices: usize) -> Result<(), TrainError> {
    let train = &config.train;
    let problem = if devices < 2 {
        return Ok(());
    } else if train.most_parts() < devices {
        format!(
            "{devices} devices need a step of at least as many parts, and it has {}: set train.accumulate = {devices} and \
             train.batch_size to what one of them takes at a time",
            train.most_parts()
        )
    } else if config.model.dropout > 0.0 {
        "masks of dropout are drawn in the order of one device: set model.dropout = 0".to_owned()
    } else if train.distill_from.is_some() {
        "a teacher is on one device: leave out train.distill_from".to_owned()
    } else {
        return Ok(());
    };
    Err(TrainError::Devices { problem })
}

/// What a step of several devices moves between them.
pub(crate) fn bytes_moved(parameters: usize, devices: usize) -> usize {
    2 * 4 * parameters * devices.saturating_sub(1)
}

/// The gradients of a step and the tokens that it reads, the first device being that of the model; none if it is to end
/// between two parts.
pub(crate) fn gradients<T: Task>(
    task: &T,
    config: &RunConfig,
    model: &T::Model,
    step: usize,
    devices: &[Device],
    interrupt: Interrupt<'_>,
) -> Option<(Accumulated<T::Model>, usize)> {
    let train = &config.train;
    let parts: Vec<Part> = Part::all(step as u64, train.most_parts())
        .take(config.parts_at(step))
        .collect();
    let take = |model: &T::Model, taken: &[Part], device: &Device| {
        let (mut accumulated, mut tokens) = (Accumulated::of(parts.len()), 0);
        for part in taken {
            if part.index > 0 && interrupt.is_asked() {
                // A step of many parts may take long; whoever goes on takes it whole.
                return None;
            }
            if let Some(dropout) = model.dropout_state() {
                // Masks are a function of the part, as the batch is.
                let part = part.number().wrapping_mul(0x2545_f491_4f6c_dd1d);
                dropout.seed(train.seed.wrapping_add(part));
            }
            if let Some(batch) = task.loss(model, *part, device) {
                tokens += batch.tokens;
                accumulated.add(model, batch);
            }
        }
        Some((accumulated, tokens))
    };
    let (first, others) = devices.split_first()?;
    if others.is_empty() {
        return take(model, &parts, first);
    }
    let mut shares = parts.chunks(parts.len().div_ceil(devices.len()));
    let own = shares.next()?;
    let plain = first.clone().inner();
    thread::scope(|scope| {
        let others: Vec<_> = (shares.zip(others))
            .map(|(share, device)| {
                let copy = model.clone();
                scope.spawn(move || take(&copy.fork(device), share, device))
            })
            .collect();
        let own = take(model, own, first);
        // All of them are waited for, whatever one says.
        let others: Vec<_> = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect();
        let (mut accumulated, mut tokens) = own?;
        for other in others {
            let (found, read) = other?;
            accumulated.join(model, found, &plain);
            tokens += read;
        }
        Some((accumulated, tokens))
    })
}

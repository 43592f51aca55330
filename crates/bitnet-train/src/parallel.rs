//! Data-parallel steps: every device takes parts of a step on a copy of the model. The first one, which has the model and
//! the optimiser, adds up the gradients of all.
//!
//! A step is what it is on one device, whose parts come one after the other: what a part sees is a function of the seed,
//! the step and its number. Only the order of sums differs, `(g₀ + g₁) + (g₂ + g₃)` for `((g₀ + g₁) + g₂) + g₃`; with one
//! part a device, and equally many predictions in each, not even that. A step moves the weights to each of the other
//! devices and a gradient back from it.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

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

/// What a step of several devices moves between them, at most, in bytes.
pub(crate) fn bytes_moved(parameters: usize, devices: usize) -> usize {
    2 * 4 * parameters * devices.saturating_sub(1)
}

/// Parts of a step for a device.
struct Share<M> {
    model: M,
    parts: Vec<Part>,
    /// How many the step has.
    of: usize,
}

/// What a device found in its share; nothing if it is to end between two parts.
type Found<M> = Option<(Accumulated<M>, usize)>;

/// A device beside the first, with a thread of its own for as long as the run takes: what a thread computes on a GPU has
/// memory of its own there.
struct Helper<'scope, M> {
    shares: Sender<Share<M>>,
    found: Receiver<Found<M>>,
    thread: ScopedJoinHandle<'scope, ()>,
}

/// The devices of a run.
pub(crate) struct Devices<'a, 'scope, T: Task> {
    task: &'a T,
    seed: u64,
    interrupt: Interrupt<'a>,
    /// That of the model, with gradients.
    first: Device,
    helpers: Vec<Helper<'scope, T::Model>>,
}

impl<'a, 'scope, T: Task> Devices<'a, 'scope, T> {
    /// Starts a thread for each of `others`.
    pub fn start(
        scope: &'scope Scope<'scope, '_>,
        task: &'a T,
        seed: u64,
        interrupt: Interrupt<'a>,
        first: &Device,
        others: &[Device],
    ) -> Self
    where
        'a: 'scope,
    {
        let helper = |device: &Device| {
            let device = device.clone().autodiff();
            let (shares, next) = channel::<Share<T::Model>>();
            let (answer, found) = channel();
            let thread = scope.spawn(move || {
                for Share { model, parts, of } in next {
                    let model = model.fork(&device);
                    let found = take(task, seed, interrupt, &model, &parts, of, &device);
                    if answer.send(found).is_err() {
                        // Nobody waits for it.
                        break;
                    }
                }
            });
            Helper {
                shares,
                found,
                thread,
            }
        };
        Self {
            task,
            seed,
            interrupt,
            first: first.clone().autodiff(),
            helpers: others.iter().map(helper).collect(),
        }
    }

    /// The gradients of a step of `count` parts, of `of` at most, and the tokens that it reads; none if it is to end between
    /// two parts.
    pub fn gradients(
        &mut self,
        model: &T::Model,
        step: usize,
        count: usize,
        of: usize,
    ) -> Found<T::Model> {
        let parts: Vec<Part> = Part::all(step as u64, of).take(count).collect();
        let devices = 1 + self.helpers.len();
        // Equal but for one, and of a single part the first device's.
        let begin = |device: usize| (device * count).div_ceil(devices);
        let share = |device: usize| parts[begin(device)..begin(device + 1)].to_vec();
        let mut asked = Vec::new();
        for (index, helper) in self.helpers.iter().enumerate() {
            let share = Share {
                model: model.clone(),
                parts: share(index + 1),
                of: count,
            };
            if !share.parts.is_empty() && helper.shares.send(share).is_ok() {
                asked.push(index);
            }
        }
        let own = take(
            self.task,
            self.seed,
            self.interrupt,
            model,
            &share(0),
            count,
            &self.first,
        );
        // All of them are waited for, whatever one says.
        let found: Vec<_> = (asked.iter())
            .map(|index| self.helpers[*index].found.recv())
            .collect();
        let (mut accumulated, mut tokens) = own?;
        let plain = self.first.clone().inner();
        for (index, found) in asked.into_iter().zip(found) {
            let Ok(found) = found else {
                // Its thread panicked, and what it said is told here.
                match self.helpers.swap_remove(index).thread.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(()) => return None,
                }
            };
            let (found, read) = found?;
            accumulated.join(model, found, &plain);
            tokens += read;
        }
        Some((accumulated, tokens))
    }
}

/// The gradients of some parts, one after the other, of a step that has `of`.
fn take<T: Task>(
    task: &T,
    seed: u64,
    interrupt: Interrupt<'_>,
    model: &T::Model,
    parts: &[Part],
    of: usize,
    device: &Device,
) -> Found<T::Model> {
    let (mut accumulated, mut tokens) = (Accumulated::of(of), 0);
    for part in parts {
        if part.index > 0 && interrupt.is_asked() {
            // A step of many parts may take long; whoever goes on takes it whole.
            return None;
        }
        if let Some(dropout) = model.dropout_state() {
            // Masks are a function of the part, as the batch is.
            let part = part.number().wrapping_mul(0x2545_f491_4f6c_dd1d);
            dropout.seed(seed.wrapping_add(part));
        }
        if let Some(batch) = task.loss(model, *part, device) {
            tokens += batch.tokens;
            accumulated.add(model, batch);
        }
    }
    Some((accumulated, tokens))
}

//! What the training loop tells while it runs.

use bitnet_results::{Evaluation, NamedLayer, SamplePoint};

use crate::checkpoint::Checkpoint;
use crate::state::State;

/// What the loop tells while it runs.
pub trait Observer: Send {
    /// A logged step.
    fn step(&mut self, _progress: &Progress) {}
    /// An evaluation on the first `batches` batches of the validation split; with `None` on all of it.
    fn evaluation(&mut self, _step: usize, _evaluation: &Evaluation, _batches: Option<usize>) {}
    /// The whole validation split is scored from here on, of so many batches where that is known.
    fn scoring(&mut self, _batches: Option<usize>) {}
    /// The ternary layers at an evaluation.
    fn layers(&mut self, _step: usize, _layers: &[NamedLayer]) {}
    /// What the model writes at an evaluation.
    fn sample(&mut self, _sample: &SamplePoint) {}
    /// A checkpoint on disk.
    fn checkpoint(&mut self, _checkpoint: &Checkpoint) {}
    /// Something that whoever reads the results should know.
    fn note(&mut self, _text: &str) {}
}

/// Observes nothing.
impl Observer for () {}

/// A logged step.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps of the run.
    pub steps: usize,
    /// Training loss, the mean of the batches since it was last reported, nats per token.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Training throughput since the start, without evaluation.
    pub tokens_per_second: f64,
    /// Seconds left: the remaining steps at this rate, and the remaining evaluations at that of the last one, which are
    /// left out before one was made.
    pub eta_seconds: f64,
}

impl Progress {
    /// After a step, with the seconds of the evaluations to come.
    pub(crate) fn at(
        state: &State,
        steps: usize,
        loss: f64,
        learning_rate: f64,
        evaluations: f64,
    ) -> Self {
        let left = steps.saturating_sub(state.step) as f64;
        Self {
            step: state.step,
            steps,
            loss,
            learning_rate,
            tokens_per_second: state.tokens as f64 / state.seconds.max(1e-9),
            eta_seconds: left * state.seconds / state.step.max(1) as f64 + evaluations,
        }
    }
}

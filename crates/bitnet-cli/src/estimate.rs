//! What a training will take, told before it: a few steps are taken and timed, and what they take is multiplied. What looks
//! wrong with the settings is said with it.

use std::time::Instant;

use bitnet_config::{LinearKind, RunConfig, Task as Kind};
use bitnet_report::format;
use bitnet_train::{Interrupt, StepTimer, Task, TrainError, peak_rss_bytes, scored_batches};
use burn::module::Module;
use burn::tensor::Device;
use serde::Serialize;

/// What a training will take.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// `float` or `ternary`.
    pub linear: &'static str,
    pub parameters: usize,
    pub steps: usize,
    /// One line: what is learned from.
    pub data: String,
    /// Milliseconds of a step, the median of a few.
    pub step_ms: f64,
    /// Seconds of all steps and evaluations.
    pub seconds: f64,
    /// Of these, of the evaluations: before the first step, between the steps, and of the whole split at the end.
    pub evaluation_seconds: f64,
    /// Most memory of this process after these steps and an evaluation, with the data: what the training takes too.
    pub peak_rss_bytes: Option<u64>,
    /// Tokens, or examples, in all steps.
    pub tokens: usize,
    pub tokens_per_parameter: f64,
    /// How often the training split is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// What looks wrong.
    pub remarks: Vec<String>,
}

/// Steps that are timed, after one that is not, unless they take longer than this together.
const STEPS: usize = 5;
const LONGEST: f64 = 10.0;

impl Estimate {
    /// Takes a few steps and an evaluation of a fresh model.
    ///
    /// # Errors
    /// If the model cannot be built, or the device fails.
    pub fn measure<T: Task>(
        config: &RunConfig,
        task: &T,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let model = task.model(device)?;
        let parameters = model.num_params();
        let train = &config.train;
        // The first warms up.
        task.evaluate(&model, 1, device, Interrupt::NEVER)?;
        let begun = Instant::now();
        task.evaluate(&model, 1, device, Interrupt::NEVER)?;
        let batch_seconds = begun.elapsed().as_secs_f64();
        drop(model);
        let mut timer = StepTimer::new(config, task, device)?;
        let begun = Instant::now();
        let (mut times, mut ms);
        (timer, ms) = timer.time(1)?;
        times = vec![ms];
        while times.len() <= STEPS && begun.elapsed().as_secs_f64() < LONGEST {
            (timer, ms) = timer.time(1)?;
            times.push(ms);
        }
        if times.len() > 1 {
            // The first warms up.
            times.remove(0);
        }
        let step_ms = bitnet_results::statistics::median(&times);
        let step_seconds = 1e-3 * step_ms * train.steps as f64;
        let evaluation_seconds =
            batch_seconds * scored_batches(train, 0, task.validation_batches()) as f64;
        let tokens = timer.tokens_per_step() * train.steps;
        let epochs = task
            .training_size()
            .map(|all| tokens as f64 / all.max(1) as f64);
        let linear = match config.model.linear {
            LinearKind::Float => "float",
            LinearKind::Ternary => "ternary",
        };
        Ok(Self {
            linear,
            parameters,
            steps: train.steps,
            data: task.description(),
            step_ms,
            seconds: step_seconds + evaluation_seconds,
            evaluation_seconds,
            peak_rss_bytes: peak_rss_bytes(),
            tokens,
            tokens_per_parameter: tokens as f64 / parameters.max(1) as f64,
            epochs,
            remarks: remarks(config, task, epochs)
                .into_iter()
                .chain(much_scoring(step_seconds, evaluation_seconds))
                .collect(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let memory = match self.peak_rss_bytes {
            Some(bytes) => format!(", memory about {}", format::bytes(bytes)),
            None => String::new(),
        };
        let epochs = match self.epochs {
            Some(epochs) => format!(", the training split {epochs:.2} times"),
            None => String::new(),
        };
        let mut text = format!(
            "{}: {} parameters, {} steps of {:.1} ms: about {}{memory}\n  {:.2} tokens a parameter{epochs}",
            self.linear,
            format::integer(self.parameters as u64),
            format::integer(self.steps as u64),
            self.step_ms,
            format::seconds(self.seconds),
            self.tokens_per_parameter
        );
        for remark in &self.remarks {
            text += &format!("\n  looks wrong: {remark}");
        }
        text
    }
}

/// Scoring that takes most of the time is a split too large, where it is long.
fn much_scoring(steps: f64, evaluations: f64) -> Option<String> {
    (evaluations > steps.max(LONG)).then(|| {
        format!(
            "of {}, {} are evaluations: keep less of the data for validation, or evaluate less often",
            format::seconds(steps + evaluations),
            format::seconds(evaluations)
        )
    })
}

/// Seconds of evaluations that nobody minds.
const LONG: f64 = 60.0;
/// Learning rates of AdamW that are in use, of either twin.
const RATES: [(LinearKind, f64, f64); 2] = [
    (LinearKind::Float, 3e-5, 1e-2),
    (LinearKind::Ternary, 1e-4, 3e-2),
];
/// Fewer sightings of a piece than this, on average, teach little about it.
const SEEN: usize = 50;
/// A small text that is read more often is learned by heart.
const EPOCHS: f64 = 50.0;

fn remarks<T: Task>(config: &RunConfig, task: &T, epochs: Option<f64>) -> Vec<String> {
    let (train, linear) = (&config.train, config.model.linear);
    let optim = train.optim(linear);
    let mut remarks = Vec::new();
    for (_, low, high) in RATES.iter().filter(|(kind, ..)| *kind == linear) {
        let rate = optim.learning_rate;
        if !(*low..=*high).contains(&rate) {
            remarks.push(format!(
                "a learning rate of {rate:e}, where {low:e} to {high:e} is usual"
            ));
        }
    }
    if 2 * optim.warmup_steps > train.steps {
        remarks.push(format!(
            "{} of {} steps are warm-up (train.warmup_steps)",
            optim.warmup_steps, train.steps
        ));
    }
    if let (Some(all), Kind::Lm | Kind::Classify | Kind::Translate) =
        (task.training_size(), config.task)
    {
        let vocabulary = config.model.vocab_size;
        if vocabulary > 256 && all < SEEN * vocabulary {
            remarks.push(format!(
                "a vocabulary of {vocabulary} for {all} tokens of training: each is seen {} times on average; lower \
                 data.vocab_size, or --vocab-size of `bitnet data prepare`",
                all / vocabulary.max(1)
            ));
        }
    }
    if let Some(epochs) = epochs.filter(|epochs| *epochs > EPOCHS) {
        remarks.push(format!(
            "the training split is read {epochs:.0} times: watch the validation loss, or take fewer steps"
        ));
    }
    remarks.extend(task.remarks());
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_scoring_is_said_where_it_is_long() {
        assert_eq!(much_scoring(1.0, 30.0), None);
        assert_eq!(much_scoring(1000.0, 900.0), None);
        assert!(much_scoring(60.0, 900.0).unwrap().contains("15 min"));
    }
}

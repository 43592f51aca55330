//! Progress of a training run on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use bitnet_results::Evaluation;
use bitnet_train::{Checkpoint, Observer, Progress, RunDir};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Shows what a training run tells.
pub struct Display {
    label: String,
    bar: Option<ProgressBar>,
    quiet: bool,
    run: RunDir,
    /// When the next line is due off a terminal, whatever the step.
    due: Instant,
}

/// Time after which the first line is due off a terminal, and each one after it.
const FIRST: Duration = Duration::from_secs(3);
const LATER: Duration = Duration::from_secs(60);

impl Display {
    /// A display for a run of `steps` steps.
    pub fn new(label: &str, steps: usize, quiet: bool, run: &RunDir) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(steps as u64);
            if let Ok(style) = ProgressStyle::with_template(
                "{prefix:>8} {bar:30.cyan/dim} {pos}/{len} {msg} ETA {eta}",
            ) {
                bar.set_style(style);
            }
            bar.set_prefix(label.to_owned());
            bar
        });
        Self {
            label: label.to_owned(),
            bar,
            quiet,
            run: run.clone(),
            due: Instant::now() + FIRST,
        }
    }

    fn print(&mut self, text: String) {
        self.run.log(&text);
        match &self.bar {
            Some(bar) => bar.println(text),
            None if !self.quiet => output::say(text),
            None => {}
        }
    }
}

impl Observer for Display {
    fn step(&mut self, progress: &Progress) {
        let Progress {
            step,
            steps,
            loss,
            learning_rate,
            tokens_per_second,
            eta_seconds,
        } = *progress;
        match &self.bar {
            Some(bar) => {
                bar.set_position(step as u64);
                bar.set_message(format!("loss {loss:.4} {tokens_per_second:.0} tok/s"));
            }
            // Off a terminal: a line for each tenth of the run, soon a first one, and one a minute.
            None if step == steps
                || step % (steps / 10).max(1) == 0
                || Instant::now() >= self.due =>
            {
                self.due = Instant::now() + LATER;
                self.print(format!(
                    "{} {step}/{steps} loss {loss:.4} lr {learning_rate:.2e} {tokens_per_second:.0} tok/s ETA {eta_seconds:.0} s",
                    self.label
                ));
            }
            None => {}
        }
    }

    fn evaluation(&mut self, step: usize, evaluation: &Evaluation, batches: Option<usize>) {
        let split = match batches {
            Some(batches) => format!("validation, first {batches} batches"),
            None => "validation, whole split".to_owned(),
        };
        let mut text = format!("{} {step} {split}: loss {:.4}", self.label, evaluation.loss);
        for (name, value) in [
            ("perplexity", evaluation.perplexity),
            ("accuracy", evaluation.accuracy),
        ] {
            if let Some(value) = value {
                text += &format!(" {name} {value:.3}");
            }
        }
        self.print(text);
    }

    /// Shown even when nothing else is: results depend on it.
    fn note(&mut self, text: &str) {
        let text = format!("{} note: {text}", self.label);
        match &self.bar {
            None if self.quiet => {
                self.run.log(&text);
                output::say(text);
            }
            _ => self.print(text),
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        if self.bar.is_none() {
            self.print(format!(
                "{} saved {}",
                self.label,
                checkpoint.path().display()
            ));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

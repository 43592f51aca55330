//! Progress of a training run on stderr: a picture or a bar on a terminal, plain lines elsewhere; and in event files.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use bitnet_results::{Curves, Evaluation, NamedLayer, SamplePoint};
use bitnet_train::{Checkpoint, Observer, Progress, RunDir};

use crate::output;
use crate::tensorboard::EventFile;
use crate::tui::Tui;

/// Shows what a training run tells.
pub struct Display {
    label: String,
    tui: Option<Tui>,
    events: Option<EventFile>,
    quiet: bool,
    run: RunDir,
    /// When the next line is due off a terminal, whatever the step.
    due: Instant,
    /// Whether the picture has what an earlier process left.
    looked_back: bool,
}

/// Time after which the first line is due off a terminal, and each one after it.
const FIRST: Duration = Duration::from_secs(3);
const LATER: Duration = Duration::from_secs(60);
/// Batches that are scored before anybody wonders.
const FEW: usize = 64;

/// How a run is shown.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Not at all.
    pub quiet: bool,
    /// In lines, also on a terminal.
    pub lines: bool,
    /// In TensorBoard's event files besides.
    pub tensorboard: bool,
}

impl Display {
    /// A display for a run.
    ///
    /// # Errors
    /// If an event file is asked for and cannot be made.
    pub fn new(label: &str, how: How, run: &RunDir) -> std::io::Result<Self> {
        let draws = !how.quiet && !how.lines && std::io::stderr().is_terminal();
        Ok(Self {
            events: match how.tensorboard {
                true => Some(EventFile::create(run.path())?),
                false => None,
            },
            tui: match draws {
                true => Tui::open(label, run.path().display().to_string()),
                false => None,
            },
            label: label.to_owned(),
            quiet: how.quiet,
            run: run.clone(),
            due: Instant::now() + FIRST,
            looked_back: false,
        })
    }

    /// Says something; on a picture for as long as it stands, unless it is to be kept.
    fn print(&mut self, text: String, keep: bool) {
        self.run.log(&text);
        match &mut self.tui {
            Some(tui) => tui.message(text, keep),
            None if !self.quiet => output::say(text),
            None => {}
        }
    }

    /// Adds a number to the event file. The numbers stand in metrics.jsonl too: a run goes on without.
    fn event(&mut self, tag: &str, step: usize, value: Option<f64>) {
        if let (Some(events), Some(value)) = (&mut self.events, value) {
            let _ = events.scalar(tag, step, value);
        }
    }
}

/// Before a picture's first point: a resumed run shows its earlier curve; if that cannot be read, the picture begins here.
fn look_back(tui: &mut Tui, done: &mut bool, run: &RunDir, step: usize) {
    if !std::mem::replace(done, true)
        && let Ok(curves) = Curves::read_growing(&run.metrics_path())
    {
        tui.earlier(&curves, step);
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
        self.event("loss/training", step, Some(loss));
        self.event("learning_rate", step, Some(learning_rate));
        self.event("tokens_per_second", step, Some(tokens_per_second));
        match &mut self.tui {
            Some(tui) => {
                look_back(tui, &mut self.looked_back, &self.run, step);
                tui.step(progress);
            }
            // Off a terminal: a line for each tenth of the run, soon a first one, and one a minute.
            None if step == steps
                || step % (steps / 10).max(1) == 0
                || Instant::now() >= self.due =>
            {
                self.due = Instant::now() + LATER;
                let text = format!(
                    "{} {step}/{steps} loss {loss:.4} lr {learning_rate:.2e} {tokens_per_second:.0} tok/s ETA {eta_seconds:.0} s",
                    self.label
                );
                self.print(text, false);
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
        let tag = match batches {
            Some(_) => "validation",
            None => "validation_whole_split",
        };
        self.event(&format!("loss/{tag}"), step, Some(evaluation.loss));
        self.event(&format!("accuracy/{tag}"), step, evaluation.accuracy);
        self.event(
            &format!("bits_per_byte/{tag}"),
            step,
            evaluation.bits_per_byte,
        );
        match &mut self.tui {
            Some(tui) => {
                look_back(tui, &mut self.looked_back, &self.run, step);
                self.run.log(&text);
                tui.evaluation(step, evaluation, batches.is_some(), text);
            }
            None => self.print(text, false),
        }
    }

    fn scoring(&mut self, batches: Option<usize>) {
        if let Some(batches) = batches.filter(|batches| *batches > FEW) {
            let text = format!(
                "{} scoring the whole validation split, {batches} batches",
                self.label
            );
            self.print(text, false);
        }
    }

    fn layers(&mut self, step: usize, layers: &[NamedLayer]) {
        for layer in layers {
            self.event(
                &format!("zeros/{}", layer.layer),
                step,
                Some(layer.health.zeros),
            );
            self.event(&format!("flips/{}", layer.layer), step, layer.health.flips);
        }
        if let Some(tui) = &mut self.tui {
            tui.layers(layers);
        }
    }

    fn sample(&mut self, sample: &SamplePoint) {
        if let Some(events) = &mut self.events {
            let text = format!("{}{}", sample.prompt, sample.text);
            let _ = events.text("sample", sample.step as usize, &text);
        }
        if let Some(tui) = &mut self.tui {
            tui.sample(sample);
        }
    }

    /// Shown even when nothing else is: results depend on it.
    fn note(&mut self, text: &str) {
        let text = format!("{} note: {text}", self.label);
        match &self.tui {
            None if self.quiet => {
                self.run.log(&text);
                output::say(text);
            }
            _ => self.print(text, true),
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let text = format!("{} saved {}", self.label, checkpoint.path().display());
        self.print(text, false);
    }
}

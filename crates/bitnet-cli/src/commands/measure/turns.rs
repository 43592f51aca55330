//! Speeds of several runs, timed in turns.
//!
//! Every run has a thread that holds its model and waits; in each turn one after the other is asked to time itself,
//! alternating forwards and backwards. So a moment of other work on the machine meets neighbours in one turn, not one
//! model in all of its timings. A first turn warms up and does not count.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_load::Checkpoint;
use bitnet_models::{EngineRunner, Runner, Transformer};
use bitnet_results::{Speed, Turns};
use bitnet_train::{
    LanguageModel, RunDir, StepTimer, Task, TrainError, load_exported, time_inference,
};
use burn::tensor::Device;

use super::formats;
use super::text::timing_prompt;
use crate::args::MeasureArgs;
use crate::{contention, corpus, engine, machine, task};

/// What is timed is repeated until this has passed: much longer than a tick of the scheduler.
const SHORTEST: Duration = Duration::from_millis(50);
/// Training steps timed in a turn.
const STEPS: usize = 2;

/// Times the runs of the command line.
pub fn measure(args: &MeasureArgs, device: &Device) -> anyhow::Result<Turns> {
    crate::allocator::keep_freed_memory();
    let first = args.runs.first().context("no run to measure")?;
    let rounds = run_of(first)?.config()?.compare.repetitions;
    std::thread::scope(|scope| {
        let mut models = Vec::new();
        for path in &args.runs {
            let (ask, asked) = channel();
            let (answer, answers) = channel();
            let turns = Asked { asked, answer };
            scope.spawn(move || {
                let failed = turns.answer.clone();
                if let Err(error) = hold(path, args, device, turns) {
                    let _ = failed.send(Err(error));
                }
            });
            models.push((ask, answers));
        }
        let mut speeds = vec![Speed::default(); models.len()];
        let turn = |at: usize| -> anyhow::Result<Turn> {
            let (ask, answers) = &models[at];
            // A thread that has ended has said why.
            let _ = ask.send(());
            answers
                .recv()
                .map_err(|_| anyhow!("{} ended without an answer", args.runs[at].display()))?
        };
        for at in 0..models.len() {
            turn(at)?;
        }
        let waiting = contention::Waiting::start();
        for round in 0..rounds {
            for i in 0..models.len() {
                let at = if round % 2 == 0 {
                    i
                } else {
                    models.len() - 1 - i
                };
                turn(at)?.add_to(&mut speeds[at]);
            }
        }
        Ok(Turns {
            speeds,
            waited: waiting.share(),
            machine: Some(machine::this()),
        })
    })
}

/// The timings of one model in one turn.
#[derive(Default)]
struct Turn {
    prefill_tps: Option<f64>,
    decode_tps: Option<f64>,
    latency_ms: Option<f64>,
    step_ms: Option<f64>,
}

impl Turn {
    fn add_to(self, speed: &mut Speed) {
        speed.prefill_tps.extend(self.prefill_tps);
        speed.decode_tps.extend(self.decode_tps);
        speed.latency_ms.extend(self.latency_ms);
        speed.step_ms.extend(self.step_ms);
    }
}

/// The other end of a thread that holds a model.
struct Asked {
    asked: Receiver<()>,
    answer: Sender<anyhow::Result<Turn>>,
}

impl Asked {
    fn serve(self, mut turn: impl FnMut() -> anyhow::Result<Turn>) {
        for () in self.asked {
            if self.answer.send(turn()).is_err() {
                break;
            }
        }
    }
}

/// Holds the model of one run, and times it whenever asked.
fn hold(path: &Path, args: &MeasureArgs, device: &Device, turns: Asked) -> anyhow::Result<()> {
    let run = run_of(path)?;
    let mut config = run.config()?;
    if path.is_file() {
        let engine = formats::open(&Checkpoint::open(path)?, &args.engine, &args.device)?;
        return generate(&mut EngineRunner::new(engine), &config, turns, || Ok(None));
    }
    if config.task != Kind::Lm || config.train.init_from.is_some() {
        let model = Model {
            run: &run,
            device,
            steps: args.steps,
            turns,
        };
        return task::open(&mut config, Some(&run), model);
    }
    let corpus = corpus::load(&mut config, run.known_tokenizer()?)?;
    let task = LanguageModel::new(&config, &corpus)?;
    let model: Transformer = load_exported(&run, device)?;
    let mut runner = engine::runner(&model, device, &args.device, &args.engine)?;
    let mut steps = steps(args.steps, &config, &task, device)?;
    generate(&mut *runner, &config, turns, || time_steps(&mut steps))
}

/// The run of a path: itself, or that whose model a file in its folder holds.
fn run_of(path: &Path) -> anyhow::Result<RunDir> {
    let run = match path.is_file() {
        true => path.ancestors().nth(2).unwrap_or(path),
        false => path,
    };
    Ok(RunDir::open(run)?)
}

/// Times reading and writing, and a training step where there is one, whenever asked.
fn generate(
    runner: &mut dyn Runner,
    config: &RunConfig,
    turns: Asked,
    mut step: impl FnMut() -> Result<Option<f64>, TrainError>,
) -> anyhow::Result<()> {
    let (prompt, decode) = (timing_prompt(config), config.compare.decode_tokens);
    turns.serve(|| {
        let (mut prefill, mut decoded) = (0.0, 0.0);
        let (mut times, begin) = (0, Instant::now());
        while times == 0 || begin.elapsed() < 2 * SHORTEST {
            let (prefill_tps, decode_tps) = time_inference(&mut *runner, &prompt, decode)?;
            // Rates of equal amounts: their harmonic mean is the rate of all.
            prefill += 1.0 / prefill_tps;
            decoded += 1.0 / decode_tps;
            times += 1;
        }
        Ok(Turn {
            prefill_tps: Some(f64::from(times) / prefill),
            decode_tps: Some(f64::from(times) / decoded),
            latency_ms: None,
            step_ms: step()?,
        })
    });
    Ok(())
}

struct Model<'a> {
    run: &'a RunDir,
    device: &'a Device,
    steps: bool,
    turns: Asked,
}

impl task::Visitor for Model<'_> {
    type Output = ();

    fn visit<T: Task>(self, config: &RunConfig, task: &T) -> anyhow::Result<()> {
        let Self {
            run,
            device,
            steps: with_steps,
            turns,
        } = self;
        let model: T::Model = load_exported(run, device)?;
        let mut steps = steps(with_steps, config, task, device)?;
        let mut answerer = task.answerer(&model, device)?;
        turns.serve(|| {
            let (mut times, begin) = (0, Instant::now());
            while times == 0 || begin.elapsed() < SHORTEST {
                (answerer.answer)()?;
                times += 1;
            }
            Ok(Turn {
                latency_ms: Some(1e3 * begin.elapsed().as_secs_f64() / f64::from(times)),
                step_ms: time_steps(&mut steps)?,
                ..Turn::default()
            })
        });
        Ok(())
    }
}

fn steps<'a, T: Task>(
    wanted: bool,
    config: &'a RunConfig,
    task: &'a T,
    device: &Device,
) -> Result<Option<StepTimer<'a, T>>, TrainError> {
    wanted
        .then(|| StepTimer::new(config, task, device))
        .transpose()
}

/// Milliseconds of a step, timed on a thread of the pool as in training.
fn time_steps<T: Task>(timer: &mut Option<StepTimer<'_, T>>) -> Result<Option<f64>, TrainError> {
    let Some(steps) = timer.take() else {
        return Ok(None);
    };
    let (steps, ms) = rayon::scope(|_| steps.time(STEPS))?;
    *timer = Some(steps);
    Ok(Some(ms))
}

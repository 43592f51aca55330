//! What of an experiment is to be done next, in parts that do not depend on each other, and who does them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bitnet_results::{Turns, load_json, save_json};
use serde::{Deserialize, Serialize};

use crate::{Answer, ExperimentError, PlannedRun, Worker};

/// What is to be done next. Saved as a file it is what the tasks of a scheduler are told: each does the part of its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Runs to train and to measure.
    Runs(Vec<Piece>),
    /// Finished runs to be timed in turns, which is one part.
    Turns(Timing),
}

/// A run of [`Work`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piece {
    /// Which it is, counted from 0, of how many, those included that were done before.
    pub place: (usize, usize),
    /// The run.
    #[serde(flatten)]
    pub run: PlannedRun,
}

/// Speeds to be measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// The runs, and files of their models in other formats.
    pub runs: Vec<PathBuf>,
    /// Where the result goes.
    pub file: PathBuf,
}

/// `turns.json`.
#[derive(Serialize, Deserialize)]
struct Timed {
    runs: Vec<PathBuf>,
    turns: Turns,
}

impl Timing {
    /// The speeds of these runs, from before.
    pub(crate) fn known(&self) -> Option<Turns> {
        let known: Timed = load_json(&self.file).ok()?;
        (known.runs == self.runs).then_some(known.turns)
    }
}

impl Work {
    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If it cannot be read or is something else.
    pub fn load(path: &Path) -> Result<Self, ExperimentError> {
        Ok(load_json(path)?)
    }

    /// Writes a file for those who do the parts.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ExperimentError> {
        Ok(save_json(self, path)?)
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        match self {
            Self::Runs(pieces) => pieces.len(),
            Self::Turns(_) => 1,
        }
    }

    /// What a part is called.
    pub fn name(&self, part: usize) -> &str {
        match self {
            Self::Runs(pieces) => pieces.get(part).map_or("", |piece| &piece.run.name),
            Self::Turns(_) => "the timings",
        }
    }

    /// Whether a part has its result.
    pub fn is_finished(&self, part: usize) -> bool {
        match self {
            Self::Runs(pieces) => pieces.get(part).is_none_or(|piece| piece.run.is_finished()),
            Self::Turns(timing) => timing.known().is_some(),
        }
    }

    /// Steps that a part has saved.
    pub fn step(&self, part: usize) -> usize {
        match self {
            Self::Runs(pieces) => pieces.get(part).map_or(0, |piece| piece.run.step()),
            Self::Turns(_) => 0,
        }
    }

    /// The parts without a result, at most so many; `None` where each has one.
    pub fn rest(&self, most: usize) -> Option<Self> {
        match self {
            Self::Runs(pieces) => {
                let missing = pieces.iter().filter(|piece| !piece.run.is_finished());
                let missing: Vec<Piece> = missing.take(most).cloned().collect();
                (!missing.is_empty()).then_some(Self::Runs(missing))
            }
            Self::Turns(_) => (!self.is_finished(0)).then(|| self.clone()),
        }
    }

    /// The first result that is not there.
    pub(crate) fn missing(&self) -> Option<PathBuf> {
        match self.rest(1)? {
            Self::Runs(pieces) => pieces.first().and_then(|piece| piece.run.missing()),
            Self::Turns(timing) => Some(timing.file),
        }
    }

    /// Writes what the parts are told.
    pub(crate) fn prepare(&self) -> Result<(), ExperimentError> {
        match self {
            Self::Runs(pieces) => pieces.iter().try_for_each(|piece| piece.run.prepare()),
            Self::Turns(_) => Ok(()),
        }
    }

    /// Does one part of the work in a file; `None` if it was interrupted.
    ///
    /// # Errors
    /// If the file or the settings of the run cannot be read, there is no such part, or the worker says so.
    pub fn do_part(
        path: &Path,
        index: usize,
        worker: &dyn Worker,
    ) -> Result<Option<()>, ExperimentError> {
        let mut work = Self::load(path)?;
        if let Self::Runs(pieces) = &mut work
            && let Some(piece) = pieces.get_mut(index)
        {
            piece.run.read_config()?;
        }
        match work.parts() {
            parts if index < parts => work.part(index, worker),
            parts => Err(ExperimentError::Part {
                path: path.to_owned(),
                index,
                parts,
            }),
        }
    }

    fn part(&self, index: usize, worker: &dyn Worker) -> Result<Option<()>, ExperimentError> {
        match self {
            Self::Runs(pieces) => pieces[index].run.finish(pieces[index].place, worker),
            Self::Turns(timing) => {
                let turns = worker
                    .turns(&timing.runs)
                    .map_err(ExperimentError::Worker)?;
                let Some(turns) = turns else { return Ok(None) };
                let runs = timing.runs.clone();
                save_json(&Timed { runs, turns }, &timing.file)?;
                Ok(Some(()))
            }
        }
    }
}

/// Has work done, wherever that is.
pub trait Executor {
    /// Does all parts that have no result. Answers `None` where it was interrupted.
    ///
    /// # Errors
    /// Whatever keeps a part from being done.
    fn execute(&self, work: &Work) -> Answer<()>;
}

/// Does work here, some parts at a time, in order.
pub struct Threads<'a> {
    /// Who trains and measures.
    pub worker: &'a dyn Worker,
    /// Parts at a time.
    pub jobs: usize,
    /// Becomes true when nothing new should begin.
    pub interrupted: &'a AtomicBool,
}

impl Executor for Threads<'_> {
    fn execute(&self, work: &Work) -> Answer<()> {
        type Slot = Mutex<Option<Result<Option<()>, ExperimentError>>>;
        let next = AtomicUsize::new(0);
        let results: Vec<Slot> = (0..work.parts()).map(|_| Mutex::new(None)).collect();
        let take = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = results.get(index) else {
                    break;
                };
                if self.interrupted.load(Ordering::Relaxed) {
                    break;
                }
                let result = work.part(index, self.worker);
                if result.is_err() {
                    // The others finish what they began; nothing new begins.
                    next.store(results.len(), Ordering::Relaxed);
                }
                if let Ok(mut slot) = slot.lock() {
                    *slot = Some(result);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(take);
            }
        });
        let mut complete = true;
        for result in results {
            let done = result.into_inner().ok().flatten().transpose();
            complete &= done?.flatten().is_some();
        }
        Ok(complete.then_some(()))
    }
}

//! Work of an experiment as jobs of Slurm: a task of an array for each run, a job of its own for the speeds.
//!
//! Slurm's commands do it, and a folder that the nodes share: `sbatch` takes the array, `scontrol` tells how its tasks are,
//! and `sacct` does where the controller has forgotten them. What a task has done lies in the folder of its run; how it
//! ended only decides whether it is started again. What was submitted stands in `slurm/submitted.json` among the runs, so
//! that a second start of the command watches the job instead of submitting it again.

mod job;
mod submit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bitnet_config::ExecutorConfig;
use bitnet_experiment::{Answer, Executor, Work};

use self::job::{End, State};
use self::submit::Submitted;
use crate::args::DeviceArgs;
use crate::output;

/// Tasks of one array; `MaxArraySize` is 1001 where nobody has changed it.
const MOST: usize = 1000;
/// Between two looks at a job, which grows while nothing happens: the controller serves everybody.
const SHORTEST: Duration = Duration::from_millis(500);
/// Its longest.
const LONGEST: Duration = Duration::from_secs(10);
/// A network file system shows a new file after up to so long.
const VISIBLE: Duration = Duration::from_secs(60);

/// Has Slurm do the work.
pub struct Slurm<'a> {
    /// What each run gets.
    pub settings: &'a ExecutorConfig,
    /// Name of the experiment.
    pub name: &'a str,
    /// Folder of its runs.
    pub runs: &'a Path,
    /// What the nodes compute on.
    pub device: &'a DeviceArgs,
    /// Says nothing.
    pub quiet: bool,
    /// Becomes true when nobody wants to watch any more.
    pub interrupted: &'a AtomicBool,
}

impl Executor for Slurm<'_> {
    fn execute(&self, work: &Work) -> Answer<()> {
        Ok(self.run(work)?)
    }
}

/// How often a part was started again without coming further, and how far it had come.
type Tries = BTreeMap<String, (usize, u32)>;

impl Slurm<'_> {
    fn run(&self, work: &Work) -> anyhow::Result<Option<()>> {
        let folder = self.runs.join("slurm");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut tries = Tries::new();
        loop {
            let submitted = match Submitted::find(&folder)? {
                Some(known) => {
                    self.say(format_args!("job {} was submitted before", known.job));
                    known
                }
                None => match work.rest(MOST) {
                    None => return Ok(Some(())),
                    Some(rest) => {
                        let submitted = submit::submit(self, &rest, &folder)?;
                        let what = match &rest {
                            Work::Runs(runs) => format!("{} runs", runs.len()),
                            Work::Turns(timing) => format!("timing {} models", timing.runs.len()),
                        };
                        self.say(format_args!("job {}: {what}", submitted.job));
                        submitted
                    }
                },
            };
            let part = Work::load(&submitted.work)?;
            let Some(ends) = self.watch(&submitted, &part)? else {
                self.say(format_args!(
                    "job {} goes on, and the same command watches it again; to end it: scancel {0}",
                    submitted.job
                ));
                return Ok(None);
            };
            submit::forget(&folder)?;
            self.judge(&submitted, &part, &ends, &mut tries)?;
        }
    }

    /// How the tasks of a job ended; `None` if nobody wants to wait.
    fn watch(&self, submitted: &Submitted, work: &Work) -> anyhow::Result<Option<Vec<End>>> {
        let mut states = vec![State::Waiting(String::new()); work.parts()];
        let (mut pause, mut said, mut out_of_reach) = (SHORTEST, String::new(), false);
        let mut nothing_new = false;
        loop {
            match job::query(&submitted.job) {
                Ok(Some(found)) => {
                    for (tasks, state) in &found {
                        tasks.iter().for_each(|task| {
                            if let Some(known) = states.get_mut(*task) {
                                *known = state.clone();
                            }
                        });
                    }
                    // What is told of no task is told of those that never began.
                    if let Some((_, end)) = found.iter().find(|(tasks, _)| tasks.is_empty()) {
                        let waiting = states.iter_mut().filter(|state| state.waits());
                        waiting.for_each(|state| *state = end.clone());
                    }
                    out_of_reach = false;
                }
                Ok(None) => {
                    for state in &mut states {
                        if !matches!(state, State::Ended(_)) {
                            *state = State::Ended(End::forgotten());
                        }
                    }
                }
                // The controller may be starting again; the job does not need it.
                Err(error) => {
                    if !out_of_reach {
                        self.say(format_args!("{error:#}; asking again"));
                    }
                    out_of_reach = true;
                }
            }
            let line = summary(&states);
            if line != said {
                self.say(format_args!("job {}: {line}", submitted.job));
                (said, pause) = (line, SHORTEST);
            }
            let ends: Vec<&End> = states.iter().filter_map(State::end).collect();
            if ends.len() == states.len() {
                return Ok(Some(ends.into_iter().cloned().collect()));
            }
            let failed = |(part, state): (usize, &State)| {
                state.end().is_some_and(|end| end.is_final()) && !work.is_finished(part)
            };
            if !nothing_new && states.iter().enumerate().any(failed) {
                // The others finish what they began; nothing new begins.
                job::cancel_waiting(&submitted.job)?;
                self.say("a run failed; those that run end first");
                nothing_new = true;
            }
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if self.interrupted.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            pause = (pause * 3 / 2).min(LONGEST);
        }
    }

    /// What the ends of a job's tasks mean: those without a result are started again, or one of them is an error.
    fn judge(
        &self,
        submitted: &Submitted,
        work: &Work,
        ends: &[End],
        tries: &mut Tries,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        // A failure says more than those that were cancelled for it.
        let mut order: Vec<(usize, &End)> = ends.iter().enumerate().collect();
        order.sort_by_key(|(_, end)| end.was_cancelled());
        for (part, end) in order {
            while end.is_success() && !work.is_finished(part) && begun.elapsed() < VISIBLE {
                std::thread::sleep(Duration::from_millis(200));
            }
            if work.is_finished(part) {
                continue;
            }
            let name = work.name(part);
            let log = submitted.log(work, part);
            if end.is_success() {
                bail!(
                    "Slurm has done {name}, and its result is not here; is {} the same folder on the nodes?",
                    self.runs.display()
                );
            }
            if end.is_final() {
                bail!("{name}: {}", end.problem(&log));
            }
            let step = work.step(part);
            let (furthest, times) = tries.entry(name.to_owned()).or_default();
            if step > *furthest {
                (*furthest, *times) = (step, 0);
            }
            *times += 1;
            if *times > self.settings.retries {
                bail!(
                    "{name} was started {times} times and came no further than step {furthest}; the last time {end}; see {} \
                     (executor.retries, executor.time)",
                    log.display()
                );
            }
            self.say(format_args!("{name}: {end}; it goes on from step {step}"));
        }
        Ok(())
    }

    fn say(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            output::say(text);
        }
    }
}

/// How many tasks are done, run and wait.
fn summary(states: &[State]) -> String {
    let count = |of: fn(&State) -> bool| states.iter().filter(|state| of(state)).count();
    let ended = count(|state| matches!(state, State::Ended(_)));
    let running = count(|state| matches!(state, State::Running));
    let waiting = states.len() - ended - running;
    let reason = states.iter().find_map(|state| match state {
        State::Waiting(reason) if !["", "None"].contains(&reason.as_str()) => Some(reason),
        _ => None,
    });
    let why = reason.map_or(String::new(), |reason| format!(" ({reason})"));
    match waiting {
        0 => format!("{ended} of {} ended, {running} run", states.len()),
        _ => format!(
            "{ended} of {} ended, {running} run, {waiting} wait{why}",
            states.len()
        ),
    }
}

/// The last error of a log.
fn last_error(log: &PathBuf) -> Option<String> {
    let text = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().rev().find_map(|line| {
        let at = line.find("error: ")?;
        // Slurm's own are those of what ended, not of why.
        let own = line.starts_with("srun:") || line.starts_with("slurmstepd");
        (!own).then(|| line[at + "error: ".len()..].to_owned())
    })
}

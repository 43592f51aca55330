//! How the tasks of a job are, as `scontrol` or `sacct` tells.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use super::last_error;

/// A task of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not begun, and why.
    Waiting(String),
    /// It runs, or ends at this moment.
    Running,
    /// It ended.
    Ended(End),
}

impl State {
    /// Whether it has not begun.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// How it ended.
    pub fn end(&self) -> Option<&End> {
        match self {
            Self::Ended(end) => Some(end),
            _ => None,
        }
    }
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Slurm's word.
    state: String,
    code: u32,
    signal: u32,
}

/// Ends that are not the run's own fault: a node was lost or wanted for something else, or the time was too short for all of
/// it.
const GO_ON: [&str; 7] = [
    "NODE_FAIL",
    "PREEMPTED",
    "BOOT_FAIL",
    "TIMEOUT",
    "REQUEUED",
    "REVOKED",
    FORGOTTEN,
];
/// Slurm's number for none.
const NO_TASK: usize = 4_294_967_294;
/// What nobody knows of any more.
const FORGOTTEN: &str = "forgotten";

impl End {
    /// Of a task that neither the controller nor the accounting knows.
    pub fn forgotten() -> Self {
        Self {
            state: FORGOTTEN.to_owned(),
            code: 0,
            signal: 0,
        }
    }

    pub fn is_success(&self) -> bool {
        self.state == "COMPLETED"
    }

    pub fn was_cancelled(&self) -> bool {
        self.state == "CANCELLED"
    }

    /// Whether starting it again would not help.
    pub fn is_final(&self) -> bool {
        // A shell tells of a signal by a code above 128; 130 is a run that was told to save and end.
        let stopped = self.state == "FAILED" && (self.signal > 0 || self.code > 128);
        !(self.is_success() || stopped || GO_ON.contains(&self.state.as_str()))
    }

    /// What is to be done about an end that is final.
    pub fn problem(&self, log: &PathBuf) -> String {
        match self.state.as_str() {
            "CANCELLED" => {
                "was cancelled; the same command goes on with what is missing".to_owned()
            }
            "OUT_OF_MEMORY" => "took more memory than it had; raise executor.memory".to_owned(),
            "DEADLINE" => "had a deadline that passed; see executor.arguments".to_owned(),
            _ => {
                let said = last_error(log).map_or(String::new(), |said| format!(": {said}"));
                format!("{self}{said} ({})", log.display())
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.state.as_str(), self.code, self.signal) {
            ("NODE_FAIL", ..) => f.write_str("its node failed"),
            ("BOOT_FAIL", ..) => f.write_str("its node did not start"),
            ("PREEMPTED", ..) => f.write_str("its node was wanted by another job"),
            ("TIMEOUT", ..) => f.write_str("its time was up"),
            (FORGOTTEN, ..) => f.write_str("Slurm does not know how it ended"),
            ("FAILED", 130, _) => f.write_str("it was told to save and end"),
            ("FAILED", _, signal @ 1..) => write!(f, "it was killed by signal {signal}"),
            ("FAILED", code @ 129.., _) => write!(f, "it was killed by signal {}", code - 128),
            ("FAILED", code, _) => write!(f, "it failed with exit code {code}"),
            (state, ..) => write!(f, "it ended as {state}"),
        }
    }
}

/// Some tasks of an array, or none where it is about those that never began, and how they are.
type Told = (Vec<usize>, State);

/// The tasks of a job that have something to tell; `None` if nobody knows the job any more.
///
/// # Errors
/// If Slurm cannot be asked.
pub fn query(job: &str) -> anyhow::Result<Option<Vec<Told>>> {
    match slurm("scontrol", &["--oneliner", "show", "job", job]) {
        Ok(text) => Ok(Some(text.lines().flat_map(shown).collect())),
        Err(error) if format!("{error:#}").contains("Invalid job id") => {
            let ask = ["-n", "-P", "-X", "-j", job, "-o", "JobID,State,ExitCode"];
            // Without accounting it only fails.
            let text = slurm("sacct", &ask).unwrap_or_default();
            let found: Vec<_> = text.lines().flat_map(accounted).collect();
            let over = found
                .iter()
                .filter(|(_, state)| matches!(state, State::Ended(_)));
            let over: Vec<Told> = over.cloned().collect();
            Ok((!over.is_empty()).then_some(over))
        }
        Err(error) => Err(error),
    }
}

/// Ends those tasks that have not begun.
pub fn cancel_waiting(job: &str) -> anyhow::Result<()> {
    slurm("scancel", &["--state=PENDING", job]).map(drop)
}

/// Runs one of Slurm's commands.
///
/// # Errors
/// If it is not there, or what it says where it fails.
pub fn slurm(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(args)
        // Lists of tasks are cut to 64 characters otherwise.
        .env("SLURM_BITSTR_LEN", "0")
        .output()
        .with_context(|| {
            format!("{program} does not start: --executor slurm needs Slurm's commands")
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A line of `scontrol --oneliner show job`.
fn shown(line: &str) -> Option<Told> {
    let field = |name: &str| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let state = state_of(
        field("JobState")?,
        field("ExitCode").unwrap_or(""),
        field("Reason").unwrap_or(""),
    );
    Some((field("ArrayTaskId").map_or(vec![0], indices), state))
}

/// A line of `sacct -P -X -o JobID,State,ExitCode`.
fn accounted(line: &str) -> Option<Told> {
    let [id, state, code] = line.split('|').collect::<Vec<_>>()[..] else {
        return None;
    };
    let tasks = match id.split_once('_') {
        Some((_, tasks)) => indices(tasks.trim_matches(['[', ']'])),
        None => vec![0],
    };
    // `CANCELLED by 1000`
    let state = state_of(state.split(' ').next().unwrap_or_default(), code, "");
    Some((tasks, state))
}

/// `0`, `2-5`, `1,3-7:2%4`: the tasks, whatever may run of them at a time. A cancelled array tells of those that never began
/// by a number that no task has.
fn indices(text: &str) -> Vec<usize> {
    let tasks = text.split('%').next().unwrap_or_default();
    let mut found = Vec::new();
    for part in tasks.split(',') {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last), Ok(step @ 1..)) =
            (first.parse::<usize>(), last.parse(), step.parse())
        {
            found.extend((first..=last).step_by(step));
        }
    }
    found.retain(|task| *task != NO_TASK);
    found
}

fn state_of(state: &str, code: &str, reason: &str) -> State {
    match state {
        "PENDING" | "REQUEUE_HOLD" | "SPECIAL_EXIT" | "REQUEUE_FED" => {
            State::Waiting(reason.to_owned())
        }
        "RUNNING" | "COMPLETING" | "CONFIGURING" | "SUSPENDED" | "STOPPED" | "RESIZING"
        | "SIGNALING" | "STAGE_OUT" => State::Running,
        state => {
            let (code, signal) = code.split_once(':').unwrap_or((code, ""));
            State::Ended(End {
                state: state.to_owned(),
                code: code.parse().unwrap_or(0),
                signal: signal.parse().unwrap_or(0),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(state: &str, code: u32, signal: u32) -> End {
        let state = state.to_owned();
        End {
            state,
            code,
            signal,
        }
    }

    #[test]
    fn tasks_are_read_from_both_commands() {
        let line = "JobId=9 ArrayJobId=7 ArrayTaskId=2-3,6%2 JobName=a JobState=PENDING Reason=Resources \
                    DerivedExitCode=1:0 ExitCode=0:0";
        let waiting = State::Waiting("Resources".to_owned());
        assert_eq!(shown(line), Some((vec![2, 3, 6], waiting)));
        let line = "JobId=9 JobName=a JobState=FAILED Reason=NonZeroExitCode ExitCode=2:0";
        assert_eq!(
            shown(line),
            Some((vec![0], State::Ended(ended("FAILED", 2, 0))))
        );
        let (tasks, state) = shown("JobId=9 JobState=COMPLETING").unwrap();
        assert_eq!((tasks, state), (vec![0], State::Running));
        let line =
            "JobId=9 ArrayTaskId=4294967294 JobState=CANCELLED Reason=Resources ExitCode=0:0";
        assert_eq!(
            shown(line),
            Some((vec![], State::Ended(ended("CANCELLED", 0, 0))))
        );
        assert_eq!(shown("No jobs in the system"), None);
        let cancelled = State::Ended(ended("CANCELLED", 0, 15));
        assert_eq!(
            accounted("7_[1-5:2]|CANCELLED by 0|0:15"),
            Some((vec![1, 3, 5], cancelled))
        );
        let completed = State::Ended(ended("COMPLETED", 0, 0));
        assert_eq!(accounted("7|COMPLETED|0:0"), Some((vec![0], completed)));
        assert_eq!(accounted(""), None);
    }

    #[test]
    fn what_is_nobodys_fault_is_started_again() {
        for end in [
            ended("NODE_FAIL", 0, 0),
            ended("PREEMPTED", 0, 15),
            ended("TIMEOUT", 0, 15),
            ended("FAILED", 130, 0),
            ended("FAILED", 137, 0),
            ended("FAILED", 0, 9),
            End::forgotten(),
        ] {
            assert!(!end.is_final() && !end.is_success(), "{end:?}");
        }
        for end in [
            ended("FAILED", 2, 0),
            ended("CANCELLED", 0, 15),
            ended("OUT_OF_MEMORY", 0, 125),
            ended("DEADLINE", 0, 0),
        ] {
            assert!(end.is_final(), "{end:?}");
        }
        assert!(ended("COMPLETED", 0, 0).is_success());
        assert_eq!(
            ended("FAILED", 137, 0).to_string(),
            "it was killed by signal 9"
        );
    }
}

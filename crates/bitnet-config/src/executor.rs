//! `[executor]` of an experiment: what a scheduler is to give each of its runs.
//!
//! ```toml
//! [executor]
//! partition = "gpu"
//! time = "4:00:00"        # of one run; it is told to save two minutes before
//! memory = "16G"
//! cpus = 8
//! gpus = 1
//! setup = ["module load cuda"]
//! arguments = ["--constraint=a100"]
//! ```

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// What each run of an experiment gets where a scheduler runs it, and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorConfig {
    /// Slurm's partition; none takes the cluster's own choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Slurm's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Time limit of a run, as Slurm writes it: `90` (minutes), `4:00:00`, `1-12` (days and hours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Memory of a run, such as `16G`: a number and K, M, G or T, powers of 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// CPUs of a run, and its threads; 0 leaves that to the scheduler.
    pub cpus: usize,
    /// GPUs of a run.
    pub gpus: usize,
    /// Seconds before the time limit at which a training is told to save.
    pub grace: u64,
    /// How often in a row a run is started again that came no further than the time before.
    pub retries: u32,
    /// Runs at a time; 0 is as many as the scheduler has room for.
    pub at_once: usize,
    /// Lines of shell before a run.
    pub setup: Vec<String>,
    /// More arguments for `sbatch`.
    pub arguments: Vec<String>,
    /// Container image with the program, for Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Claim of the volume that holds the experiment's folder, for Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            time: None,
            memory: None,
            cpus: 0,
            gpus: 0,
            grace: 120,
            retries: 3,
            at_once: 0,
            setup: Vec::new(),
            arguments: Vec::new(),
            image: None,
            volume: None,
        }
    }
}

impl ExecutorConfig {
    /// The time limit in seconds.
    pub fn seconds(&self) -> Option<u64> {
        self.time.as_deref().and_then(seconds)
    }

    /// The number and the power of 1024 of the memory.
    pub fn memory_parts(&self) -> Option<(u64, char)> {
        self.memory.as_deref().and_then(memory)
    }

    /// The first mistake, and where its setting stands.
    pub(crate) fn validate(&self) -> Result<(), (String, Box<ConfigError>)> {
        let invalid = |key: &str, value: String, problem: &str| {
            let key = format!("executor.{key}");
            let error = ConfigError::Invalid {
                key: key.clone(),
                value,
                problem: problem.into(),
            };
            (key, Box::new(error))
        };
        if let Some(time) = &self.time {
            let Some(limit) = seconds(time).filter(|limit| *limit > 0) else {
                let problem = "is no time limit; give minutes, hours:minutes:seconds or days-hours";
                return Err(invalid("time", format!("{time:?}"), problem));
            };
            if self.grace >= limit {
                let problem = "leaves no time to train: it must be less than executor.time";
                return Err(invalid("grace", self.grace.to_string(), problem));
            }
        }
        if let Some(given) = self.memory.as_ref().filter(|given| memory(given).is_none()) {
            let problem = "must be a number and K, M, G or T, as in 16G";
            return Err(invalid("memory", format!("{given:?}"), problem));
        }
        if self.grace > 65_535 {
            let problem = "must be at most 65535, which is what Slurm takes";
            return Err(invalid("grace", self.grace.to_string(), problem));
        }
        Ok(())
    }
}

/// Slurm's time limits: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`.
fn seconds(time: &str) -> Option<u64> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (days, rest) = match time.split_once('-') {
        Some((days, rest)) => (Some(number(days)?), rest),
        None => (None, time),
    };
    let parts: Vec<u64> = rest.split(':').map(number).collect::<Option<_>>()?;
    let units: &[u64] = match (days, parts.len()) {
        (Some(_), 1..=3) | (None, 3) => &[3600, 60, 1],
        (None, 1..=2) => &[60, 1],
        _ => return None,
    };
    let days = days.unwrap_or(0).checked_mul(86_400);
    parts.iter().zip(units).fold(days, |sum, (part, unit)| {
        sum?.checked_add(part.checked_mul(*unit)?)
    })
}

fn memory(text: &str) -> Option<(u64, char)> {
    let unit = text.chars().last().filter(|unit| "KMGT".contains(*unit))?;
    let number = text[..text.len() - 1].parse().ok()?;
    (number > 0).then_some((number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_slurm_reads_them() {
        for (time, expected) in [
            ("90", Some(5400)),
            ("90:30", Some(5430)),
            ("4:00:00", Some(14_400)),
            ("1-12", Some(129_600)),
            ("1-12:30", Some(131_400)),
            ("1-12:30:05", Some(131_405)),
            ("", None),
            ("4h", None),
            ("1-", None),
            ("-1", None),
            ("1:2:3:4", None),
            ("+4", None),
            ("99999999999999999999", None),
            ("9999999999999999-0", None),
        ] {
            assert_eq!(seconds(time), expected, "{time}");
        }
        assert_eq!(memory("16G"), Some((16, 'G')));
        for wrong in ["", "G", "16", "16GB", "1.5G", "0M", "16 G", "16Gä"] {
            assert_eq!(memory(wrong), None, "{wrong}");
        }
    }
}

//! A job for `sbatch`, and what is remembered of it.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bitnet_experiment::Work;
use bitnet_results::{load_json, save_json, write_atomic};
use serde::{Deserialize, Serialize};

use super::Slurm;
use super::job::slurm;
use crate::command_line::quoted;

/// A job.
#[derive(Debug)]
pub struct Submitted {
    /// Slurm's number.
    pub job: String,
    /// What its tasks are told.
    pub work: PathBuf,
}

/// `submitted.json`, which is there as long as a job may run.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Of this job alone, by which it is found if nobody was left to write its number down.
    name: String,
    job: Option<String>,
    work: PathBuf,
}

impl Submitted {
    /// The job that was submitted before, if it has not been judged.
    ///
    /// # Errors
    /// If its record cannot be read, or Slurm cannot be asked.
    pub fn find(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = record(folder);
        if !path.exists() {
            return Ok(None);
        }
        let known: Record = load_json(&path)
            .with_context(|| format!("{} is damaged; remove it", path.display()))?;
        let job = match known.job {
            Some(job) => Some(job),
            None => {
                let name = format!("--name={}", known.name);
                let found = slurm(
                    "squeue",
                    &["--noheader", "--states=all", "--format=%F", &name],
                )?;
                found.lines().next().map(|job| job.trim().to_owned())
            }
        };
        let work = known.work;
        Ok(job.map(|job| Self { job, work }))
    }

    /// Where a task writes.
    pub fn log(&self, work: &Work, part: usize) -> PathBuf {
        let number = match work {
            Work::Runs(_) => format!("-{part}"),
            Work::Turns(_) => String::new(),
        };
        log(&self.work, &number)
    }
}

fn record(folder: &Path) -> PathBuf {
    folder.join("submitted.json")
}

fn log(work: &Path, number: &str) -> PathBuf {
    let mut name = work.with_extension("").into_os_string();
    name.push(number);
    name.push(".log");
    name.into()
}

/// The job is over.
///
/// # Errors
/// If its record cannot be removed.
pub fn forget(folder: &Path) -> anyhow::Result<()> {
    let path = record(folder);
    std::fs::remove_file(&path).with_context(|| path.display().to_string())
}

/// Submits work, a task for each part.
///
/// # Errors
/// If a file cannot be written, or Slurm does not take it.
pub fn submit(slurm_of: &Slurm, work: &Work, folder: &Path) -> anyhow::Result<Submitted> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let number = now.map_or(0, |now| now.as_millis());
    let file = folder.join(format!("{number}.json"));
    let script = file.with_extension("sh");
    work.save(&file)?;
    let text = script_of(slurm_of, &file)?;
    write_atomic(&script, text.as_bytes()).with_context(|| script.display().to_string())?;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = slurm_of.name.chars().map(plain).collect();
    let mut known = Record {
        name: format!("bitnet-{name}-{number}"),
        job: None,
        work: file.clone(),
    };
    save_json(&known, &record(folder))?;
    let mut args = arguments(slurm_of, work, &file, &known.name);
    args.push(script.display().to_string());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let answer = slurm("sbatch", &args).inspect_err(|_| {
        // There is no job.
        let _ = forget(folder);
    })?;
    // `12` or `12;cluster`
    let job = answer
        .trim()
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    known.job = Some(job.clone());
    save_json(&known, &record(folder))?;
    Ok(Submitted { job, work: file })
}

fn arguments(slurm_of: &Slurm, work: &Work, file: &Path, name: &str) -> Vec<String> {
    let settings = slurm_of.settings;
    let mut args = vec![
        "--parsable".to_owned(),
        format!("--job-name={name}"),
        "--nodes=1".to_owned(),
        "--ntasks=1".to_owned(),
        // Started again by the command, which knows how far a run came and when to give up.
        "--no-requeue".to_owned(),
    ];
    match work {
        Work::Runs(runs) => {
            let at_once = match settings.at_once {
                0 => String::new(),
                most => format!("%{most}"),
            };
            args.push(format!("--array=0-{}{at_once}", runs.len() - 1));
            args.push(format!("--output={}", log(file, "-%a").display()));
        }
        Work::Turns(_) => args.push(format!("--output={}", log(file, "").display())),
    }
    let given = [
        ("partition", settings.partition.clone()),
        ("account", settings.account.clone()),
        ("time", settings.time.clone()),
        ("mem", settings.memory.clone()),
        (
            "cpus-per-task",
            (settings.cpus > 0).then(|| settings.cpus.to_string()),
        ),
        (
            "gres",
            (settings.gpus > 0).then(|| format!("gpu:{}", settings.gpus)),
        ),
        (
            "signal",
            (settings.grace > 0).then(|| format!("TERM@{}", settings.grace)),
        ),
    ];
    let given = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    args.extend(given.map(|(name, value)| format!("--{name}={value}")));
    args.extend(settings.arguments.iter().cloned());
    args
}

/// What each task runs.
fn script_of(slurm_of: &Slurm, work: &Path) -> anyhow::Result<String> {
    let (settings, device) = (slurm_of.settings, slurm_of.device);
    let program = std::env::current_exe().context("the path of this binary is unknown")?;
    let program = quoted(&program.display().to_string());
    let work = quoted(&work.display().to_string());
    let cpus = match settings.cpus {
        0 => String::new(),
        cpus => format!(" --cpus-per-task={cpus}"),
    };
    let threads = match device.threads {
        0 => settings.cpus,
        threads => threads,
    };
    let setup: String = settings
        .setup
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    // As a step, so that signals reach the program and not the shell.
    Ok(format!(
        "#!/bin/bash\n{setup}exec srun --ntasks=1{cpus} {program} experiment task {work} --index \"${{SLURM_ARRAY_TASK_ID:-0}}\" \
         --backend {} --device {} --threads {threads}\n",
        device.backend, device.device
    ))
}

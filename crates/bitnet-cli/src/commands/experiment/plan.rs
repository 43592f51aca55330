//! `bitnet experiment plan DIR`: which runs there are, how long they take, and what they can tell.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bitnet_experiment::{Job, Plan};
use bitnet_report::format;
use bitnet_report::table::{Cell, Section, Table};
use bitnet_results::significance::t_beyond;
use serde::{Deserialize, Serialize};

use crate::args::{DeviceArgs, Format, OutputArgs};
use crate::commands::Outcome;
use crate::{output, process};

/// A variant of a plan.
#[derive(Debug, Serialize)]
struct Planned {
    name: String,
    /// Of the grid and of the other seeds.
    runs: usize,
    /// Of those, the ones with a result.
    done: usize,
    parameters: usize,
    /// Milliseconds of a step, measured; without the teacher's part.
    step_ms: f64,
    /// Seconds of a run.
    seconds: f64,
}

/// The whole of it.
#[derive(Debug, Serialize)]
struct Planning {
    variants: Vec<Planned>,
    runs: usize,
    done: usize,
    /// Of what is not done.
    hours: f64,
    jobs: usize,
    threads: usize,
    seeds: usize,
    /// Comparisons that are corrected for: the variants beside baselines and the reference.
    comparisons: usize,
    /// The smallest mean difference, in standard deviations of a difference between two seeds' runs, whose 95 % interval
    /// excludes 0; none with one seed.
    detectable: Option<f64>,
    /// The same of the best of all comparisons, after Holm's correction.
    detectable_holm: Option<f64>,
}

/// What `train --dry-run` answers, as much as is asked here.
#[derive(Deserialize)]
struct Measured {
    parameters: usize,
    step_ms: f64,
    seconds: f64,
}

/// Measures a run of each variant and prints the plan. `None` where it was interrupted.
pub fn print(
    plan: &Plan<'_>,
    all: &[Job],
    (device, threads, jobs): (&DeviceArgs, usize, usize),
    shown: &OutputArgs,
) -> anyhow::Result<Outcome> {
    let mut variants = Vec::new();
    for (index, variant) in plan.config.variants.iter().enumerate() {
        let own: Vec<&Job> = all.iter().filter(|job| job.variant == index).collect();
        let Some(first) = own.first() else {
            continue;
        };
        if !shown.quiet {
            output::say(format_args!("timing a few steps of {}", variant.name));
        }
        // A teacher is trained by then, and not now.
        let mut alone = first.run.config.clone();
        alone.train.distill_from = None;
        let Some(measured) = measure(&alone.to_toml()?, &variant.name, jobs, (device, threads))?
        else {
            return Ok(Outcome::Interrupted);
        };
        let train = &first.run.config.train;
        let teacher = variants
            .iter()
            .find(|planned: &&Planned| Some(&planned.name) == variant.teacher.as_ref());
        // Of the three passes of a step a teacher has the forward one.
        let taught = (1.0 - train.distill_start) * train.steps as f64;
        let teaching = teacher.map_or(0.0, |teacher| 1e-3 * teacher.step_ms / 3.0 * taught);
        variants.push(Planned {
            name: variant.name.clone(),
            runs: own.len() + plan.config.seeds(variant).len() - 1,
            done: finished(&plan.runs.join(&variant.name)),
            parameters: measured.parameters,
            step_ms: measured.step_ms,
            seconds: measured.seconds + teaching,
        });
    }
    let planning = summed(plan, all, variants, (threads, jobs));
    match shown.output {
        Format::Json => output::json(&planning)?,
        Format::Md => output::piece(&table(&planning).to_markdown())?,
        Format::Csv => output::piece(&table(&planning).to_csv())?,
        Format::Text => {
            output::table(&table(&planning))?;
            output::prose(&format!("\n{}", words(&planning)))?;
        }
    }
    Ok(Outcome::Done)
}

/// The mean of as many measurements as runs go at a time, all at once.
fn measure(
    config: &str,
    name: &str,
    jobs: usize,
    (device, threads): (&DeviceArgs, usize),
) -> anyhow::Result<Option<Measured>> {
    let unique = format!("bitnet-plan-{}", std::process::id());
    let file = std::env::temp_dir().join(unique + ".toml");
    std::fs::write(&file, config).with_context(|| file.display().to_string())?;
    let absent = file.with_extension("run");
    let one = || -> anyhow::Result<Option<Measured>> {
        let mut train = process::child(device, threads)?;
        train.arg("train").arg(&file).arg("--run-dir").arg(&absent);
        train.args(["--dry-run", "-o", "json", "--quiet"]);
        process::answer(train, name)
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..jobs).map(|_| scope.spawn(one)).collect();
        all.into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    // Whether it is there still changes nothing.
    let _ = std::fs::remove_file(&file);
    let answers: Option<Vec<Measured>> = answers
        .into_iter()
        .collect::<anyhow::Result<Vec<Option<Measured>>>>()?
        .into_iter()
        .collect();
    let mean = |answers: &[Measured], of: fn(&Measured) -> f64| {
        answers.iter().map(of).sum::<f64>() / answers.len().max(1) as f64
    };
    Ok(answers.map(|answers| Measured {
        parameters: answers.first().map_or(0, |first| first.parameters),
        step_ms: mean(&answers, |one| one.step_ms),
        seconds: mean(&answers, |one| one.seconds),
    }))
}

/// Runs in a variant's folder that have a result.
fn finished(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder);
    let results = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("result.json"));
    results.filter(|path: &PathBuf| path.is_file()).count()
}

fn summed(
    plan: &Plan<'_>,
    all: &[Job],
    variants: Vec<Planned>,
    (threads, jobs): (usize, usize),
) -> Planning {
    let left = |planned: &Planned| planned.runs.saturating_sub(planned.done) as f64;
    let seconds: f64 = variants.iter().map(|one| left(one) * one.seconds).sum();
    let config = &plan.config;
    let is_baseline = |name: &String| {
        let own = config.variants.iter().filter_map(|v| v.baseline.as_ref());
        own.chain(&config.baseline).any(|baseline| baseline == name)
    };
    let kind = |name: &String| {
        let of_name = |job: &&Job| config.variants[job.variant].name == *name;
        all.iter()
            .find(of_name)
            .map(|job| job.run.config.model.linear)
    };
    let reference = config.reference.as_ref();
    let compared = |name: &&String| {
        let alike = reference.is_none_or(|reference| kind(reference) == kind(name));
        Some(*name) != reference && !is_baseline(name) && alike
    };
    let names = config.variants.iter().map(|variant| &variant.name);
    let (seeds, comparisons) = (config.seeds.len(), names.filter(compared).count());
    let detectable = |level: f64| {
        let t = t_beyond(level, seeds.checked_sub(1)?)?;
        Some(t / (seeds as f64).sqrt())
    };
    Planning {
        runs: variants.iter().map(|one| one.runs).sum(),
        done: variants.iter().map(|one| one.done.min(one.runs)).sum(),
        hours: seconds / 3600.0 / jobs.max(1) as f64,
        jobs,
        threads,
        seeds,
        comparisons,
        detectable: detectable(0.05),
        detectable_holm: detectable(0.05 / comparisons.max(1) as f64),
        variants,
    }
}

fn table(planning: &Planning) -> Table {
    let header = [
        "variant",
        "parameters",
        "runs",
        "done",
        "step",
        "a run",
        "what is left",
    ];
    let row = |one: &Planned| {
        let left = one.runs.saturating_sub(one.done);
        vec![
            Cell::text(one.name.clone()),
            Cell::number(format::count(one.parameters as u64), one.parameters as f64),
            Cell::number(one.runs.to_string(), one.runs as f64),
            Cell::number(one.done.to_string(), one.done as f64),
            Cell::number(format!("{:.1} ms", one.step_ms), one.step_ms),
            Cell::number(format::seconds(one.seconds), one.seconds),
            Cell::number(
                format::seconds(left as f64 * one.seconds),
                left as f64 * one.seconds,
            ),
        ]
    };
    let rows = planning.variants.iter().map(row).collect();
    Table {
        header: header.map(str::to_owned).into(),
        sections: vec![Section {
            title: String::new(),
            rows,
        }],
    }
}

/// The plan in sentences.
fn words(planning: &Planning) -> String {
    let Planning {
        runs,
        done,
        jobs,
        threads,
        seeds,
        comparisons,
        ..
    } = planning;
    let mut text = format!(
        "{runs} runs, {done} of them done; the others take about {} with {jobs} at a time, threads of each: {threads}, beside \
         what the machine does now. Scoring and the timings at the end come on top.",
        format::seconds(3600.0 * planning.hours)
    );
    if let (Some(plain), Some(holm)) = (planning.detectable, planning.detectable_holm) {
        text += &format!(
            "\nWith {seeds} seeds the 95 % interval of a difference excludes 0 from {plain:.1} standard deviations of the \
             differences by seed on; after Holm's correction the best of {comparisons} compared is significant from {holm:.1}."
        );
    } else {
        text += "\nWith one seed no spread is known, and nothing can be told from luck.";
    }
    text
}

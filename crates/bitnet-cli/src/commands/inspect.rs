//! `bitnet inspect`

use std::fmt::Write as _;

use anyhow::bail;
use bitnet_config::LinearKind;
use bitnet_formats::inspect::{Report, TensorReport};
use bitnet_train::{Location, RunDir, export_note};

use super::Outcome;
use crate::args::{Format, InspectArgs};
use crate::{location, output};

pub fn run(args: InspectArgs) -> anyhow::Result<Outcome> {
    let report = match location::open(&args.model)? {
        Location::File(checkpoint) => Report::read(checkpoint.file())?,
        Location::Run(run) => Report {
            format: format!("a run, {}", which(&run)?),
            ..Report::read(&location::model_file(&run)?)?
        },
    };
    match args.output.output {
        Format::Json => output::json(&report)?,
        Format::Text => output::prose(text(&report).trim_end())?,
        Format::Md | Format::Csv => bail!("`bitnet inspect` writes text or json"),
    }
    Ok(Outcome::Done)
}

/// Which of a run's models is shown.
fn which(run: &RunDir) -> anyhow::Result<String> {
    Ok(match (export_note(run)?, run.config()?.model.linear) {
        (Some(note), _) => note,
        (None, LinearKind::Ternary) => "its exported model, packed.bpk".to_owned(),
        (None, LinearKind::Float) => "its last checkpoint".to_owned(),
    })
}

/// The conventions with their evidence, the sizes, a line for each tensor, and the warnings last.
fn text(report: &Report) -> String {
    let mut out = String::new();
    let bits = 8.0 * report.bytes as f64 / report.params.max(1) as f64;
    let mut row = |name: &str, value: &str, evidence: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:<23} {value}");
        if !evidence.is_empty() {
            let _ = writeln!(out, "{:<23}   from {evidence}", "");
        }
    };
    row("file", &report.format, "");
    let weights = format!(
        "{} in {} bytes, {bits:.3} bits each",
        report.params, report.bytes
    );
    row("parameters", &weights, "");
    for (name, convention) in report.conventions() {
        row(name, &convention.value, &convention.evidence);
    }
    for (name, size) in &report.shape {
        row(name, &size.to_string(), "");
    }
    row("end tokens", &format!("{:?}", report.eos), "");
    row(
        "chat template",
        if report.chat_template { "yes" } else { "no" },
        "",
    );

    let names = report.tensors.iter().map(|tensor| tensor.name.len());
    let width = names.max().unwrap_or(0);
    out.push('\n');
    for tensor in &report.tensors {
        let shape = format!("{:?}", tensor.shape);
        let name = &tensor.name;
        let _ = writeln!(
            out,
            "{name:<width$}  {shape:<16}  {:<6}  {}",
            tensor.storage,
            content(tensor)
        );
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "\nwarning: {warning}");
    }
    out
}

fn content(tensor: &TensorReport) -> String {
    match (&tensor.codes, &tensor.values) {
        (Some(codes), _) => {
            let total: u64 = codes.counts.iter().sum();
            let [minus, zero, plus] = codes.counts.map(|n| 100.0 * n as f64 / total.max(1) as f64);
            let [min, max] = codes.multiplier;
            let scales = match codes.scales {
                1 => format!("scale {max:.6}"),
                n => format!("{n} scales {min:.6} to {max:.6}"),
            };
            format!("-1 {minus:.1} %, 0 {zero:.1} %, +1 {plus:.1} %, {scales}")
        }
        (None, Some(values)) => {
            let (min, max, mean) = (values.min, values.max, values.mean_abs);
            format!("{min:.4} to {max:.4}, mean magnitude {mean:.5}")
        }
        (None, None) => String::new(),
    }
}

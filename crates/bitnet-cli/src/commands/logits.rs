//! `bitnet logits`: what a model says to token ids, number by number, for comparison with other programs.

use std::fmt::Write as _;

use anyhow::bail;
use bitnet_models::engine::{DenseFormat, Engine, FloatFormat};
use serde::Serialize;

use super::Outcome;
use crate::args::{EngineArgs, Format, LogitsArgs};
use crate::location;
use crate::{device, output};

/// Ids of a position that the text shows.
const SHOWN: usize = 8;

#[derive(Serialize)]
struct Logits {
    /// Positions and token ids.
    shape: [usize; 2],
    logits: Vec<Vec<f32>>,
}

pub fn run(args: LogitsArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet logits` writes text or json");
    }
    let mut engine = engine(&args)?;
    let mut session = engine.session(args.tokens.len())?;
    let mut logits: Vec<Vec<f32>> = Vec::new();
    engine.score(&mut session, &args.tokens, |_, row| {
        logits.push(row.to_vec());
    })?;
    let shape = [logits.len(), engine.shape().vocab_size];
    if let Some(position) = logits
        .iter()
        .position(|row| row.iter().any(|x| !x.is_finite()))
    {
        bail!(
            "the logits at position {position} are not finite: the model holds NaN, or overflows"
        );
    }
    match args.output.output {
        Format::Json => output::json(&Logits { shape, logits })?,
        _ => output::piece(&text(&logits))?,
    }
    Ok(Outcome::Done)
}

fn engine(args: &LogitsArgs) -> anyhow::Result<Engine> {
    device::set_threads(args.threads)?;
    // Exact, unless something else was asked for.
    let options = EngineArgs {
        head: args.engine.head.or(Some(DenseFormat::F32)),
        kv_cache: args.engine.kv_cache.or(Some(FloatFormat::F32)),
        ..args.engine.clone()
    };
    let location = location::open(&args.model)?;
    location::any_engine(location, &options, args.threads, "logits are those of")
}

/// A line for each position: the likeliest ids with their logits.
fn text(logits: &[Vec<f32>]) -> String {
    let mut out = String::new();
    for (position, row) in logits.iter().enumerate() {
        let mut ids: Vec<usize> = (0..row.len()).collect();
        ids.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        // Writing to a string cannot fail.
        let _ = write!(out, "{position:>5}:");
        for id in ids.into_iter().take(SHOWN) {
            let _ = write!(out, "  {id} {:.4}", row[id]);
        }
        out.push('\n');
    }
    out
}

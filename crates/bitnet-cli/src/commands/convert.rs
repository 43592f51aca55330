//! `bitnet convert`: a model, our own runs included, as another format.

use std::path::Path;

use anyhow::{Context, bail};
use bitnet_formats::{Converted, convert};
use bitnet_models::Transformer;
use bitnet_models::engine::{DenseFormat, FloatFormat, Options};
use bitnet_train::{Location, exported_bytes, import, load_exported};
use serde::Serialize;

use super::Outcome;
use crate::args::{ConvertArgs, Format, To};
use crate::location;
use crate::output;

/// Token ids that `--verify` reads.
const VERIFIED: usize = 32;
/// Largest difference of logits that passes, as a share of their range. Formats with 16-bit scales round each by 2^-11, and
/// a rounded scale may move an activation over the edge between two int8 codes.
const PASSES: f32 = 1e-2;

/// The result, in JSON.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    converted: Converted,
    #[serde(flatten)]
    verified: Option<Verified>,
}

/// What reading back showed.
#[derive(Serialize)]
struct Verified {
    max_abs_logit_error: f32,
    /// Of the model's logits.
    logit_range: f32,
}

pub fn run(args: ConvertArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet convert` writes text or json");
    }
    let location = location::open(&args.model)?;
    let converted = match (args.to, &location) {
        (To::Run, _) => to_run(&location, &args)?,
        (To::File(target), Location::File(model)) => convert(model.file(), target, &args.path)?,
        (To::File(target), Location::Run(run)) => {
            convert(&location::model_file(run)?, target, &args.path)?
        }
    };
    for warning in &converted.warnings {
        output::say(format_args!("warning: {warning}"));
    }
    let verified = match args.verify {
        true => Some(verify(&location, &args.path)?),
        false => None,
    };
    let passed = verified.as_ref().is_none_or(Verified::passed);
    let answer = Answer {
        converted,
        verified,
    };
    match args.output.output {
        Format::Json => output::json(&answer)?,
        _ => output::line(&text(&answer, &args.path))?,
    }
    Ok(match passed {
        true => Outcome::Done,
        false => Outcome::CheckFailed,
    })
}

fn text(answer: &Answer, path: &Path) -> String {
    let Converted { tensors, bytes, .. } = answer.converted;
    let mut text = format!("{tensors} tensors, {bytes} bytes: {}", path.display());
    if let Some(verified) = &answer.verified {
        let (error, range) = (verified.max_abs_logit_error, verified.logit_range);
        let verdict = match verified.passed() {
            true => "the same model",
            false => "ANOTHER MODEL",
        };
        text += &format!(
            "\nread back: logits differ by {error:.2e} at most, of a range of {range:.2}: {verdict}"
        );
    }
    text
}

/// Writes a run, and counts what is in its files.
fn to_run(location: &Location, args: &ConvertArgs) -> anyhow::Result<Converted> {
    let run = import(location, &args.model, &args.path)?;
    if let Some(caveat) = location.caveat() {
        output::say(format_args!("note: for who trains it: {caveat}"));
    }
    Ok(Converted {
        tensors: match location {
            Location::File(checkpoint) => checkpoint.file().source().tensors().len(),
            Location::Run(_) => 0,
        },
        bytes: exported_bytes(&run)?,
        warnings: Vec::new(),
    })
}

fn verify(before: &Location, path: &Path) -> anyhow::Result<Verified> {
    let before = logits(before).context("the model that was converted")?;
    let after = logits(&location::open(path)?).context("the new files")?;
    Ok(Verified::new(&before, &after))
}

/// The logits of some token ids, position after position, as exactly as the engine computes them.
fn logits(location: &Location) -> anyhow::Result<Vec<f32>> {
    let options = Options {
        head: DenseFormat::F32,
        cache: FloatFormat::F32,
        ..Options::default()
    };
    let mut engine = match location {
        Location::File(checkpoint) => checkpoint.engine(options)?,
        Location::Run(run) => {
            let model: Transformer = load_exported(run, &Default::default())?;
            model.engine(options)?
        }
    };
    let (vocab, positions) = {
        let shape = engine.shape();
        (shape.vocab_size, shape.max_position_embeddings)
    };
    let tokens: Vec<u32> = (0..VERIFIED.min(positions))
        .map(|i| (i * 7919 % vocab) as u32)
        .collect();
    let mut session = engine.session(tokens.len())?;
    let mut all = Vec::new();
    engine.score(&mut session, &tokens, |_, row| all.extend_from_slice(row))?;
    Ok(all)
}

impl Verified {
    fn new(before: &[f32], after: &[f32]) -> Self {
        let most = before.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let least = before.iter().copied().fold(f32::INFINITY, f32::min);
        // NaN is larger than any error.
        let worse = |most: f32, error: f32| match most.is_nan() || error <= most {
            true => most,
            false => error,
        };
        let pairs = before.iter().zip(after);
        let error = match before.len() == after.len() {
            true => pairs.map(|(a, b)| (a - b).abs()).fold(0.0, worse),
            false => f32::INFINITY,
        };
        Self {
            max_abs_logit_error: error,
            logit_range: most - least,
        }
    }

    fn passed(&self) -> bool {
        self.max_abs_logit_error <= PASSES * self.logit_range
    }
}

#[cfg(test)]
mod tests {
    use super::Verified;

    #[test]
    fn what_is_not_the_same_does_not_pass() {
        let before = [0.0, 10.0, 5.0];
        for (after, passes) in [
            (&[0.0, 10.0, 5.05][..], true),
            (&[0.0, 10.0, 5.2], false),
            (&[f32::NAN, 10.0, 5.0], false),
            (&[0.0, 10.0], false),
        ] {
            assert_eq!(Verified::new(&before, after).passed(), passes, "{after:?}");
        }
    }
}

//! `bitnet init`: a configuration that fits a text and this machine.
//!
//! The shape is the largest of a few known ones that has no more weights than the text has tokens and that takes enough
//! steps in the time given. The time of a step and the memory are not estimated: a few steps are taken.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bitnet_config::{Loader, RunConfig};
use bitnet_data::{Format as FileFormat, Prepared, sources};
use bitnet_report::format;
use bitnet_results::write_atomic;
use bitnet_train::{LanguageModel, StepTimer, Task, peak_rss_bytes};
use burn::module::Module;
use burn::tensor::Device;

use super::Outcome;
use crate::args::InitArgs;
use crate::{corpus, device, output};

/// Width, layers and heads of models, growing.
const SHAPES: [(usize, usize, usize); 7] = [
    (64, 2, 2),
    (128, 4, 4),
    (192, 6, 6),
    (256, 6, 8),
    (384, 6, 6),
    (512, 8, 8),
    (768, 12, 12),
];

/// Sequences of a step.
const BATCH: usize = 16;
/// Fewest steps that are worth a schedule.
const FEWEST: usize = 300;
/// Times that a text is read: a small one is learned by heart after some.
const EPOCHS: f64 = 30.0;
/// Bytes of a text that is to be prepared before it is looked at.
const LARGE: u64 = 256 << 20;

/// What there is to learn from.
struct Text {
    path: PathBuf,
    bytes: u64,
    /// Tokens, about.
    tokens: f64,
    level: Level,
}

/// How it is cut.
enum Level {
    Prepared,
    Char,
    Bpe(usize),
}

pub fn run(args: InitArgs) -> anyhow::Result<Outcome> {
    if args.out.exists() {
        bail!(
            "{}: exists; remove it, or choose another file with --out",
            args.out.display()
        );
    }
    let asks = !args.yes && std::io::stdin().is_terminal();
    let path = match (args.text, asks) {
        (Some(path), _) => path,
        (None, true) => PathBuf::from(ask("Text to learn from")?),
        (None, false) => {
            bail!("TEXT is missing: give a file, a folder, or what `bitnet data prepare` made")
        }
    };
    let minutes = match (args.minutes, asks) {
        (Some(minutes), _) => minutes,
        (None, false) => 10.0,
        (None, true) => match ask("Minutes of training (10)")?.as_str() {
            "" => 10.0,
            text => text
                .parse()
                .ok()
                .filter(|n| *n > 0.0)
                .context("that is no number above 0")?,
        },
    };
    let text = look_at(path)?;
    let device = device::open(&args.device)?;
    let known = SHAPES
        .iter()
        .position(|shape| Some(shape.0) == args.hidden_size);
    if let (Some(width), None) = (args.hidden_size, known) {
        bail!("--hidden-size {width}: use 64, 128, 192, 256, 384, 512 or 768, or leave it out");
    }
    let fits = |shape: &&(usize, usize, usize)| weights(**shape) <= text.tokens;
    let mut at = known.unwrap_or(SHAPES.iter().take_while(fits).count().saturating_sub(1));
    let (config, measured) = loop {
        let config = configuration(&text, SHAPES[at], FEWEST)?;
        let measured = measure(config.clone(), &device)?;
        let steps = 60e3 * minutes / measured.step_ms;
        if known.is_some() || at == 0 || steps >= FEWEST as f64 {
            break (config, measured);
        }
        at -= 1;
    };
    let seen = (config.train.step_sequences() * config.train.context) as f64;
    let steps = (60e3 * minutes / measured.step_ms).min(EPOCHS * measured.tokens / seen);
    let steps = round(steps.max(10.0));
    let toml = written(&text, SHAPES[at], steps);
    write_atomic(&args.out, toml.as_bytes())
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    let memory = measured.memory.map_or(String::new(), |bytes| {
        format!(", {} of memory", format::bytes(bytes))
    });
    output::line(&format!(
        "{}: {} weights, {} steps of {:.0} ms, about {} here{memory}; the text is read {:.1} times\n\
         bitnet train {}",
        args.out.display(),
        format::integer(measured.weights as u64),
        format::integer(steps as u64),
        measured.step_ms,
        format::seconds(steps as f64 * measured.step_ms / 1e3),
        steps as f64 * seen / measured.tokens,
        args.out.display(),
    ))?;
    Ok(Outcome::Done)
}

fn ask(question: &str) -> anyhow::Result<String> {
    let mut err = std::io::stderr().lock();
    write!(err, "{question}: ")?;
    err.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// A round number of steps, not above.
fn round(steps: f64) -> usize {
    let unit = 10f64.powf(steps.log10().floor() - 1.0).max(1.0);
    ((steps / unit).floor() * unit) as usize
}

/// Weights of the matrices of a shape, the embedding aside: four of attention, three of the gated feed-forward part.
fn weights((width, layers, _): (usize, usize, usize)) -> f64 {
    (layers * width * (4 * width + 3 * intermediate(width))) as f64
}

/// 8/3 of the width, in whole words.
fn intermediate(width: usize) -> usize {
    (width * 8 / 3).next_multiple_of(32)
}

fn look_at(path: PathBuf) -> anyhow::Result<Text> {
    if Prepared::is_at(&path) {
        let manifest = Prepared::open(&path)?.manifest;
        return Ok(Text {
            path,
            bytes: manifest.bytes,
            tokens: manifest.tokens as f64,
            level: Level::Prepared,
        });
    }
    let found = sources(std::slice::from_ref(&path), None)?;
    let bytes: u64 = found.iter().map(|source| source.size).sum();
    if bytes > LARGE {
        bail!(
            "{}: {} are better cut into tokens apart from training; `bitnet data prepare {} --out prepared` does it, then \
             `bitnet init prepared`",
            path.display(),
            format::bytes(bytes),
            path.display()
        );
    }
    let plain = matches!(&found[..], [one] if one.format == FileFormat::Text && one.path == path);
    let characters = match plain {
        true => distinct(&path)?,
        false => usize::MAX,
    };
    // Few characters and little text: pieces would each be seen a few times.
    let level = match characters < 256 && bytes < 4 << 20 {
        true => Level::Char,
        false => Level::Bpe(((bytes / 500) as usize).clamp(500, 16_000) / 100 * 100),
    };
    let tokens = match level {
        Level::Bpe(_) => bytes as f64 / 3.5,
        _ => bytes as f64,
    };
    Ok(Text {
        path,
        bytes,
        tokens,
        level,
    })
}

/// Distinct characters; many where it is no text.
fn distinct(path: &Path) -> anyhow::Result<usize> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text.chars().collect::<BTreeSet<char>>().len(),
        Err(_) => usize::MAX,
    })
}

fn configuration(
    text: &Text,
    shape: (usize, usize, usize),
    steps: usize,
) -> anyhow::Result<RunConfig> {
    Ok(Loader::new()
        .builtin("init", &written(text, shape, steps))?
        .finish()?)
}

/// What a few steps told.
struct Taken {
    step_ms: f64,
    memory: Option<u64>,
    weights: usize,
    tokens: f64,
}

fn measure(mut config: RunConfig, device: &Device) -> anyhow::Result<Taken> {
    let corpus = corpus::load(&mut config, None)?;
    let task = LanguageModel::new(&config, &corpus)?;
    let weights = task.model(device)?.num_params();
    let (timer, _) = StepTimer::new(&config, &task, device)?.time(1)?;
    let (_, step_ms) = timer.time(3)?;
    Ok(Taken {
        step_ms,
        memory: peak_rss_bytes(),
        weights,
        tokens: corpus.train.len() as f64,
    })
}

/// What docs/choosing.md advises: rates of this width, divided where a model is wider.
const ADVISED_WIDTH: f64 = 128.0;
const FLOAT_RATE: f64 = 2e-3;
const TERNARY_RATE: f64 = 3e-3;
/// Bytes of text that are enough to validate on.
const VALIDATION: f64 = 1e6;

/// The configuration with what its settings mean.
fn written(text: &Text, (width, layers, heads): (usize, usize, usize), steps: usize) -> String {
    let path = toml::Value::from(text.path.display().to_string());
    let (context, cut) = match text.level {
        Level::Prepared => (
            256,
            "# cut into tokens by the folder's own tokenizer".to_owned(),
        ),
        Level::Char => (
            256,
            "level = \"char\"                  # a token is a character; or \"byte\", \"bpe\""
                .to_owned(),
        ),
        Level::Bpe(size) => (
            256,
            format!(
                "level = \"bpe\"                   # a token is a piece of a word, learned from the text\nvocab_size = {size}"
            ),
        ),
    };
    let interval = (steps / 20).max(1);
    let wider = (width as f64 / ADVISED_WIDTH).max(1.0);
    let (float, ternary) = (FLOAT_RATE / wider, TERNARY_RATE / wider);
    let initial = 1.0 / (width as f64).sqrt();
    // A million bytes tell two models apart.
    let fraction = 1.0 - (0.1 * text.bytes as f64).min(VALIDATION) / text.bytes.max(1) as f64;
    let fraction = (1e5 * fraction).round() / 1e5;
    format!(
        r#"# {} of text. `bitnet train` trains the ternary model, `bitnet compare` a float one beside it.

[model]
linear = "ternary"              # weights of -1, 0 and 1; or "float"
hidden_size = {width}
intermediate_size = {}
num_hidden_layers = {layers}
num_attention_heads = {heads}
max_position_embeddings = {context}
initializer_range = {initial:.3}       # about 1/√hidden_size

[quant]
norm = "sub"                    # SubLN, before the output projections too

[data]
kind = "text"
path = {path}
{cut}
train_fraction = {fraction:<16}# the rest is the validation split

[train]
steps = {steps}
batch_size = {BATCH}                 # sequences of a step
# accumulate = 4                # batches of a step, in the memory of one
context = {context}                   # tokens of a sequence
eval_interval = {interval}
# stop_after = 5                # evaluations in a row without a lower validation loss
weight_decay_until = 0.5        # share of the steps

[train.float]
learning_rate = {float:.1e}

[train.ternary]
learning_rate = {ternary:.1e}          # `bitnet train FILE --find-rate` looks for one
final_lr_fraction = 0.0
"#,
        format::bytes(text.bytes),
        intermediate(width),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_configuration() {
        for level in [Level::Prepared, Level::Char, Level::Bpe(1000)] {
            let text = Text {
                path: "a \"b\"\\c.txt".into(),
                bytes: 1_000_000,
                tokens: 1e6,
                level,
            };
            for shape in SHAPES {
                let config = configuration(&text, shape, 500).unwrap();
                assert_eq!(config.data.path, Some(text.path.as_path().into()));
                assert_eq!(
                    (config.model.hidden_size, config.train.steps),
                    (shape.0, 500)
                );
                assert_eq!(config.data.train_fraction, 0.9);
                assert!(config.train.ternary.learning_rate.unwrap() <= TERNARY_RATE);
            }
        }
        let large = Text {
            path: "a".into(),
            bytes: 2_000_000_000,
            tokens: 1e9,
            level: Level::Prepared,
        };
        let config = configuration(&large, SHAPES[0], 500).unwrap();
        assert_eq!(config.data.train_fraction, 0.9995);
        assert_eq!((round(1234.0), round(99.0), round(12.0)), (1200, 99, 12));
    }
}

//! Whole models: decoding, prefill and a training step, ternary beside float.
//!
//! `cargo bench --workspace --bench models [-- THREADS]`. Decoding and prefill are those of the CPU engine on random
//! weights of the shape of `configs/arch/125m.toml`; `bitnet bench` measures any other shape. The training step is the
//! real loop on the built-in text at the shape of `configs/train/shakespeare-10m.toml`: 2,048 tokens, forward,
//! backward, clipping, AdamW.

use std::{error::Error, path::Path, sync::atomic::AtomicBool};

use bitnet_benches::in_turns;
use bitnet_config::{Loader, RunConfig};
use bitnet_data::{Corpus, TokenizerKind};
use bitnet_engine::{Engine, Options, RandomWeights, Session};
use bitnet_kernels::{Granularity, probe};
use bitnet_models::LinearKind;
use bitnet_train::{Backend, LanguageModel, RunDir, Training};

const PROMPT: usize = 256;
const WRITTEN: usize = 32;
const STEPS: usize = 8;
/// Of the built-in text: enough for batches without much repetition, little to evaluate.
const CHARACTERS: usize = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(2);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()?;
    inference(threads)?;
    training(threads)
}

fn config(file: &str, set: &[&str]) -> Result<RunConfig, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut loader = Loader::new().file(root.join(file))?;
    for set in set {
        loader = loader.set(set)?;
    }
    Ok(loader.finish()?)
}

fn inference(threads: usize) -> Result<(), Box<dyn Error>> {
    let config = config("arch/125m.toml", &[])?;
    let shape = config.model.engine_shape(&config.quant)?;
    let engine = |ternary| {
        let weights = RandomWeights {
            shape: shape.clone(),
            ternary,
            seed: 1,
        };
        let options = Options {
            threads,
            ..Options::default()
        };
        Engine::new(shape.clone(), &weights, options)
    };
    let (mut float, mut ternary) = (engine(None)?, engine(Some(Granularity::Tensor))?);
    let options = ternary.options();
    println!(
        "125M shape on {threads} threads, {}, {} head",
        options.kernel, options.head
    );
    let prompt: Vec<u32> = (0..PROMPT as u32).collect();
    let capacity = PROMPT.max(WRITTEN);
    let mut sessions = (float.session(capacity)?, ternary.session(capacity)?);
    for (name, tokens, at_once) in [
        ("prefill", &prompt[..], PROMPT),
        ("decode", &prompt[..WRITTEN], 1),
    ] {
        let (float, ternary, ratio) = in_turns(
            || read(&mut float, &mut sessions.0, tokens, at_once),
            || read(&mut ternary, &mut sessions.1, tokens, at_once),
        );
        let speed = |seconds: f64| tokens.len() as f64 / seconds;
        println!(
            "  {name:<8} float {:7.1} tokens/s, ternary {:7.1}: {:.1}x",
            speed(float),
            speed(ternary),
            1.0 / ratio
        );
    }
    Ok(())
}

fn read(engine: &mut Engine, session: &mut Session, tokens: &[u32], at_once: usize) {
    session.truncate(0);
    for tokens in tokens.chunks(at_once) {
        engine.forward(session, tokens).expect("tokens that fit");
    }
}

fn training(threads: usize) -> Result<(), Box<dyn Error>> {
    println!("Training step, 6 layers of 384, 8 x 256 tokens, on {threads} threads");
    let peak = probe::fma_peak(threads);
    for _ in 0..2 {
        for kind in ["float", "ternary"] {
            let (tokens_per_second, config) = train(kind)?;
            let shape = config.model.engine_shape(&config.quant)?;
            // Forward, and two products backward.
            let macs = 3 * shape.linear_weights();
            let of_peak = match (peak, config.model.linear) {
                (Some(peak), LinearKind::Float) => {
                    let share = 100.0 * tokens_per_second * macs as f64 / peak;
                    format!(
                        ", linear layers at {share:.0} % of the float peak of {:.0} GMAC/s",
                        peak / 1e9
                    )
                }
                _ => String::new(),
            };
            println!("  {kind:<8} {tokens_per_second:7.0} tokens/s{of_peak}");
        }
    }
    Ok(())
}

/// Tokens a second of a short run.
fn train(kind: &str) -> Result<(f64, RunConfig), Box<dyn Error>> {
    let mut config = config(
        "train/shakespeare-10m.toml",
        &[
            &format!("model.linear=\"{kind}\""),
            &format!("train.steps={STEPS}"),
            "train.eval_interval=0",
            "train.eval_batches=1",
            "train.checkpoint_interval=0",
        ],
    )?;
    let corpus = Corpus::stories(0, CHARACTERS, TokenizerKind::Char, 0.99)?;
    config.model.vocab_size = corpus.tokenizer.vocab_size();
    let folder = tempfile::tempdir()?;
    let task = LanguageModel::new(&config, &corpus)?;
    let run = RunDir::create(
        folder.path().join("run"),
        &config,
        Some(&corpus.tokenizer),
        &[],
        None,
        None,
    )?;
    let (device, interrupt) = (Backend::Flex.device(0)?, AtomicBool::new(false));
    let training = Training {
        config: &config,
        task: &task,
        run: &run,
        device: &device,
        others: &[],
        resume: Vec::new(),
        interrupt: &interrupt,
    };
    // As the command does: on a thread of the pool.
    let trained = rayon::scope(|_| training.run(&mut ()))?;
    Ok((trained.summary.tokens_per_second, config))
}

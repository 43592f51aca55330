//! What is measured of language models alone: the engine's loss, samples, probe questions, packed against trained.

use anyhow::Context;
use bitnet_config::{DataKind, LinearKind, RunConfig};
use bitnet_data::{Corpus, stories};
use bitnet_models::{
    Generation, Limits, PrefixCache, Runner, Sampler, Sampling, TensorRunner, Transformer,
    Vocabulary,
};
use bitnet_results::{Probes, Sample, TextMeasures};
use bitnet_train::{
    RunDir, evaluate_engine, greedy_agreement, load_exported, load_latent, peak_rss_bytes,
    time_inference,
};
use burn::tensor::Device;

use crate::args::MeasureArgs;
use crate::engine;

/// Measures the exported model, and the peak memory of generating with it.
pub fn measure(
    run: &RunDir,
    corpus: &Corpus,
    config: &RunConfig,
    args: &MeasureArgs,
    device: &Device,
) -> anyhow::Result<(TextMeasures, Option<u64>)> {
    let model: Transformer = load_exported(run, device)?;
    let mut runner = engine::runner(&model, device, &args.device, &args.engine)?;
    time_inference(
        &mut *runner,
        &timing_prompt(config),
        config.compare.decode_tokens,
    )?;
    let peak_rss_bytes = peak_rss_bytes();
    let mut text = TextMeasures {
        probes: probes(&mut *runner, corpus, config)?,
        samples: samples(&mut *runner, corpus, config)?,
        ..TextMeasures::default()
    };
    drop(runner);
    if engine::runs(
        args.device.backend,
        &args.engine,
        &config.model,
        &config.quant,
    )? {
        let options = engine::options(&args.engine, args.device.threads)?;
        let mut engine = model.engine(options)?;
        text.engine_loss =
            Some(evaluate_engine(&mut engine, corpus.evaluated(), config.train.context)?.loss);
        text.engine = Some(engine::describe(&engine));
    }
    if config.model.linear == LinearKind::Ternary {
        let latent: Transformer = load_latent(run, device)?;
        text.token_match = Some(greedy_agreement(
            &mut TensorRunner::new(&model, device),
            &mut TensorRunner::new(&latent, device),
            &corpus
                .validation
                .to_vec(0..corpus.validation.len().min(1 << 20)),
            config.compare.agreement_tokens,
        )?);
    }
    Ok((text, peak_rss_bytes))
}

/// Speed does not depend on the tokens: any will do.
pub fn timing_prompt(config: &RunConfig) -> Vec<u32> {
    let vocab = config.model.vocab_size as u32;
    (0..config.compare.prefill_tokens as u32)
        .map(|i| i % vocab)
        .collect()
}

fn samples(
    model: &mut dyn Runner,
    corpus: &Corpus,
    config: &RunConfig,
) -> anyhow::Result<Vec<Sample>> {
    config
        .compare
        .prompts
        .iter()
        .map(|prompt| {
            let tokens = corpus
                .tokenizer
                .encode(prompt)
                .context("compare.prompts cannot be encoded")?;
            let mut sampler = Sampler::new(Sampling {
                temperature: config.compare.temperature as f32,
                seed: config.train.seed,
                ..Sampling::default()
            })?;
            let sample_tokens = config.compare.sample_tokens;
            let written = write(model, &tokens, sample_tokens, &mut sampler, corpus)?;
            Ok(Sample {
                prompt: prompt.clone(),
                text: corpus.tokenizer.decode(&written.tokens),
            })
        })
        .collect()
}

/// Questions of the built-in language, answered greedily up to the end of the line.
fn probes(
    model: &mut dyn Runner,
    corpus: &Corpus,
    config: &RunConfig,
) -> anyhow::Result<Option<Probes>> {
    if config.data.kind != DataKind::Stories || config.compare.probes == 0 {
        return Ok(None);
    }
    let context = config.model.max_position_embeddings;
    // Another seed than the text's, so that the stories asked about are new ones.
    let probes = stories::probes(config.data.seed.wrapping_add(1), config.compare.probes);
    let mut right = 0;
    for probe in &probes {
        let tokens = corpus.tokenizer.encode(&probe.prompt)?;
        let answer = probe.answer.len() + 1;
        let room = context.saturating_sub(answer).max(1);
        let tokens = &tokens[tokens.len().saturating_sub(room)..];
        let mut greedy = Sampler::new(Sampling::default())?;
        let written = write(model, tokens, answer, &mut greedy, corpus)?;
        right += u64::from(probe.is_answered_by(&corpus.tokenizer.decode(&written.tokens)));
    }
    Ok(Some(Probes {
        asked: probes.len() as u64,
        right,
    }))
}

/// Continues `prompt` by up to `tokens` of the tokenizer's ids; the model may have rows for more.
fn write(
    model: &mut dyn Runner,
    prompt: &[u32],
    tokens: usize,
    sampler: &mut Sampler,
    corpus: &Corpus,
) -> anyhow::Result<Generation> {
    let capacity = model.context().min(prompt.len().saturating_add(tokens));
    let vocabulary = Vocabulary::new(corpus.tokenizer.vocab_size(), []);
    let limits = Limits {
        vocabulary: Some(&vocabulary),
        ..Limits::tokens(tokens)
    };
    let mut cache = PrefixCache::new(model, capacity)?;
    Ok(cache.generate(prompt, limits, sampler, |_| true)?)
}

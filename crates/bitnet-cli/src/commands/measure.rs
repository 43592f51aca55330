//! `bitnet measure RUN` (hidden): what `compare` measures of one trained twin, in a process of its own.
//!
//! The order matters. The exported model is loaded and timed first, and the peak memory read then, before the latent
//! model and the validation windows join it.

use anyhow::Context;
use bitnet_config::{DataKind, RunConfig};
use bitnet_data::{Corpus, stories};
use bitnet_models::{
    LinearKind, Network, Runner, Sampler, Sampling, TensorRunner, Transformer, generate,
};
use bitnet_report::{FloatBytes, Inference, Packed, Probes, Sample, TokenMatch, Twin, Val};
use bitnet_train::{
    Evaluation, RunDir, evaluate, evaluate_engine, exported_bytes, greedy_agreement, load_exported,
    load_latent, median, peak_rss_bytes, time_inference,
};
use burn::module::Module;
use burn::tensor::Device;

use super::Outcome;
use crate::args::MeasureArgs;
use crate::{output, setup};

pub fn run(args: MeasureArgs) -> anyhow::Result<Outcome> {
    let run = RunDir::open(&args.run)?;
    let device = setup::open_device(&args.device)?;
    output::json(&measure(&run, &device, &args)?)?;
    Ok(Outcome::Done)
}

fn measure(run: &RunDir, device: &Device, args: &MeasureArgs) -> anyhow::Result<Twin> {
    let mut config = run.config()?;
    let model: Transformer = load_exported(run, device)?;
    let mut runner = setup::runner(&model, device, &args.device, &args.engine)?;
    let prompt = timing_prompt(&config);
    let timing = time_inference(
        &mut *runner,
        &prompt,
        config.compare.decode_tokens,
        config.compare.repetitions,
    )?;
    let mut inference = Inference {
        prefill_tps: median(&timing.prefill_tps),
        decode_tps: median(&timing.decode_tps),
        peak_rss_bytes: peak_rss_bytes(),
        ..Inference::default()
    };

    let corpus = setup::load_corpus(&mut config)?;
    if setup::uses_engine(
        args.device.backend,
        &args.engine,
        &config.model,
        &config.quant,
    )? {
        let options = setup::engine_options(&args.engine, args.device.threads)?;
        let mut engine = model.engine(options)?;
        inference.val_loss =
            Some(evaluate_engine(&mut engine, &corpus, config.train.context)?.loss);
        inference.engine = Some(setup::describe_engine(&engine.options()));
    }
    let exported = evaluate(&model, &corpus, config.train.context, 0, device)?;
    let linear_weights = model.projection_weights();
    let mut twin = Twin {
        float_bytes: FloatBytes::of(linear_weights as u64),
        bits_per_byte: Some(exported.bits_per_byte),
        probes: probes(&mut *runner, &corpus, &config)?,
        inference: Some(inference),
        samples: samples(&mut *runner, &corpus, &config)?,
        ..Twin::default()
    };
    match config.model.linear {
        LinearKind::Float => {
            twin.params = model.num_params() as u64;
            twin.float_weights = twin.params;
            twin.val = val(&exported);
            twin.file_bytes = Some(exported_bytes(run)?);
        }
        LinearKind::Ternary => {
            let latent: Transformer = load_latent(run, device)?;
            let fake = evaluate(&latent, &corpus, config.train.context, 0, device)?;
            let weight_bytes = model.projection_bytes();
            let agreement = greedy_agreement(
                &mut TensorRunner::new(&model, device),
                &mut TensorRunner::new(&latent, device),
                &corpus.validation,
                config.compare.agreement_tokens,
            )?;
            twin.params = latent.num_params() as u64;
            twin.ternary_weights = linear_weights as u64;
            twin.float_weights = twin.params - twin.ternary_weights;
            twin.val = val(&fake);
            twin.bits_per_ternary_weight = Some(8.0 * weight_bytes as f64 / linear_weights as f64);
            twin.packed = Some(Packed {
                val_loss: exported.loss,
                weight_bytes: weight_bytes as u64,
                file_bytes: exported_bytes(run)?,
                token_match: TokenMatch {
                    compared: agreement.compared as u64,
                    equal: agreement.equal as u64,
                },
            });
        }
    }
    Ok(twin)
}

fn val(evaluation: &Evaluation) -> Val {
    Val {
        loss: evaluation.loss,
        perplexity: evaluation.perplexity,
        accuracy: evaluation.accuracy,
    }
}

/// Speed does not depend on the tokens: any will do.
fn timing_prompt(config: &RunConfig) -> Vec<u32> {
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
            let written = generate(model, &tokens, sample_tokens, &mut sampler, |_| true)?;
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
        let written = generate(model, tokens, answer, &mut greedy, |_| true)?;
        right += u64::from(probe.is_answered_by(&corpus.tokenizer.decode(&written.tokens)));
    }
    Ok(Some(Probes {
        asked: probes.len() as u64,
        right,
    }))
}

//! From flags and what a model's files suggest to a sampler.

use bitnet_models::{Sampler, Sampling};
use bitnet_text::GenerationDefaults;

use crate::args::SamplingArgs;

/// Flags come before the model's own suggestions, and those before ours.
pub fn sampler(args: &SamplingArgs, model: GenerationDefaults) -> anyhow::Result<Sampler> {
    let off = Sampling::default();
    Ok(Sampler::new(Sampling {
        temperature: args
            .temperature
            .or(model.temperature)
            .unwrap_or(GenerationDefaults::TEMPERATURE),
        top_k: args.top_k.or(model.top_k).unwrap_or(off.top_k),
        top_p: args.top_p.or(model.top_p).unwrap_or(off.top_p),
        min_p: args.min_p.or(model.min_p).unwrap_or(off.min_p),
        repetition_penalty: args
            .repetition_penalty
            .or(model.repetition_penalty)
            .unwrap_or(off.repetition_penalty),
        seed: args.seed.unwrap_or(off.seed),
        ..off
    })?)
}

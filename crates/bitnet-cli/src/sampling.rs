//! From flags and what a model's files suggest to a sampler.

use bitnet_models::{Sampler, Sampling};
use bitnet_text::GenerationDefaults;

use crate::args::SamplingArgs;

/// Flags come before the model's own suggestions, and those before ours.
pub fn sampler(args: &SamplingArgs, model: GenerationDefaults) -> anyhow::Result<Sampler> {
    let asked = GenerationDefaults {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
    };
    let (wanted, off) = (asked.or(model), Sampling::default());
    Ok(Sampler::new(Sampling {
        temperature: wanted.temperature,
        top_k: wanted.top_k,
        top_p: wanted.top_p,
        min_p: wanted.min_p,
        repetition_penalty: wanted.repetition_penalty,
        seed: args.seed.unwrap_or(off.seed),
        ..off
    })?)
}

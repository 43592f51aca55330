//! Whether the packed model answers as the fake-quantised one it was packed from: greedy texts, token by token.

use bitnet_models::{Runner, Sampler, Sampling, generate};
use bitnet_results::TokenMatch;

use crate::TrainError;

/// Tokens of text that each greedy continuation starts from.
const PROMPT: usize = 16;

/// Lets both models continue pieces of `text` greedily, each on its own, until `tokens` tokens are compared.
///
/// # Errors
/// If a model cannot take the text or the device fails.
pub fn greedy_agreement(
    one: &mut dyn Runner,
    other: &mut dyn Runner,
    text: &[u32],
    tokens: usize,
) -> Result<TokenMatch, TrainError> {
    let context = one.context();
    let prompt_len = PROMPT.min(context / 2).min(text.len()).max(1);
    let room = context - prompt_len;
    let mut agreement = TokenMatch::default();
    let mut at = 0;
    while agreement.compared < tokens as u64 && !text.is_empty() && room > 0 {
        let prompt: Vec<u32> = (0..prompt_len)
            .map(|i| text[(at + i) % text.len()])
            .collect();
        at += text.len() / 7 + 1;
        let wanted = room.min(tokens - agreement.compared as usize);
        let continue_with = |model: &mut dyn Runner| -> Result<Vec<u32>, TrainError> {
            let mut greedy = Sampler::new(Sampling::default())?;
            Ok(generate(model, &prompt, wanted, &mut greedy, |_| true)?.tokens)
        };
        let (ours, theirs) = (continue_with(one)?, continue_with(other)?);
        agreement.compared += ours.len() as u64;
        agreement.equal += ours.iter().zip(&theirs).filter(|(a, b)| a == b).count() as u64;
    }
    Ok(agreement)
}

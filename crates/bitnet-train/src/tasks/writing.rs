//! How a model of sequences answers, on the engine or on tensors: the loss of given targets, and outputs by beam search.

use bitnet_config::RunConfig;
use bitnet_data::{BOS, EOS, PairBatch, SequenceVocabulary};
use bitnet_models::engine::EngineError;
use bitnet_models::engine::sequence::{SequenceEngine, Worker, Writing};
use bitnet_models::{BeamSearch, EncoderDecoder, Hypothesis, Sequences, ToEngineError, argmax};
use bitnet_results::Evaluation;
use burn::tensor::Device;

use super::translate::{Split, batch, forward};
use crate::answering::{Answering, lock};
use crate::evaluate::{argmax_hits, at_most, loss_of, read};
use crate::{Interrupt, TrainError};

/// Loss and token accuracy with the right targets before each position.
pub(super) fn teacher_forced(
    model: &Answering<'_, EncoderDecoder>,
    split: &Split,
    batch_size: usize,
    max_batches: usize,
    device: &Device,
    interrupt: Interrupt<'_>,
) -> Result<Evaluation, TrainError> {
    let mut order: Vec<usize> = (0..split.pairs.len()).collect();
    if max_batches == 0 {
        order.sort_by_key(|i| split.source[*i].len() + split.target[*i].len());
    }
    let (mut loss, mut right, mut tokens) = (0.0, 0.0, 0);
    match model {
        Answering::Tensors(model) => {
            for examples in order.chunks(batch_size).take(at_most(max_batches)) {
                interrupt.check()?;
                let batch = batch(split, examples);
                let scored = forward(model, &batch, 0.0, device);
                let hits = argmax_hits(scored.logits, scored.targets) * scored.counts;
                loss += read(scored.losses.sum())?;
                right += read(hits.sum())?;
                tokens += batch.tokens;
            }
        }
        Answering::Engine(engine) => {
            order.truncate(batch_size.saturating_mul(at_most(max_batches)));
            let lengths: Vec<usize> = (order.iter())
                .map(|i| split.source[*i].len().max(split.target[*i].len()) + 1)
                .collect();
            let jobs = SequenceEngine::jobs(&lengths, usize::MAX);
            let results = lock(engine).map(jobs.len(), |worker, job| {
                let examples: Vec<usize> = jobs[job].iter().map(|at| order[*at]).collect();
                losses_of(worker, split, &examples)
            });
            for result in results {
                let (sum, hits, count) = result.map_err(ToEngineError::from)?;
                (loss, right, tokens) = (loss + sum, right + hits as f64, tokens + count);
            }
        }
    }
    let bytes = split.pairs.target.iter().map(String::len).sum::<usize>();
    let all: usize = split.target.iter().map(|ids| ids.len() + 1).sum();
    let per_token = loss / tokens.max(1) as f64;
    Ok(Evaluation {
        tokens,
        loss: per_token,
        perplexity: Some(per_token.exp()),
        bits_per_byte: Some(per_token / std::f64::consts::LN_2 * all as f64 / bytes.max(1) as f64),
        accuracy: Some(right / tokens.max(1) as f64),
        ..Evaluation::default()
    })
}

/// The summed loss of some examples' targets, how many tokens were right, and of how many.
fn losses_of(
    worker: &mut Worker<'_>,
    split: &Split,
    examples: &[usize],
) -> Result<(f64, usize, usize), EngineError> {
    let with_end = |ids: &Vec<u32>| [ids, &[EOS][..]].concat();
    let sources: Vec<_> = examples
        .iter()
        .map(|i| with_end(&split.source[*i]))
        .collect();
    let outputs: Vec<_> = examples
        .iter()
        .map(|i| with_end(&split.target[*i]))
        .collect();
    let inputs: Vec<_> = (examples.iter())
        .map(|i| [&[BOS][..], &split.target[*i]].concat())
        .collect();
    let sources: Vec<&[u32]> = sources.iter().map(Vec::as_slice).collect();
    let memories = worker.read(&sources)?;
    let mut written: Vec<_> = examples.iter().map(|_| worker.begin()).collect();
    let mut targets: Vec<Writing<'_>> = (memories.iter().zip(&mut written).zip(&inputs))
        .map(|((memory, written), tokens)| Writing {
            memory,
            written,
            tokens,
        })
        .collect();
    let (mut loss, mut right, mut count) = (0.0, 0, 0);
    worker.write(&mut targets, |target, index, logits| {
        let (truth, likeliest) = (outputs[target][index] as usize, argmax(logits) as usize);
        loss += loss_of(logits, likeliest, truth);
        right += usize::from(truth == likeliest);
        count += 1;
    })?;
    Ok((loss, right, count))
}

/// The best output for each text, by beam search as `[decode]` says.
///
/// # Errors
/// If the device fails.
pub(crate) fn translate(
    model: &Answering<'_, EncoderDecoder>,
    vocabulary: &SequenceVocabulary,
    config: &RunConfig,
    texts: &[&str],
    device: &Device,
) -> Result<Vec<String>, TrainError> {
    let search = BeamSearch {
        beam: config.decode.beam,
        max_length: config.decode.max_length,
        length_penalty: config.decode.length_penalty as f32,
        begin: BOS,
        end: EOS,
    };
    let sources: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| {
            let mut ids = vocabulary.encode(text);
            ids.truncate(config.data.max_length - 1);
            ids
        })
        .collect();
    let mut outputs = vec![String::new(); texts.len()];
    let mut put = |examples: &[usize], found: Vec<Hypothesis>| {
        for (i, output) in examples.iter().zip(found) {
            outputs[*i] = vocabulary.decode(&output.tokens);
        }
    };
    match model {
        Answering::Tensors(model) => {
            // Sentences of similar length share a batch.
            let mut order: Vec<usize> = (0..texts.len()).collect();
            order.sort_by_key(|i| sources[*i].len());
            for examples in order.chunks(config.decode.batch_size) {
                let batch =
                    PairBatch::new(examples.iter().map(|i| (sources[*i].as_slice(), &[][..])));
                let source = &batch.source;
                let source = Sequences::new(&source.ids, &source.lengths, source.width, device);
                put(examples, model.write(&search, &source, device)?);
            }
        }
        Answering::Engine(engine) => {
            let sources: Vec<Vec<u32>> = (sources.into_iter())
                .map(|source| [&source, &[EOS][..]].concat())
                .collect();
            let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
            let (beam, most) = (search.beam, config.decode.batch_size);
            let jobs = SequenceEngine::writing_jobs(&lengths, beam, most);
            let results = lock(engine).map(jobs.len(), |worker, job| {
                let sources: Vec<&[u32]> = jobs[job].iter().map(|i| &sources[*i][..]).collect();
                search.write(worker, &sources)
            });
            for (examples, found) in jobs.iter().zip(results) {
                put(examples, found?);
            }
        }
    }
    Ok(outputs)
}

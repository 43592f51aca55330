//! The encoder–decoder: reads one sequence and writes another.

use super::{
    SequenceShape, StackWeights, TableWeights,
    block::{Caches, Lane, Span, Stack},
    classifier::read,
    common::Common,
    embedding::{Embedding, head},
    threads::{self, Threads},
};
use crate::{
    EngineError, Options,
    linear::{Inputs, Linear},
};

/// A model that reads one sequence and writes another, for many sequences at once.
#[derive(Debug)]
pub struct SequenceEngine {
    model: Model,
    threads: Threads<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    lane: Lane,
    inputs: Inputs,
    logits: Vec<f32>,
}

#[derive(Debug)]
struct Model {
    common: Common,
    embedding: Embedding,
    encoder: Stack,
    decoder: Stack,
    head: Linear,
}

/// What a decoder reads: keys and values of a source in each of its blocks.
#[derive(Clone, Debug)]
pub struct Memory(Caches);

/// What a decoder has written: keys and values of a target's beginning.
#[derive(Clone, Debug)]
pub struct Written(Caches);

/// The next tokens of a target.
#[derive(Debug)]
pub struct Writing<'a> {
    /// What it reads.
    pub memory: &'a Memory,
    /// What came before.
    pub written: &'a mut Written,
    /// At least one.
    pub tokens: &'a [u32],
}

/// The model on one thread.
#[derive(Debug)]
pub struct Worker<'a> {
    model: &'a Model,
    buffers: &'a mut Buffers,
}

impl Written {
    /// Target tokens written.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }
}

impl SequenceEngine {
    /// Repacks a model's weights for the kernel. Without a head it is the embedding's table.
    ///
    /// # Errors
    ///
    /// If the shape cannot be, a tensor does not fit it, the processor lacks the kernel, or no threads can be started.
    pub fn new(
        shape: SequenceShape,
        embedding: &TableWeights,
        encoder: StackWeights,
        decoder: StackWeights,
        lm_head: Option<&TableWeights>,
        options: Options,
    ) -> Result<SequenceEngine, EngineError> {
        let common = Common::new(shape, options)?;
        let embedding = Embedding::new(&common, embedding)?;
        let dims = [common.shape.vocab_size, common.shape.hidden_size];
        let head = match lm_head {
            Some(weights) => head("lm_head", weights, dims, None, &options)?,
            None => embedding.head(),
        };
        Ok(SequenceEngine {
            model: Model {
                encoder: Stack::new(&common, "encoder", encoder, false)?,
                decoder: Stack::new(&common, "decoder", decoder, true)?,
                embedding,
                head,
                common,
            },
            threads: Threads::new(&options)?,
        })
    }

    /// Does jobs on the threads, each with a worker that has a thread for itself; the results in order. No result depends on
    /// the number of threads.
    pub fn map<R: Send>(
        &mut self,
        jobs: usize,
        work: impl Fn(&mut Worker<'_>, usize) -> R + Sync,
    ) -> Vec<R> {
        let Self { model, threads } = self;
        threads.map(jobs, |buffers, job| {
            work(&mut Worker { model, buffers }, job)
        })
    }

    /// Sequences of these lengths as jobs of at most so many: similar lengths together, the longest first.
    pub fn jobs(lengths: &[usize], most: usize) -> Vec<Vec<usize>> {
        threads::jobs(lengths, most)
    }

    /// Number of token ids.
    pub fn vocab_size(&self) -> usize {
        self.model.common.shape.vocab_size
    }

    /// Bytes of all weights as they are held.
    pub fn weight_bytes(&self) -> usize {
        let Model {
            common: _,
            embedding,
            encoder,
            decoder,
            head,
        } = &self.model;
        embedding.bytes() + encoder.bytes() + decoder.bytes() + head.bytes()
    }
}

impl Worker<'_> {
    /// Reads sources. What is read of one does not depend on the others.
    ///
    /// # Errors
    ///
    /// If a source is empty, too long, or has a token that the model does not know.
    pub fn read(&mut self, sources: &[&[u32]]) -> Result<Vec<Memory>, EngineError> {
        let Model {
            common,
            embedding,
            encoder,
            decoder,
            head: _,
        } = self.model;
        let lane = &mut self.buffers.lane;
        sources
            .iter()
            .try_for_each(|tokens| common.shape.check(tokens))?;
        let mut spans = read(embedding, common.shape.hidden_size, lane, sources);
        encoder.forward(common, lane, &mut spans);
        let spans = spans.into_iter();
        Ok(spans
            .map(|span| Memory(decoder.memory(common, lane, span.rows)))
            .collect())
    }

    /// The beginning of a target.
    pub fn begin(&self) -> Written {
        Written(Caches::new(&self.model.common, &self.model.decoder))
    }

    /// Writes tokens and hands out the logits of what follows each: `each(target, index, logits)` in order.
    ///
    /// # Errors
    ///
    /// If a target gets no tokens, becomes too long, or one is unknown; nothing is written then.
    pub fn write(
        &mut self,
        targets: &mut [Writing<'_>],
        mut each: impl FnMut(usize, usize, &[f32]),
    ) -> Result<(), EngineError> {
        let Model {
            common,
            embedding,
            encoder: _,
            decoder,
            head,
        } = self.model;
        let Buffers {
            lane,
            inputs,
            logits,
        } = &mut *self.buffers;
        let (hidden, positions) = (
            common.shape.hidden_size,
            common.shape.max_position_embeddings,
        );
        for target in &*targets {
            common.shape.check(target.tokens)?;
            let capacity = target.written.len() + target.tokens.len();
            if capacity > positions {
                return Err(EngineError::TooLong {
                    capacity,
                    positions,
                });
            }
        }
        let count: usize = targets.iter().map(|target| target.tokens.len()).sum();
        lane.x.resize(count * hidden, 0.0);
        let (mut spans, mut places, mut row) = (Vec::new(), Vec::with_capacity(count), 0);
        for (index, target) in targets.iter_mut().enumerate() {
            let (start, tokens) = (target.written.len(), target.tokens);
            for (step, token) in tokens.iter().enumerate() {
                let x = &mut lane.x[(row + step) * hidden..][..hidden];
                embedding.row(*token, start + step, x);
                places.push((index, step));
            }
            spans.push(Span {
                rows: row..row + tokens.len(),
                decoding: Some((&mut target.written.0, &target.memory.0)),
            });
            row += tokens.len();
        }
        decoder.forward(common, lane, &mut spans);
        for first in (0..count).step_by(threads::ROWS) {
            let rows = first..count.min(first + threads::ROWS);
            inputs.clear();
            inputs.each_of([head], &lane.x, &rows, (None, 0.0), |_, input| {
                head.whole(input, rows.len(), logits);
            });
            let logits = logits.chunks_exact(common.shape.vocab_size);
            for ((target, index), logits) in places[rows].iter().zip(logits) {
                each(*target, *index, logits);
            }
        }
        Ok(())
    }
}

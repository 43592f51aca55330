//! The encoder–decoder: reads one sequence and writes another.

use super::{
    SequenceShape, StackWeights, TableWeights,
    block::{Caches, Lane, Seen, Span, Stack},
    classifier::read,
    common::Common,
    embedding::{Embedding, head},
    head::{Candidate, Head, Scores},
    outputs::Outputs,
    threads::{self, Threads},
};
use crate::{EngineError, Options};

/// A model that reads one sequence and writes another, for many sequences at once.
#[derive(Debug)]
pub struct SequenceEngine {
    model: Model,
    threads: Threads<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    lane: Lane,
    scores: Scores,
}

#[derive(Debug)]
struct Model {
    common: Common,
    embedding: Embedding,
    encoder: Stack,
    decoder: Stack,
    head: Head,
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

/// The next token of each output of a sequence.
#[derive(Debug)]
pub struct Extending<'a> {
    /// What they read.
    pub memory: &'a Memory,
    /// What came before.
    pub outputs: &'a mut Outputs,
    /// One for each.
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
        let table = Embedding::new(&common, embedding)?;
        let dims = [common.shape.vocab_size, common.shape.hidden_size];
        let head = match lm_head {
            Some(weights) => {
                let whole = head("lm_head", weights, dims, None, &options)?;
                Head::new(whole, weights, dims, &options)?
            }
            None => Head::new(table.head(), embedding, dims, &options)?,
        };
        Ok(SequenceEngine {
            model: Model {
                encoder: Stack::new(&common, "encoder", encoder, false)?,
                decoder: Stack::new(&common, "decoder", decoder, true)?,
                embedding: table,
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

    /// As [`jobs`](Self::jobs) for a search that keeps `beam` outputs of each sequence: those are the rows of a job.
    pub fn writing_jobs(lengths: &[usize], beam: usize, most: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
        let most = (threads::ROWS / beam.max(1)).clamp(1, most.max(1));
        order.chunks(most).map(<[usize]>::to_vec).collect()
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
        let lengths: Vec<usize> = sources.iter().map(|tokens| tokens.len()).collect();
        let mut memories = Vec::with_capacity(sources.len());
        for part in threads::parts(&lengths, usize::MAX) {
            let mut spans = read(embedding, common.shape.hidden_size, lane, &sources[part]);
            encoder.forward(common, lane, &mut spans);
            let spans = spans.into_iter();
            memories.extend(spans.map(|span| Memory(decoder.memory(common, lane, span.rows))));
        }
        Ok(memories)
    }

    /// The beginning of a target.
    pub fn begin(&self) -> Written {
        Written(Caches::new(&self.model.common, &self.model.decoder))
    }

    /// One output without tokens, for a search whose outputs [`extend`](Self::extend) goes on with.
    pub fn begin_search(&self) -> Outputs {
        Outputs::new(self.model.decoder.len())
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
        let Buffers { lane, scores } = &mut *self.buffers;
        let hidden = common.shape.hidden_size;
        for target in &*targets {
            common.shape.check(target.tokens)?;
            common
                .shape
                .check_length(target.written.len() + target.tokens.len())?;
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
                seen: Seen::Written(&mut target.written.0, &target.memory.0),
            });
            row += tokens.len();
        }
        decoder.forward(common, lane, &mut spans);
        head.each(&lane.x, 0..count, scores, |row, logits| {
            let (target, index) = places[row];
            each(target, index, logits);
        });
        Ok(())
    }

    /// Writes a token to each output of each target and hands out the `count` likeliest to follow it, or all if there are
    /// fewer, the likeliest first: `each(row, candidates)` in order, where rows are the outputs of all targets.
    ///
    /// They are found by a head of 8 bits where the vocabulary is large, and scored by the float one. Keys and values are
    /// held in f32, whatever the format of caches.
    ///
    /// # Errors
    ///
    /// If an output becomes too long or a token is unknown; nothing is written then.
    ///
    /// # Panics
    ///
    /// If a target has not as many tokens as outputs.
    pub fn extend(
        &mut self,
        targets: &mut [Extending<'_>],
        count: usize,
        each: impl FnMut(usize, &[Candidate]),
    ) -> Result<(), EngineError> {
        let Model {
            common,
            embedding,
            encoder: _,
            decoder,
            head,
        } = self.model;
        let Buffers { lane, scores } = &mut *self.buffers;
        let hidden = common.shape.hidden_size;
        for target in &*targets {
            let (tokens, outputs) = (target.tokens, &target.outputs);
            assert_eq!(tokens.len(), outputs.count(), "a token for each output");
            common.shape.check_tokens(tokens)?;
            common.shape.check_length(outputs.len() + 1)?;
        }
        let rows: usize = targets.iter().map(|target| target.tokens.len()).sum();
        lane.x.resize(rows * hidden, 0.0);
        let (mut spans, mut row) = (Vec::new(), 0);
        for target in targets {
            let (tokens, position) = (target.tokens, target.outputs.len());
            let x = lane.x[row * hidden..].chunks_exact_mut(hidden);
            for (token, x) in tokens.iter().zip(x) {
                embedding.row(*token, position, x);
            }
            target.outputs.extend(common);
            spans.push(Span {
                rows: row..row + tokens.len(),
                seen: Seen::Outputs(target.outputs, &target.memory.0),
            });
            row += tokens.len();
        }
        decoder.forward(common, lane, &mut spans);
        head.likeliest(&lane.x, 0..rows, count, scores, each);
        Ok(())
    }
}

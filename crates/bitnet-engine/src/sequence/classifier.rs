//! The encoder as a classifier: the mean of its outputs through a float head.

use super::{
    SequenceShape, StackWeights, TableWeights,
    block::{Lane, Seen, Span, Stack},
    common::Common,
    embedding::{Embedding, head},
    threads::{Threads, jobs},
};
use crate::{
    EngineError, Options,
    linear::{Inputs, Linear},
};

/// Sequences in, one score a class out.
#[derive(Debug)]
pub struct ClassifierEngine {
    model: Model,
    threads: Threads<(Lane, Inputs)>,
}

#[derive(Debug)]
struct Model {
    common: Common,
    embedding: Embedding,
    encoder: Stack,
    head: Linear,
    classes: usize,
}

impl ClassifierEngine {
    /// Repacks a model's weights for the kernel.
    ///
    /// # Errors
    ///
    /// If the shape cannot be, a tensor does not fit it, the processor lacks the kernel, or no threads can be started.
    pub fn new(
        shape: SequenceShape,
        embedding: &TableWeights,
        encoder: StackWeights,
        classes: &TableWeights,
        options: Options,
    ) -> Result<ClassifierEngine, EngineError> {
        let common = Common::new(shape, options)?;
        let dims = [classes.rows, common.shape.hidden_size];
        Ok(ClassifierEngine {
            model: Model {
                embedding: Embedding::new(&common, embedding)?,
                encoder: Stack::new(&common, "encoder", encoder, false)?,
                head: head("head", classes, dims, None, &options)?,
                classes: classes.rows,
                common,
            },
            threads: Threads::new(&options)?,
        })
    }

    /// Scores of the classes of each sequence, `[sequences, classes]`. A sequence's scores do not depend on the others.
    ///
    /// # Errors
    ///
    /// If a sequence is empty, too long, or has a token that the model does not know.
    pub fn logits(&mut self, sequences: &[&[u32]]) -> Result<Vec<f32>, EngineError> {
        let Self { model, threads } = self;
        let shape = &model.common.shape;
        sequences
            .iter()
            .try_for_each(|tokens| shape.check(tokens))?;
        let lengths: Vec<usize> = sequences.iter().map(|tokens| tokens.len()).collect();
        let jobs = jobs(&lengths, usize::MAX);
        let results = threads.map(jobs.len(), |(lane, inputs), job| {
            let job: Vec<&[u32]> = jobs[job].iter().map(|index| sequences[*index]).collect();
            model.logits(lane, inputs, &job)
        });
        let mut logits = vec![0.0; sequences.len() * model.classes];
        for (job, found) in jobs.iter().zip(results) {
            for (index, found) in job.iter().zip(found.chunks_exact(model.classes)) {
                logits[index * model.classes..][..model.classes].copy_from_slice(found);
            }
        }
        Ok(logits)
    }

    /// Bytes of all weights as they are held.
    pub fn weight_bytes(&self) -> usize {
        let Model {
            embedding,
            encoder,
            head,
            ..
        } = &self.model;
        embedding.bytes() + encoder.bytes() + head.bytes()
    }
}

impl Model {
    fn logits(&self, lane: &mut Lane, inputs: &mut Inputs, sequences: &[&[u32]]) -> Vec<f32> {
        let hidden = self.common.shape.hidden_size;
        let mut spans = read(&self.embedding, hidden, lane, sequences);
        self.encoder.forward(&self.common, lane, &mut spans);
        let mut means = vec![0.0; sequences.len() * hidden];
        for (span, mean) in spans.iter().zip(means.chunks_exact_mut(hidden)) {
            let share = 1.0 / span.rows.len() as f32;
            for row in span.rows.clone() {
                let x = &lane.x[row * hidden..][..hidden];
                mean.iter_mut()
                    .zip(x)
                    .for_each(|(mean, x)| *mean += x * share);
            }
        }
        let (mut logits, rows) = (Vec::new(), 0..sequences.len());
        inputs.clear();
        inputs.each_of([&self.head], &means, &rows, (None, 0.0), |_, input| {
            self.head.whole(input, rows.len(), &mut logits);
        });
        logits
    }
}

/// Embeds sequences, one after the other, into `lane.x`; their rows.
pub(crate) fn read(
    embedding: &Embedding,
    hidden: usize,
    lane: &mut Lane,
    sequences: &[&[u32]],
) -> Vec<Span<'static>> {
    let count: usize = sequences.iter().map(|tokens| tokens.len()).sum();
    lane.x.resize(count * hidden, 0.0);
    let (mut spans, mut row) = (Vec::with_capacity(sequences.len()), 0);
    for tokens in sequences {
        for (position, token) in tokens.iter().enumerate() {
            let x = &mut lane.x[(row + position) * hidden..][..hidden];
            embedding.row(*token, position, x);
        }
        spans.push(Span {
            rows: row..row + tokens.len(),
            seen: Seen::Itself,
        });
        row += tokens.len();
    }
    spans
}

//! Tokens of several texts in one pass over the weights.
//!
//! A decoded token is one pass over the weights and little arithmetic, so that of several texts takes not much longer than
//! that of one. Texts go through the blocks in chunks, in the order in which they are given; a text longer than what is left
//! of a chunk goes on in the next one.

use bitnet_kernels::Kernel;

use crate::{
    Engine, EngineError, Session,
    engine::Model,
    forward::{CHUNK, LOGIT_ROWS, Span, Workspace},
};

/// A text's share of a pass.
#[derive(Debug)]
pub struct Part<'a> {
    /// The text.
    pub session: &'a mut Session,
    /// What it reads, at least one token.
    pub tokens: &'a [u32],
    /// Which tokens' logits, or hidden states, are handed out.
    pub logits: Wanted,
}

/// Which tokens' results are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Of none: a piece of a prompt that goes on.
    None,
    /// Of the last one.
    Last,
    /// Of all.
    All,
}

impl Part<'_> {
    fn wants(&self, index: usize) -> bool {
        match self.logits {
            Wanted::None => false,
            Wanted::Last => index + 1 == self.tokens.len(),
            Wanted::All => true,
        }
    }
}

impl Engine {
    /// Reads tokens of several texts in one pass over the weights, each as [`Engine::forward`] alone would, bit for bit: a
    /// decode step of many texts, pieces of prompts, or both. `each(part, index, logits)` sees the logits `[vocab_size]`
    /// that the parts want, in order; `index` counts a part's tokens.
    ///
    /// # Errors
    ///
    /// As [`Engine::forward`], of any part; nothing is read then.
    pub fn pass(
        &mut self,
        parts: &mut [Part<'_>],
        each: impl FnMut(usize, usize, &[f32]),
    ) -> Result<(), EngineError> {
        for part in &*parts {
            self.check(part.session, part.tokens)?;
        }
        self.work
            .pass(&self.model, parts, self.options.kernel, each);
        Ok(())
    }

    /// As [`Engine::pass`], with hidden states after the final norm, `[hidden_size]`, in the place of logits: what
    /// embeddings of texts are made of.
    ///
    /// # Errors
    ///
    /// As [`Engine::pass`].
    pub fn hidden_states(
        &mut self,
        parts: &mut [Part<'_>],
        mut each: impl FnMut(usize, usize, &[f32]),
    ) -> Result<(), EngineError> {
        for part in &*parts {
            self.check(part.session, part.tokens)?;
        }
        let (model, kernel) = (&self.model, self.options.kernel);
        self.work.chunks(model, parts, kernel, |work, wanted| {
            for (row, part, index) in wanted {
                each(*part, *index, work.state(model, *row));
            }
        });
        Ok(())
    }
}

/// A wanted token: its row of the chunk, its part and its place there.
type Place = (usize, usize, usize);

impl Workspace {
    /// Reads the parts and hands out the logits that they want.
    pub(crate) fn pass(
        &mut self,
        model: &Model,
        parts: &mut [Part<'_>],
        kernel: Kernel,
        mut each: impl FnMut(usize, usize, &[f32]),
    ) {
        self.chunks(model, parts, kernel, |work, wanted| {
            for wanted in wanted.chunks(LOGIT_ROWS) {
                let rows: Vec<usize> = wanted.iter().map(|(row, ..)| *row).collect();
                let logits = work.head(model, &rows).chunks_exact(model.shape.vocab_size);
                for (logits, (_, part, index)) in logits.zip(wanted) {
                    each(*part, *index, logits);
                }
            }
        });
    }

    /// Reads the parts, and calls `each` after every chunk with what is wanted of it.
    fn chunks(
        &mut self,
        model: &Model,
        parts: &mut [Part<'_>],
        kernel: Kernel,
        mut each: impl FnMut(&mut Workspace, &[Place]),
    ) {
        // The part to go on with, and how many of its tokens are read.
        let (mut first, mut read) = (0, 0);
        while first < parts.len() {
            let (mut spans, mut wanted, mut row) = (Vec::new(), Vec::new(), 0);
            for (at, part) in parts.iter_mut().enumerate().skip(first) {
                let begun = if at == first { read } else { 0 };
                let end = part.tokens.len().min(begun + CHUNK - row);
                let rows = (begun..end).zip(row..);
                let rows = rows.filter(|(index, _)| part.wants(*index));
                wanted.extend(rows.map(|(index, row)| (row, at, index)));
                row += end - begun;
                spans.push(Span {
                    session: &mut *part.session,
                    tokens: &part.tokens[begun..end],
                });
                (first, read) = if end == part.tokens.len() {
                    (at + 1, 0)
                } else {
                    (at, end)
                };
                if row == CHUNK {
                    break;
                }
            }
            self.blocks(model, &mut spans, kernel);
            each(self, &wanted);
        }
    }
}

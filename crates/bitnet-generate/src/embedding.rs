//! A text as one vector: the model's hidden states, pooled.

use bitnet_engine::{Engine, EngineError, Part, Session, Wanted};

/// How a text's hidden states become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// That of the last token, which has read all others.
    Last,
    /// The mean of all.
    Mean,
}

/// A text that is read for its vector, piece by piece.
#[derive(Debug)]
pub struct Embedding {
    tokens: Vec<u32>,
    pooling: Pooling,
    session: Session,
    /// `[hidden_size]`.
    vector: Vec<f32>,
}

impl Embedding {
    /// Of a text that has not been read yet.
    ///
    /// # Errors
    /// If it is longer than the model's context.
    pub fn new(engine: &Engine, tokens: Vec<u32>, pooling: Pooling) -> Result<Self, EngineError> {
        Ok(Self {
            session: engine.session(tokens.len())?,
            vector: vec![0.0; engine.shape().hidden_size],
            tokens,
            pooling,
        })
    }

    /// Reads up to `most` more tokens. Returns whether all have been read. The vector does not depend on how a text is cut.
    ///
    /// # Errors
    /// If a token is not the model's, or there is none.
    pub fn read(&mut self, engine: &mut Engine, most: usize) -> Result<bool, EngineError> {
        let most = most.max(1);
        Self::read_pieces(std::slice::from_mut(self), engine, most)?;
        Ok(self.session.len() == self.tokens.len())
    }

    /// Reads several texts to their ends together. Their vectors are those that each has alone, bit for bit.
    ///
    /// # Errors
    /// As [`Embedding::read`].
    pub fn read_together(texts: &mut [Embedding], engine: &mut Engine) -> Result<(), EngineError> {
        Self::read_pieces(texts, engine, usize::MAX)
    }

    /// Reads up to `most` more tokens of each text.
    fn read_pieces(
        texts: &mut [Embedding],
        engine: &mut Engine,
        most: usize,
    ) -> Result<(), EngineError> {
        let (mut parts, mut vectors) = (Vec::new(), Vec::new());
        for text in texts {
            let (read, all) = (text.session.len(), text.tokens.len());
            let end = all.min(read.saturating_add(most));
            vectors.push((&mut text.vector, text.pooling, all));
            parts.push(Part {
                session: &mut text.session,
                tokens: &text.tokens[read..end],
                logits: match text.pooling {
                    Pooling::Mean => Wanted::All,
                    Pooling::Last if end == all => Wanted::Last,
                    Pooling::Last => Wanted::None,
                },
            });
        }
        engine.hidden_states(&mut parts, |part, _, state| {
            let (vector, pooling, all) = &mut vectors[part];
            match pooling {
                Pooling::Last => vector.copy_from_slice(state),
                Pooling::Mean => {
                    let sums = vector.iter_mut().zip(state);
                    sums.for_each(|(sum, x)| *sum += x / *all as f32);
                }
            }
        })
    }

    /// Its number of tokens.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The vector, `[hidden_size]`; of length 1 if `unit`, unless it is 0. None if a value is not finite.
    pub fn finish(mut self, unit: bool) -> Option<Vec<f32>> {
        if self.vector.iter().any(|x| !x.is_finite()) {
            return None;
        }
        let squares: f64 = self.vector.iter().map(|x| f64::from(*x).powi(2)).sum();
        let length = squares.sqrt();
        if unit && length > 0.0 {
            let values = self.vector.iter_mut();
            values.for_each(|x| *x = (f64::from(*x) / length) as f32);
        }
        Some(self.vector)
    }
}

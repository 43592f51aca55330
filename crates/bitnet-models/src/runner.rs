//! A model as generation sees it: tokens in, logits of the next one out, and a memory of the text so far.
//!
//! Two kinds: [`TensorRunner`] runs a [`Transformer`] on its Burn device, [`EngineRunner`] runs the CPU engine. They are the
//! same model; sums in another order may move an activation over the edge between two int8 codes, so their logits agree
//! closely and not bit for bit.

use bitnet_engine::{Engine, Session};
use bitnet_nn::device_limits;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{GenerateError, KvCache, Transformer};

/// A model that reads a text and tells what may come next.
pub trait Runner {
    /// Most tokens of a text.
    fn context(&self) -> usize;

    /// Number of token ids.
    fn vocab_size(&self) -> usize;

    /// Number of tokens of the text so far.
    fn len(&self) -> usize;

    /// Whether there is no text yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all tokens of the text but the first `len`.
    fn truncate(&mut self, len: usize);

    /// Forgets the text and makes room for one of `capacity` tokens.
    ///
    /// # Errors
    /// If the model takes fewer.
    fn start(&mut self, capacity: usize) -> Result<(), GenerateError>;

    /// Reads tokens after those before and returns the logits that follow the last one, `[vocab_size]`.
    ///
    /// # Errors
    /// If there is no token or no room, one is unknown, or the device fails.
    fn read(&mut self, tokens: &[u32]) -> Result<&[f32], GenerateError>;
}

/// Most tokens that a device reads at once: scores take `heads · PIECE · positions` floats, and a GPU binds only so much.
const PIECE: usize = 512;

/// A [`Transformer`] on its device. It shares the model's tensors.
#[derive(Debug)]
pub struct TensorRunner {
    model: Transformer,
    device: Device,
    cache: Option<KvCache>,
    logits: Vec<f32>,
}

impl TensorRunner {
    /// A runner without a text.
    pub fn new(model: &Transformer, device: &Device) -> Self {
        Self {
            model: model.clone(),
            device: device.clone(),
            cache: None,
            logits: Vec::new(),
        }
    }
}

impl Runner for TensorRunner {
    fn context(&self) -> usize {
        self.model.config().max_position_embeddings
    }

    fn vocab_size(&self) -> usize {
        self.model.config().vocab_size
    }

    fn len(&self) -> usize {
        self.cache.as_ref().map_or(0, KvCache::len)
    }

    fn truncate(&mut self, len: usize) {
        if let Some(cache) = &mut self.cache {
            cache.truncate(len);
        }
    }

    fn start(&mut self, capacity: usize) -> Result<(), GenerateError> {
        check_capacity(self, capacity)?;
        let bytes = KvCache::buffer_bytes(&self.model, capacity);
        if let Some(limits) = device_limits(&self.device)
            && bytes > limits.binding_bytes
        {
            return Err(GenerateError::CacheTooLarge {
                tokens: capacity,
                bytes,
                limit: limits.binding_bytes,
            });
        }
        match &mut self.cache {
            Some(cache) if cache.capacity() == capacity => cache.truncate(0),
            cache => *cache = Some(KvCache::new(&self.model, 1, capacity, &self.device)),
        }
        Ok(())
    }

    fn read(&mut self, tokens: &[u32]) -> Result<&[f32], GenerateError> {
        check_tokens(self, tokens)?;
        let room = self
            .cache
            .as_ref()
            .map_or(0, |cache| cache.capacity() - cache.len());
        let Some(cache) = self.cache.as_mut().filter(|_| tokens.len() <= room) else {
            return Err(GenerateError::Full {
                tokens: tokens.len(),
                room,
            });
        };
        let mut pieces = tokens.chunks(PIECE);
        let last = pieces.next_back().unwrap_or(tokens);
        for piece in pieces {
            self.model
                .forward_cached(token_tensor(piece, &self.device), cache);
        }
        let logits = self
            .model
            .forward_cached(token_tensor(last, &self.device), cache);
        let read = |error: &dyn std::fmt::Display| GenerateError::Read(error.to_string());
        let data = logits.try_into_data().map_err(|error| read(&error))?;
        self.logits = data.try_to_vec::<f32>().map_err(|error| read(&error))?;
        Ok(&self.logits)
    }
}

/// The CPU engine.
#[derive(Debug)]
pub struct EngineRunner {
    /// The model.
    pub engine: Engine,
    session: Option<Session>,
}

impl EngineRunner {
    /// A runner without a text.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            session: None,
        }
    }
}

impl Runner for EngineRunner {
    fn context(&self) -> usize {
        self.engine.shape().max_position_embeddings
    }

    fn vocab_size(&self) -> usize {
        self.engine.shape().vocab_size
    }

    fn len(&self) -> usize {
        self.session.as_ref().map_or(0, Session::len)
    }

    fn truncate(&mut self, len: usize) {
        if let Some(session) = &mut self.session {
            session.truncate(len);
        }
    }

    fn start(&mut self, capacity: usize) -> Result<(), GenerateError> {
        check_capacity(self, capacity)?;
        match &mut self.session {
            Some(session) if session.capacity() == capacity => session.truncate(0),
            session => *session = Some(self.engine.session(capacity)?),
        }
        Ok(())
    }

    fn read(&mut self, tokens: &[u32]) -> Result<&[f32], GenerateError> {
        check_tokens(self, tokens)?;
        let Some(session) = &mut self.session else {
            return Err(GenerateError::Full {
                tokens: tokens.len(),
                room: 0,
            });
        };
        Ok(self.engine.forward(session, tokens)?)
    }
}

fn check_capacity(runner: &impl Runner, capacity: usize) -> Result<(), GenerateError> {
    let context = runner.context();
    match capacity > context {
        true => Err(GenerateError::TooLong {
            tokens: capacity,
            context,
        }),
        false => Ok(()),
    }
}

fn check_tokens(runner: &impl Runner, tokens: &[u32]) -> Result<(), GenerateError> {
    if tokens.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    let vocab_size = runner.vocab_size();
    match tokens.iter().find(|token| **token as usize >= vocab_size) {
        Some(&token) => Err(GenerateError::UnknownToken { token, vocab_size }),
        None => Ok(()),
    }
}

/// Token ids as a batch of one, `[1, t]`.
fn token_tensor(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = tokens.iter().map(|&t| t as i32).collect();
    Tensor::from_data(
        TensorData::new(ids, [1, tokens.len()]),
        (device, DType::I32),
    )
}

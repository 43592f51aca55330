//! The key/value cache of decoding: buffers made once for the longest sequence, written in place.

use burn::tensor::{Bool, Device, Tensor};

use crate::Transformer;
use crate::attention::causal_mask;

/// Attention of many queries reads the cache in steps of this many positions (the rest is masked), so that a GPU
/// backend meets a handful of shapes, and tunes its kernels for them once, however long the text grows.
const STEP: usize = 64;

/// Keys and values of one layer, `[batch, kv_heads, positions, head_dim]`.
#[derive(Clone, Debug)]
pub(crate) struct LayerCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

/// The cache of a model: one buffer pair per layer, and how many positions are filled.
#[derive(Clone, Debug)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    len: usize,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for `batch` sequences of up to `capacity` tokens, of the type of the model's activations.
    pub fn new(model: &Transformer, batch: usize, capacity: usize, device: &Device) -> Self {
        let (config, dtype) = (model.config(), model.dtype());
        let positions = capacity.next_multiple_of(STEP);
        let shape = [batch, config.kv_heads(), positions, config.head_width()];
        let buffer = || Tensor::zeros(shape, (device, dtype));
        let layers = (0..config.num_hidden_layers)
            .map(|_| LayerCache {
                keys: buffer(),
                values: buffer(),
            })
            .collect();
        Self {
            layers,
            len: 0,
            capacity,
        }
    }

    /// Bytes of the keys, or of the values, of one layer and one sequence of up to `capacity` tokens.
    pub fn buffer_bytes(model: &Transformer, capacity: usize) -> u64 {
        let (config, positions) = (model.config(), capacity.next_multiple_of(STEP));
        (positions * config.kv_heads() * config.head_width() * model.dtype().size()) as u64
    }

    /// Number of tokens seen.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token has been seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets all tokens but the first `len`; the buffers stay.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

impl LayerCache {
    /// Writes keys and values `[batch, kv_heads, time, head_dim]` at `offset`.
    pub fn write(&mut self, k_bgtd: Tensor<4>, v_bgtd: Tensor<4>, offset: usize) {
        let write = |buffer: &mut Tensor<4>, new: Tensor<4>| {
            let [batch, heads, time, width] = new.dims();
            // Taking the buffer out leaves it with one owner, so that the backend writes in place.
            let old = std::mem::replace(buffer, Tensor::empty([1, 1, 1, 1], &new.device()));
            let range = [0..batch, 0..heads, offset..offset + time, 0..width];
            *buffer = old.slice_assign(range, new);
        };
        write(&mut self.keys, k_bgtd);
        write(&mut self.values, v_bgtd);
    }

    /// All keys and values, of positions not written too.
    pub fn whole(&self) -> (Tensor<4>, Tensor<4>) {
        (self.keys.clone(), self.values.clone())
    }

    /// Those of the first `len` positions, rounded up to the step.
    pub fn visible(&self, len: usize) -> (Tensor<4>, Tensor<4>) {
        let visible = len.next_multiple_of(STEP);
        let narrow = |buffer: &Tensor<4>| buffer.clone().narrow(2, 0, visible);
        (narrow(&self.keys), narrow(&self.values))
    }

    /// The causal mask, true at future positions, for `time` queries from `offset` on and the keys that are
    /// [`visible`](Self::visible) to the last.
    pub fn mask(&self, time: usize, offset: usize) -> Tensor<2, Bool> {
        let visible = (offset + time).next_multiple_of(STEP);
        causal_mask(time, visible, offset, &self.keys.device())
    }
}

//! The keys and values of a text so far.
//!
//! They lie as attention reads them (`bitnet_kernels::Panels`): the keys of 16 positions side by side, so that a query's
//! scores are the product of a row and a matrix; and the values row by row, so that their weighted sum is one too.
//! Writing a key costs scattered stores, reading all of them is a stream.

use bitnet_kernels::{FloatFormat, GROUP, KeysValues, Line, Panels};

use crate::{EngineError, Shape};

/// Keys and values of one key/value head in one block.
#[derive(Clone, Debug)]
pub(crate) struct HeadCache {
    format: FloatFormat,
    /// `[positions / 16]` groups of `head_dim` elements.
    keys: Vec<Line>,
    /// `[positions]` elements of `head_dim / 16` groups, which lie side by side.
    values: Vec<Line>,
    width: usize,
}

/// A text that a model reads and continues: its key/value cache, made once for the longest text.
#[derive(Clone, Debug)]
pub struct Session {
    /// `[layer][head]`.
    pub(crate) layers: Vec<Vec<HeadCache>>,
    pub(crate) len: usize,
    capacity: usize,
}

impl Session {
    /// # Errors
    ///
    /// If `capacity` exceeds the model's positions.
    pub(crate) fn new(
        shape: &Shape,
        capacity: usize,
        format: FloatFormat,
    ) -> Result<Session, EngineError> {
        let positions = shape.max_position_embeddings;
        if capacity > positions {
            return Err(EngineError::TooLong {
                capacity,
                positions,
            });
        }
        let head = HeadCache::new(
            shape.head_dim,
            capacity.next_multiple_of(KeysValues::POSITIONS),
            format,
        );
        let heads = vec![head; shape.num_key_value_heads];
        Ok(Session {
            layers: vec![heads; shape.num_hidden_layers],
            len: 0,
            capacity,
        })
    }

    /// Number of tokens in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets all tokens but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        let heads = self.layers.iter().flatten();
        heads
            .map(|head| size_of_val(&head.keys[..]) + size_of_val(&head.values[..]))
            .sum()
    }

    /// Whether it was made for a model of this shape.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        self.layers.len() == shape.num_hidden_layers
            && self.layers.iter().all(|heads| {
                heads.len() == shape.num_key_value_heads
                    && heads.iter().all(|head| head.width == shape.head_dim)
            })
    }
}

impl HeadCache {
    fn new(width: usize, positions: usize, format: FloatFormat) -> HeadCache {
        let per_lane = format.per_lane();
        let columns = width.div_ceil(GROUP);
        HeadCache {
            format,
            keys: vec![Line::ZERO; positions / GROUP * width.div_ceil(per_lane)],
            values: vec![Line::ZERO; columns * positions.div_ceil(per_lane)],
            width,
        }
    }

    /// Width of the head.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// All keys and values, as attention reads them.
    pub(crate) fn keys_values(&self) -> KeysValues<'_> {
        let (format, columns) = (self.format, self.width.div_ceil(GROUP));
        let depth = self.key_lines();
        KeysValues {
            keys: Panels {
                format,
                lines: &self.keys,
                depth,
                stride: depth,
                step: 1,
            },
            values: Panels {
                format,
                lines: &self.values,
                depth: self.values.len() / columns,
                stride: 1,
                step: columns,
            },
            width: self.width,
        }
    }

    fn key_lines(&self) -> usize {
        self.width.div_ceil(self.format.per_lane())
    }

    /// Writes the key of a position.
    pub(crate) fn set_key(&mut self, position: usize, key: &[f32]) {
        let lines = self.key_lines();
        let group = &mut self.keys[position / GROUP * lines..][..lines];
        for (k, value) in key.iter().enumerate() {
            self.format.set(group, position % GROUP, k, *value);
        }
    }

    /// Writes the keys of a whole group of 16 positions, the first of which is `position`, `[16, width]`.
    pub(crate) fn set_keys(&mut self, position: usize, keys: &[f32]) {
        let lines = self.key_lines();
        let group = &mut self.keys[position / GROUP * lines..][..lines];
        self.format.set_rows(group, keys);
    }

    /// Writes the value of a position, which comes after those before it.
    pub(crate) fn set_value(&mut self, position: usize, value: &[f32]) {
        let (columns, per_lane) = (self.width.div_ceil(GROUP), self.format.per_lane());
        let lines = &mut self.values[position / per_lane * columns..][..columns];
        for (line, columns) in lines.iter_mut().zip(value.chunks(GROUP)) {
            let mut lanes = [0.0; GROUP];
            lanes[..columns.len()].copy_from_slice(columns);
            self.format.set_all(line, position % per_lane, lanes);
        }
    }
}

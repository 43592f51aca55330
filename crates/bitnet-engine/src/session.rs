//! The keys and values of a text so far.
//!
//! They lie as attention reads them (`bitnet_kernels::Panels`): the keys of 16 positions side by side, so that a query's
//! scores are the product of a row and a matrix; and the values row by row, so that their weighted sum is one too.
//! Writing a key costs scattered stores, reading all of them is a stream. In int8 each key and each value has a scale.

use bitnet_kernels::{FloatFormat, GROUP, Kernel, KeysValues, Line, Panels, int8_codes};

use crate::{EngineError, Shape};

/// Keys and values of one key/value head in one block.
#[derive(Clone, Debug)]
pub(crate) struct HeadCache {
    format: FloatFormat,
    /// `[positions / 16]` groups of `head_dim` elements.
    keys: Vec<Line>,
    /// `[positions]` elements of `head_dim / 16` groups, which lie side by side.
    values: Vec<Line>,
    /// Of keys and of values in int8, what the codes of each position are to be multiplied by; empty for floats.
    factors: [Vec<f32>; 2],
    width: usize,
}

/// A text that a model reads and continues: its key/value cache, which takes what its longest text needs and no more.
#[derive(Clone, Debug)]
pub struct Session {
    /// `[layers, heads]`.
    pub(crate) heads: Vec<HeadCache>,
    pub(crate) len: usize,
    capacity: usize,
    layers: usize,
    /// Those of the model.
    positions: usize,
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
        let head = HeadCache::new(shape.head_dim, format);
        let mut session = Session {
            heads: vec![head; shape.num_hidden_layers * shape.num_key_value_heads],
            len: 0,
            capacity: 0,
            layers: shape.num_hidden_layers,
            positions,
        };
        session.reserve(capacity)?;
        Ok(session)
    }

    /// Makes room for `capacity` tokens, those in it included; it never makes less.
    ///
    /// # Errors
    ///
    /// If the model has fewer positions.
    pub fn reserve(&mut self, capacity: usize) -> Result<(), EngineError> {
        let positions = self.positions;
        if capacity > positions {
            return Err(EngineError::TooLong {
                capacity,
                positions,
            });
        }
        if capacity > self.capacity {
            self.resize(capacity);
        }
        Ok(())
    }

    /// Gives back the room that its tokens do not take.
    pub fn shrink(&mut self) {
        self.resize(self.len);
    }

    /// A session of the first `len` tokens of this one, or of all if it has fewer, with room for `capacity`.
    ///
    /// # Errors
    ///
    /// If the model has fewer positions than `capacity`, or they are fewer than the tokens.
    pub fn copy(&self, len: usize, capacity: usize) -> Result<Session, EngineError> {
        let (len, positions) = (len.min(self.len), self.positions);
        if capacity > positions || capacity < len {
            return Err(EngineError::TooLong {
                capacity: capacity.max(len),
                positions: positions.min(capacity),
            });
        }
        let held = capacity.next_multiple_of(KeysValues::POSITIONS);
        Ok(Session {
            heads: self.heads.iter().map(|head| head.copy(len, held)).collect(),
            len,
            capacity,
            ..*self
        })
    }

    fn resize(&mut self, capacity: usize) {
        let held = capacity.next_multiple_of(KeysValues::POSITIONS);
        self.heads.iter_mut().for_each(|head| head.resize(held));
        self.capacity = capacity;
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
        self.heads.iter().map(HeadCache::bytes).sum()
    }

    /// Whether it was made for a model of this shape.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        self.layers == shape.num_hidden_layers
            && self.heads.len() == self.layers * shape.num_key_value_heads
            && self.heads.iter().all(|head| head.width == shape.head_dim)
            && self.positions == shape.max_position_embeddings
    }
}

impl HeadCache {
    /// Without positions.
    pub(crate) fn new(width: usize, format: FloatFormat) -> HeadCache {
        HeadCache {
            format,
            keys: Vec::new(),
            values: Vec::new(),
            factors: [Vec::new(), Vec::new()],
            width,
        }
    }

    fn bytes(&self) -> usize {
        let factors = self
            .factors
            .each_ref()
            .map(|factors| size_of_val(&factors[..]));
        let lines = size_of_val(&self.keys[..]) + size_of_val(&self.values[..]);
        lines + factors.into_iter().sum::<usize>()
    }

    /// Makes room for `positions` at least.
    pub(crate) fn reserve(&mut self, positions: usize) {
        let held = positions.next_multiple_of(KeysValues::POSITIONS);
        if self.values_of(held) > self.values.len() {
            self.resize(held);
        }
    }

    /// Makes room for `positions`, whole groups; those that it has stay.
    fn resize(&mut self, positions: usize) {
        let (keys, values) = (self.keys_of(positions), self.values_of(positions));
        for (lines, count) in [(&mut self.keys, keys), (&mut self.values, values)] {
            lines.reserve_exact(count.saturating_sub(lines.len()));
            lines.resize(count, Line::ZERO);
            lines.shrink_to_fit();
        }
        let count = self.factors_of(positions);
        for factors in &mut self.factors {
            factors.reserve_exact(count.saturating_sub(factors.len()));
            factors.resize(count, 0.0);
            factors.shrink_to_fit();
        }
    }

    /// The first `len` positions in room for `positions`, whole groups. Nothing of later ones comes along: what is not
    /// written must be finite.
    fn copy(&self, len: usize, positions: usize) -> HeadCache {
        let with_room = |lines: &[Line], count| {
            let mut copy = Vec::with_capacity(count);
            copy.extend_from_slice(lines);
            copy.resize(count, Line::ZERO);
            copy
        };
        let keys = &self.keys[..self.keys_of(len.next_multiple_of(GROUP))];
        let values = &self.values[..self.values_of(len)];
        let mut values = with_room(values, self.values_of(positions));
        let (columns, per_lane) = (self.width.div_ceil(GROUP), self.format.per_lane());
        if !len.is_multiple_of(per_lane) {
            let half = &mut values[len / per_lane * columns..][..columns];
            let clear = |line| self.format.set_all(line, len % per_lane, [0.0; GROUP]);
            half.iter_mut().for_each(clear);
        }
        let factors = self.factors.each_ref().map(|factors| {
            let mut copy = factors[..self.factors_of(len)].to_vec();
            copy.resize(self.factors_of(positions), 0.0);
            copy
        });
        HeadCache {
            format: self.format,
            keys: with_room(keys, self.keys_of(positions)),
            values,
            factors,
            width: self.width,
        }
    }

    /// Lines of the keys of so many positions, whole groups.
    fn keys_of(&self, positions: usize) -> usize {
        positions / GROUP * self.key_lines()
    }

    /// Lines of the values of so many positions.
    fn values_of(&self, positions: usize) -> usize {
        self.width.div_ceil(GROUP) * positions.div_ceil(self.format.per_lane())
    }

    /// Factors of so many positions' keys, and of their values.
    fn factors_of(&self, positions: usize) -> usize {
        match self.format {
            FloatFormat::Int8 => positions,
            FloatFormat::F32 | FloatFormat::Bf16 => 0,
        }
    }

    /// Bytes of factors that a position of a head takes.
    pub(crate) fn factor_bytes(format: FloatFormat) -> usize {
        2 * size_of::<f32>() * HeadCache::new(0, format).factors_of(1)
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
            factors: self.factors.each_ref().map(Vec::as_slice),
        }
    }

    fn key_lines(&self) -> usize {
        self.width.div_ceil(self.format.per_lane())
    }

    /// Writes keys, `[rows, width]` from `position` on: one, or a whole group of 16 positions. Keys in int8 become codes.
    pub(crate) fn set_keys(&mut self, kernel: Kernel, position: usize, keys: &mut [f32]) {
        let lines = self.key_lines();
        let group = &mut self.keys[position / GROUP * lines..][..lines];
        if self.format == FloatFormat::Int8 {
            let factors = &mut self.factors[0][position..];
            for (key, factor) in keys.chunks_exact_mut(self.width).zip(factors) {
                *factor = int8_codes(kernel, key);
            }
        }
        if keys.len() == GROUP * self.width {
            return self.format.set_rows(group, keys);
        }
        for (k, value) in keys.iter().enumerate() {
            self.format.set(group, position % GROUP, k, *value);
        }
    }

    /// Writes the value of a position, which comes after those before it. Codes take `buffer`.
    pub(crate) fn set_value(
        &mut self,
        kernel: Kernel,
        position: usize,
        value: &[f32],
        buffer: &mut Vec<f32>,
    ) {
        let (columns, per_lane) = (self.width.div_ceil(GROUP), self.format.per_lane());
        let lines = &mut self.values[position / per_lane * columns..][..columns];
        let value = match self.format {
            FloatFormat::Int8 => {
                buffer.clear();
                buffer.extend_from_slice(value);
                self.factors[1][position] = int8_codes(kernel, buffer);
                &buffer[..]
            }
            FloatFormat::F32 | FloatFormat::Bf16 => value,
        };
        for (line, columns) in lines.iter_mut().zip(value.chunks(GROUP)) {
            let mut lanes = [0.0; GROUP];
            lanes[..columns.len()].copy_from_slice(columns);
            self.format.set_all(line, position % per_lane, lanes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_nothing_of_what_follows() {
        for format in FloatFormat::ALL {
            let (kernel, buffer) = (Kernel::SCALAR, &mut Vec::new());
            let mut head = HeadCache::new(3, format);
            head.resize(64);
            for position in 0..40 {
                let value = if position < 33 { 1.0 } else { f32::NAN };
                head.set_keys(kernel, position, &mut [1.0; 3]);
                head.set_value(kernel, position, &[value; 3], buffer);
            }
            let mut expected = HeadCache::new(3, format);
            expected.resize(96);
            for position in 0..33 {
                expected.set_value(kernel, position, &[1.0; 3], buffer);
            }
            let copy = head.copy(33, 96);
            assert_eq!(copy.values, expected.values, "{format}");
            assert_eq!(copy.factors[1], expected.factors[1], "{format}");
        }
    }
}

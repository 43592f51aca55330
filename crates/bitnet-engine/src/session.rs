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
        let heads = self.heads.iter();
        heads
            .map(|head| size_of_val(&head.keys[..]) + size_of_val(&head.values[..]))
            .sum()
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
    fn new(width: usize, format: FloatFormat) -> HeadCache {
        HeadCache {
            format,
            keys: Vec::new(),
            values: Vec::new(),
            width,
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
        HeadCache {
            format: self.format,
            keys: with_room(keys, self.keys_of(positions)),
            values,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_nothing_of_what_follows() {
        for format in FloatFormat::ALL {
            let mut head = HeadCache::new(3, format);
            head.resize(64);
            for position in 0..40 {
                let value = if position < 33 { 1.0 } else { f32::NAN };
                head.set_key(position, &[1.0; 3]);
                head.set_value(position, &[value; 3]);
            }
            let mut expected = HeadCache::new(3, format);
            expected.resize(96);
            (0..33).for_each(|position| expected.set_value(position, &[1.0; 3]));
            assert_eq!(head.copy(33, 96).values, expected.values, "{format}");
        }
    }
}

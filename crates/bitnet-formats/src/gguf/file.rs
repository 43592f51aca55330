//! An open GGUF file: its keys and tensors by name, decoded one at a time.

use std::path::Path;

use super::{
    header::{self, Header},
    layout,
    value::Value,
};
use crate::{
    Error, FileBytes, I2sOrder, TensorType, TernaryTensor, blocks::decode_ternary, error::Fault,
};

/// A GGUF file, checked when it was opened.
#[derive(Debug)]
pub struct GgufFile {
    bytes: FileBytes,
    /// Its entries are in the order of their data.
    header: Header,
    /// The type that the number 42 stands for in this file.
    type_42: TensorType,
    /// Indices of `entries`, sorted by name.
    by_name: Vec<u32>,
    order: I2sOrder,
}

/// A tensor of a GGUF file, not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct GgufTensor<'a> {
    file: &'a GgufFile,
    index: usize,
}

impl GgufFile {
    /// Maps a file and checks its header. See [`FileBytes::open`] on changing it meanwhile.
    ///
    /// # Errors
    ///
    /// If it cannot be read, contradicts the format, or holds a type of tensor that is not read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_bytes(FileBytes::open(path.as_ref())?)
    }

    /// Checks a file that is open.
    ///
    /// # Errors
    ///
    /// As [`GgufFile::open`].
    pub fn from_bytes(bytes: FileBytes) -> Result<Self, Error> {
        let read = || {
            let mut header = header::read(&bytes)?;
            header.entries.sort_unstable_by_key(|entry| entry.offset);
            let type_42 = layout::check(&bytes, &header)?;
            let entries = &header.entries;
            // A file of 2^32 tensors would have 140 GB of entries.
            let mut by_name: Vec<u32> = (0..entries.len() as u32).collect();
            let name = |index: &u32| entries[*index as usize].name(&bytes);
            by_name.sort_unstable_by_key(name);
            match by_name
                .windows(2)
                .find(|pair| name(&pair[0]) == name(&pair[1]))
            {
                Some(pair) => Err(Fault::tensor(name(&pair[0]), "stands twice, expected once")),
                None => Ok((header, type_42, by_name)),
            }
        };
        let (header, type_42, by_name) = read().map_err(|fault| fault.within(bytes.path()))?;
        Ok(Self {
            bytes,
            header,
            type_42,
            by_name,
            order: I2sOrder::default(),
        })
    }

    /// States the order of I2_S tensors, which the file does not tell.
    pub fn with_i2s_order(mut self, order: I2sOrder) -> Self {
        self.order = order;
        self
    }

    /// The order in which I2_S tensors are read.
    pub fn i2s_order(&self) -> I2sOrder {
        self.order
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.bytes.path()
    }

    /// 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// Tensors start at multiples of this.
    pub fn alignment(&self) -> u64 {
        self.header.alignment
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        let found = self
            .header
            .keys
            .binary_search_by_key(&key, |key| key.name(&self.bytes));
        self.header.keys[found.ok()?].value(&self.bytes)
    }

    /// All metadata, by name.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> {
        self.header.keys.iter().map(|key| {
            let value = key.value(&self.bytes).unwrap_or(Value::Bool(false));
            (key.name(&self.bytes), value)
        })
    }

    /// A tensor by its name.
    pub fn tensor(&self, name: &str) -> Option<GgufTensor<'_>> {
        let name_of = |index: &u32| self.header.entries[*index as usize].name(&self.bytes);
        let found = self.by_name.binary_search_by_key(&name, name_of).ok()?;
        let index = self.by_name[found] as usize;
        Some(GgufTensor { file: self, index })
    }

    /// All tensors, in the order of their data.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = GgufTensor<'_>> {
        (0..self.header.entries.len()).map(|index| GgufTensor { file: self, index })
    }
}

impl<'a> GgufTensor<'a> {
    /// The name.
    pub fn name(&self) -> &'a str {
        self.file.header.entries[self.index].name(&self.file.bytes)
    }

    /// The shape, row-major: columns last, the reverse of the order in the file.
    pub fn shape(&self) -> Vec<usize> {
        let dims = self.file.header.entries[self.index].dims().iter().rev();
        dims.map(|dim| *dim as usize).collect()
    }

    /// All dimensions but the last as one, and the last.
    pub fn rows_cols(&self) -> (usize, usize) {
        let (rows, cols) = self.file.header.entries[self.index].rows_cols();
        (rows as usize, cols as usize)
    }

    /// How the weights are stored.
    pub fn tensor_type(&self) -> TensorType {
        let id = self.file.header.entries[self.index].type_id;
        match TensorType::from_id(id) {
            Some(TensorType::Q2_0) => self.file.type_42,
            // Known when the file was opened.
            ty => ty.unwrap_or(TensorType::F32),
        }
    }

    /// The weights as stored.
    pub fn bytes(&self) -> &'a [u8] {
        let entry = &self.file.header.entries[self.index];
        let (rows, cols) = entry.rows_cols();
        let len = self.tensor_type().byte_len(rows, cols).unwrap_or_default();
        let start = self.file.header.data_at + entry.offset;
        &self.file.bytes[start as usize..][..len as usize]
    }

    /// Decodes the weights to floats, row-major.
    ///
    /// # Errors
    ///
    /// If I2_S holds a code or a scale that is none. Other types decode whatever they hold, NaN included.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        let (rows, cols) = self.rows_cols();
        let decoded = self
            .tensor_type()
            .decode_floats(self.file.order, self.bytes(), rows, cols);
        decoded.map_err(|error| self.fault(error))
    }

    /// Decodes one row to floats.
    ///
    /// # Errors
    ///
    /// If there is no such row, or the type is I2_S, whose rows do not stand by themselves.
    pub(crate) fn row_to_f32(&self, row: usize, out: &mut [f32]) -> Result<(), Error> {
        let ty = self.tensor_type();
        let (rows, cols) = self.rows_cols();
        if row >= rows || out.len() != cols || ty == TensorType::I2S {
            return Err(self.fault(format!("{ty} has no row {row} of {} weights", out.len())));
        }
        let size = self.bytes().len() / rows;
        let decoded = ty.decode_floats(
            self.file.order,
            &self.bytes()[row * size..][..size],
            1,
            cols,
        );
        out.copy_from_slice(&decoded.map_err(|error| self.fault(error))?);
        Ok(())
    }

    /// Says that the weights are not needed any more.
    pub(crate) fn release(&self) {
        self.file.bytes.release(self.bytes());
    }

    /// Decodes a ternary tensor to codes and scales; `None` if its type is another.
    ///
    /// # Errors
    ///
    /// If a code is not ternary or a scale is not finite.
    pub fn to_ternary(&self) -> Result<Option<TernaryTensor>, Error> {
        let ty = self.tensor_type();
        if !ty.is_ternary() {
            return Ok(None);
        }
        let (rows, cols) = self.rows_cols();
        let decoded = decode_ternary(ty, self.file.order, self.bytes(), rows, cols);
        decoded.map(Some).map_err(|error| self.fault(error))
    }

    fn fault(&self, problem: impl std::fmt::Display) -> Error {
        Fault::tensor(self.name(), problem).within(self.file.path())
    }
}

//! Writes GGUF files, version 3: the header first, then one tensor after the other, so that no more than one is in memory.

use std::path::PathBuf;

use super::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC,
    value::{Value, write_str},
};
use crate::{
    Error, I2sOrder, TensorType, TernaryTensor,
    atomic_file::AtomicFile,
    blocks::encode_ternary,
    error::{Fault, Place},
};

/// What a file will hold: its metadata, and the names, shapes and types of its tensors.
#[derive(Debug, Default)]
pub struct GgufWriter {
    keys: Vec<u8>,
    key_count: u64,
    alignment: Option<u64>,
    tensors: Vec<Planned>,
}

#[derive(Clone, Debug)]
struct Planned {
    name: String,
    /// Row-major.
    shape: Vec<usize>,
    ty: TensorType,
}

impl Planned {
    fn rows_cols(&self) -> (usize, usize) {
        let cols = self.shape.last().copied().unwrap_or(1);
        (self.shape.iter().rev().skip(1).product(), cols)
    }

    fn byte_len(&self) -> Option<u64> {
        let (rows, cols) = self.rows_cols();
        self.ty.byte_len(rows as u64, cols as u64)
    }
}

impl GgufWriter {
    /// Adds a key. Keys are written in the order in which they are added.
    pub fn key(&mut self, name: &str, value: &Value<'_>) {
        if name == ALIGNMENT_KEY {
            self.alignment = value.as_u64().filter(|n| n.is_power_of_two());
        }
        write_str(name, &mut self.keys);
        value.write_typed(&mut self.keys);
        self.key_count += 1;
    }

    /// Adds a tensor. Shapes are row-major, columns last. Its data is written later, in the same order.
    pub fn tensor(&mut self, name: &str, shape: &[usize], ty: TensorType) {
        self.tensors.push(Planned {
            name: name.into(),
            shape: shape.into(),
            ty,
        });
    }

    /// Checks that every shape fits its type, then starts the file. It appears at `path` when it is complete.
    ///
    /// # Errors
    ///
    /// If a tensor's rows are not whole blocks of its type, before anything is written; if the folder cannot be written.
    pub fn create(&self, path: impl Into<PathBuf>) -> Result<GgufStream<'_>, Error> {
        let path = path.into();
        for tensor in &self.tensors {
            let (_, cols) = tensor.rows_cols();
            let fault = |error| Fault::tensor(&tensor.name, error).within(&path);
            tensor.ty.check_cols(cols).map_err(fault)?;
        }
        let mut out = AtomicFile::create(path)?;
        out.write(&self.header())?;
        out.pad(self.alignment())?;
        Ok(GgufStream {
            plan: self,
            out,
            next: 0,
        })
    }

    fn alignment(&self) -> u64 {
        self.alignment.unwrap_or(DEFAULT_ALIGNMENT)
    }

    fn header(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend(self.key_count.to_le_bytes());
        out.extend(&self.keys);
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            write_str(&tensor.name, &mut out);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            for dim in tensor.shape.iter().rev() {
                out.extend((*dim as u64).to_le_bytes());
            }
            out.extend(tensor.ty.id().to_le_bytes());
            out.extend(offset.to_le_bytes());
            let len = tensor.byte_len().unwrap_or_default();
            offset += len.next_multiple_of(self.alignment());
        }
        out
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct GgufStream<'a> {
    plan: &'a GgufWriter,
    out: AtomicFile,
    /// The tensor that comes next.
    next: usize,
}

impl GgufStream<'_> {
    /// Writes the next tensor as it is stored.
    ///
    /// # Errors
    ///
    /// If there is no next tensor, the bytes have another length than its type and shape, or writing fails.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (expected, found) = (self.planned()?.byte_len(), bytes.len() as u64);
        if expected != Some(found) {
            let problem = format!("{found} bytes, expected {}", expected.unwrap_or_default());
            return Err(self.fault(problem));
        }
        self.out.write(bytes)?;
        self.out.pad(self.plan.alignment())?;
        self.next += 1;
        Ok(())
    }

    /// Encodes and writes the next tensor.
    ///
    /// # Errors
    ///
    /// As [`GgufStream::bytes`], and if the type cannot hold a value.
    pub fn floats(&mut self, values: &[f32]) -> Result<(), Error> {
        let planned = self.planned()?;
        let encoded = planned.ty.encode_floats(values, planned.rows_cols().1);
        let bytes = encoded.map_err(|error| self.fault(error))?;
        self.bytes(&bytes)
    }

    /// Encodes and writes the next tensor from codes, I2_S in the order of x86.
    ///
    /// # Errors
    ///
    /// As [`GgufStream::bytes`], and if the type cannot hold the codes with their scales.
    pub fn ternary(&mut self, tensor: &TernaryTensor) -> Result<(), Error> {
        let encoded = encode_ternary(tensor, self.planned()?.ty, I2sOrder::X86);
        let bytes = encoded.map_err(|error| self.fault(error))?;
        self.bytes(&bytes)
    }

    /// Completes the file: it is flushed to the disk and renamed to its path.
    ///
    /// # Errors
    ///
    /// If tensors are missing or writing fails.
    pub fn finish(self) -> Result<(), Error> {
        if let Some(missing) = self.plan.tensors.get(self.next) {
            let fault = Fault::tensor(&missing.name, "has no data yet");
            return Err(fault.within(self.out.path()));
        }
        self.out.finish()
    }

    fn planned(&self) -> Result<&Planned, Error> {
        let fault = || Fault::malformed(Place::File, "all tensors are written already");
        let planned = self.plan.tensors.get(self.next);
        planned.ok_or_else(|| fault().within(self.out.path()))
    }

    fn fault(&self, problem: impl std::fmt::Display) -> Error {
        let name = self.plan.tensors.get(self.next).map_or("", |t| &t.name);
        Fault::tensor(name, problem).within(self.out.path())
    }
}

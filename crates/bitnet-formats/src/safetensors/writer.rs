//! Writes a safetensors file: the header first, then one tensor after the other.

use std::path::PathBuf;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::header::Dtype;
use crate::{
    Error,
    atomic_file::AtomicFile,
    error::{Fault, Place},
};

/// What a file will hold: the names, types and shapes of its tensors.
#[derive(Debug, Default)]
pub struct SafetensorsWriter {
    tensors: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Planned {
    fn byte_len(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.bytes()
    }
}

impl SafetensorsWriter {
    /// Adds a tensor. Its data is written later, in the same order.
    pub fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize]) {
        self.tensors.push(Planned {
            name: name.into(),
            dtype,
            shape: shape.into(),
        });
    }

    /// Starts the file. It appears at `path` when it is complete.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn create(&self, path: impl Into<PathBuf>) -> Result<SafetensorsStream<'_>, Error> {
        let mut out = AtomicFile::create(path.into())?;
        let json =
            serde_json::to_vec(self).map_err(|error| Error::write(out.path())(error.into()))?;
        // Spaces up to a multiple of 8, so that data is aligned when the file is mapped.
        let padded = json.len().next_multiple_of(8);
        out.write(&(padded as u64).to_le_bytes())?;
        out.write(&json)?;
        out.write(&vec![b' '; padded - json.len()])?;
        Ok(SafetensorsStream {
            plan: self,
            out,
            next: 0,
        })
    }
}

/// The header: `format` as transformers demands it, then the tensors with their offsets.
impl Serialize for SafetensorsWriter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Entry<'a> {
            dtype: Dtype,
            shape: &'a [usize],
            data_offsets: [u64; 2],
        }
        #[derive(serde::Serialize)]
        struct Metadata {
            format: &'static str,
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("__metadata__", &Metadata { format: "pt" })?;
        let mut start = 0;
        for tensor in &self.tensors {
            let end = start + tensor.byte_len();
            let entry = Entry {
                dtype: tensor.dtype,
                shape: &tensor.shape,
                data_offsets: [start, end],
            };
            map.serialize_entry(&tensor.name, &entry)?;
            start = end;
        }
        map.end()
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct SafetensorsStream<'a> {
    plan: &'a SafetensorsWriter,
    out: AtomicFile,
    next: usize,
}

impl SafetensorsStream<'_> {
    /// Writes the next tensor as it is stored.
    ///
    /// # Errors
    ///
    /// If there is no next tensor, the bytes have another length than its shape, or writing fails.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(planned) = self.plan.tensors.get(self.next) else {
            let fault = Fault::malformed(Place::File, "all tensors are written already");
            return Err(fault.within(self.out.path()));
        };
        if planned.byte_len() != bytes.len() as u64 {
            let problem = format!("{} bytes, expected {}", bytes.len(), planned.byte_len());
            return Err(Fault::tensor(&planned.name, problem).within(self.out.path()));
        }
        self.next += 1;
        self.out.write(bytes)
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
}

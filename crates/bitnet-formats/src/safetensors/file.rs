//! An open safetensors file: its tensors by name, decoded one at a time.

use std::path::Path;

use half::{bf16, f16};

use super::header::{self, Dtype, Entry};
use crate::{
    Error, FileBytes,
    error::{Fault, Place},
};

/// A safetensors file, checked when it was opened.
#[derive(Debug)]
pub struct SafetensorsFile {
    bytes: FileBytes,
    /// Sorted by name.
    entries: Vec<Entry>,
    data_at: usize,
}

/// A tensor of a safetensors file, not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct SafeTensor<'a> {
    file: &'a SafetensorsFile,
    entry: &'a Entry,
}

impl SafetensorsFile {
    /// Maps a file and checks its header. See [`FileBytes::open`] on changing it meanwhile.
    ///
    /// # Errors
    ///
    /// If it cannot be read or contradicts the format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_bytes(FileBytes::open(path.as_ref())?)
    }

    /// Checks a file that is open.
    ///
    /// # Errors
    ///
    /// As [`SafetensorsFile::open`].
    pub fn from_bytes(bytes: FileBytes) -> Result<Self, Error> {
        let read = header::read(&bytes);
        let (entries, data_at) = read.map_err(|fault| fault.within(bytes.path()))?;
        Ok(Self {
            bytes,
            entries,
            data_at,
        })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.bytes.path()
    }

    /// A tensor by its name.
    pub fn tensor(&self, name: &str) -> Option<SafeTensor<'_>> {
        let found = self
            .entries
            .binary_search_by_key(&name, |entry| &entry.name);
        let entry = &self.entries[found.ok()?];
        Some(SafeTensor { file: self, entry })
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = SafeTensor<'_>> {
        let entries = self.entries.iter();
        entries.map(|entry| SafeTensor { file: self, entry })
    }
}

impl<'a> SafeTensor<'a> {
    /// The name.
    pub fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// The shape, row-major.
    pub fn shape(&self) -> Vec<usize> {
        self.entry.shape.iter().map(|dim| *dim as usize).collect()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.entry.dtype
    }

    /// The elements as stored, little-endian.
    pub fn bytes(&self) -> &'a [u8] {
        let (start, end) = (self.entry.start as usize, self.entry.end as usize);
        &self.file.bytes[self.file.data_at..][start..end]
    }

    /// Decodes F32, F16 or BF16, exactly.
    ///
    /// # Errors
    ///
    /// If the elements have another type.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        let elements = self.entry.shape.iter().product::<u64>();
        let mut out = vec![0.0; elements as usize];
        self.decode_from(0, &mut out)?;
        Ok(out)
    }

    /// Decodes the `out.len()` elements from `first` on.
    ///
    /// # Errors
    ///
    /// As [`SafeTensor::to_f32`], and if there are not so many.
    pub(crate) fn decode_from(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let fault = |fault: Fault| fault.within(self.file.path());
        let size = match self.dtype() {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
            other => {
                let place = Place::Tensor(self.name().into());
                let reason = format!("{other} where floats are expected");
                let remedy = "save it as F32, F16 or BF16";
                return Err(fault(Fault::unsupported(place, reason, remedy)));
            }
        };
        let range = size * first..size * (first + out.len());
        let bytes = self.bytes().get(range).ok_or_else(|| {
            let problem = format!("holds no {} elements from {first} on", out.len());
            fault(Fault::tensor(self.name(), problem))
        })?;
        match self.dtype() {
            Dtype::Bf16 => decode(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F16 => decode(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            _ => decode(bytes, out, f32::from_le_bytes),
        }
        Ok(())
    }

    /// Says that the elements are not needed any more.
    pub(crate) fn release(&self) {
        self.file.bytes.release(self.bytes());
    }
}

fn decode<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = value(*bytes);
    }
}

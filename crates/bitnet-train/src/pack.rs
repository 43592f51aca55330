//! Files of tensors (Burn's burnpack, `.bpk`) that carry a checksum of all they hold.
//!
//! The checksum is BLAKE3 over each tensor in the order of the names (name, type, shape, and the hash of its bytes), each
//! number and each remark. It is a remark itself, so it is replaced together with the file and moves with it. A file
//! without one is of an older version.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Bytes, DType, Int, Shape, Tensor, TensorData};
use burn_pack::{Reader, Scalar};

use crate::TrainError;
use crate::names::earlier;

/// The remark that holds the checksum.
const CHECKSUM: &str = "blake3";

/// What is to be written.
#[derive(Default)]
pub(crate) struct Packing {
    tensors: BTreeMap<String, (burn_pack::Tensor, blake3::Hash)>,
    numbers: BTreeMap<String, u64>,
    remarks: BTreeMap<String, String>,
}

/// A tensor with a value that is no number.
#[derive(Debug)]
pub(crate) struct NotFinite(pub String);

impl Packing {
    /// Adds a tensor.
    ///
    /// # Errors
    /// If it is of floats and one is infinite or not a number: such a file is of no use to anybody.
    pub fn tensor(&mut self, name: String, data: TensorData) -> Result<(), NotFinite> {
        let (bytes, shape, dtype) = data.into_parts();
        if !is_finite(dtype, &bytes) {
            return Err(NotFinite(name));
        }
        let hash = blake3::hash(&bytes);
        let tensor = burn_pack::Tensor::new(name.clone(), dtype, shape, None, bytes);
        self.tensors.insert(name, (tensor, hash));
        Ok(())
    }

    /// Adds the parameters of a module, by their paths.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn module(&mut self, module: &impl Module) -> Result<(), NotFinite> {
        let mut collector = Collector {
            path: Vec::new(),
            into: self,
            failed: None,
        };
        module.visit(&mut collector);
        collector.failed.map_or(Ok(()), Err)
    }

    /// Adds a number.
    pub fn number(&mut self, name: impl Into<String>, value: u64) {
        self.numbers.insert(name.into(), value);
    }

    /// Adds a remark.
    pub fn remark(&mut self, name: &str, value: impl Into<String>) {
        self.remarks.insert(name.to_owned(), value.into());
    }

    /// Writes the file, whole or not at all, and gives its checksum.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(self, path: &Path) -> Result<String, TrainError> {
        let parts = self.tensors.values();
        let parts = parts.map(|(tensor, hash)| (&tensor.name, tensor.dtype, &tensor.shape, *hash));
        let checksum = checksum(parts, &self.numbers, &self.remarks);
        let tensors = self.tensors.into_values().map(|(tensor, _)| tensor);
        let mut writer = burn_pack::Writer::new(tensors.collect());
        for (name, value) in &self.numbers {
            writer = writer.with_scalar(name, Scalar::from(*value));
        }
        for (name, value) in &self.remarks {
            writer = writer.with_metadata(name, value);
        }
        writer
            .with_metadata(CHECKSUM, &checksum)
            .write_to_file(path)
            .map_err(|error| TrainError::Unwritten {
                path: path.to_owned(),
                problem: error.to_string(),
            })?;
        Ok(checksum)
    }
}

/// The hash of hashes, as hexadecimal digits.
fn checksum<'a>(
    tensors: impl Iterator<Item = (&'a String, DType, &'a Shape, blake3::Hash)>,
    numbers: &BTreeMap<String, u64>,
    remarks: &BTreeMap<String, String>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, dtype, shape, hash) in tensors {
        // Names hold no line feed.
        hasher.update(format!("{name}\n{dtype:?}{:?}{hash}\n", &shape[..]).as_bytes());
    }
    for (name, value) in numbers {
        hasher.update(format!("{name}\n{value}\n").as_bytes());
    }
    for (name, value) in remarks {
        hasher.update(format!("{name}\n{value:?}\n").as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// What was read, and found to be what was written.
pub(crate) struct Packed {
    tensors: BTreeMap<String, burn_pack::Tensor>,
    numbers: BTreeMap<String, u64>,
    remarks: BTreeMap<String, String>,
    checksum: Option<String>,
}

impl Packed {
    /// Reads and checks a file: its checksum, if it has one, and that its floats are numbers. The tensors stay in the file
    /// until they are taken.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        std::fs::metadata(path).map_err(TrainError::io(path))?;
        let damaged = |problem: &dyn std::fmt::Display| damaged(path, problem);
        let reader = Reader::from_file_exact(path).map_err(|error| damaged(&error))?;
        let mut remarks = reader.metadata().clone();
        let numbers = reader.scalars().iter();
        let numbers = numbers.filter_map(|(name, value)| {
            let value = match *value {
                Scalar::UInt(value) => value,
                Scalar::Int(value) => u64::try_from(value).ok()?,
                _ => return None,
            };
            Some((name.clone(), value))
        });
        let numbers: BTreeMap<String, u64> = numbers.collect();
        let tensors = reader.into_tensors().map_err(|error| damaged(&error))?;
        let mut hashes = Vec::new();
        for tensor in &tensors {
            let bytes = tensor.to_bytes().map_err(|error| damaged(&error))?;
            if !is_finite(tensor.dtype, &bytes) {
                return Err(damaged(&format!(
                    "{} holds values that are no numbers",
                    tensor.name
                )));
            }
            hashes.push(blake3::hash(&bytes));
        }
        let known = remarks.remove(CHECKSUM);
        let parts = tensors.iter().zip(hashes);
        let parts = parts.map(|(tensor, hash)| (&tensor.name, tensor.dtype, &tensor.shape, hash));
        let found = checksum(parts, &numbers, &remarks);
        if known.as_ref().is_some_and(|known| *known != found) {
            return Err(damaged(&"its checksum is another"));
        }
        let tensors = tensors.into_iter();
        Ok(Self {
            tensors: tensors
                .map(|tensor| (tensor.name.clone(), tensor))
                .collect(),
            numbers,
            remarks,
            checksum: known,
        })
    }

    /// The checksum; files of older versions have none.
    pub fn checksum(&self) -> Option<&str> {
        self.checksum.as_deref()
    }

    /// All remarks.
    pub fn remarks(&self) -> &BTreeMap<String, String> {
        &self.remarks
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.numbers.get(name).copied()
    }

    /// Names of the tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Takes a tensor out, if it is there and of this type and shape.
    pub fn take(&mut self, name: &str, dtype: DType, shape: Option<&Shape>) -> Option<TensorData> {
        let tensor = self.tensors.get(name)?;
        if tensor.dtype != dtype || shape.is_some_and(|shape| tensor.shape != *shape) {
            return None;
        }
        let (_, dtype, shape, _, bytes) = self.tensors.remove(name)?.into_parts().ok()?;
        // Copied: what the tensor is made of should not go on reading the file.
        TensorData::try_from_bytes(Bytes::from_bytes_vec(bytes.to_vec()), shape, dtype).ok()
    }

    /// Puts the tensors into the parameters of a module: each has to be there, of its type and shape, and no other.
    ///
    /// # Errors
    /// If one is missing or of another type or shape, or there are more. `path` is the file's.
    pub fn load<M: Module>(self, module: M, path: &Path) -> Result<M, TrainError> {
        let mut loader = Loader {
            path: Vec::new(),
            from: self,
            failed: None,
        };
        if loader.from.checksum.is_none() && !loader.from.remarks.is_empty() {
            return Err(damaged(path, &"its checksum is missing"));
        }
        let module = module.map(&mut loader);
        let unused = loader.from.names().next().map(str::to_owned);
        match (loader.failed, unused) {
            (Some(problem), _) => Err(damaged(path, &problem)),
            (None, Some(name)) => Err(damaged(path, &format!("the model has no {name}"))),
            (None, None) => Ok(module),
        }
    }
}

/// The remarks of a file, without reading its tensors or checking it.
///
/// # Errors
/// If the file is missing or its head is damaged.
pub(crate) fn remarks(path: &Path) -> Result<BTreeMap<String, String>, TrainError> {
    std::fs::metadata(path).map_err(TrainError::io(path))?;
    let reader = Reader::from_file_exact(path).map_err(|error| damaged(path, &error))?;
    Ok(reader.metadata().clone())
}

/// Whether bytes of floats are all finite numbers; other types are.
fn is_finite(dtype: DType, bytes: &[u8]) -> bool {
    let words = bytes.as_chunks::<4>().0.iter();
    dtype != DType::F32
        || words
            .copied()
            .all(|word| f32::from_le_bytes(word).is_finite())
}

/// A file of a run that does not hold what it should.
pub(crate) fn damaged(path: &Path, problem: &dyn std::fmt::Display) -> TrainError {
    TrainError::Damaged {
        path: path.to_owned(),
        problem: format!(
            "damaged, or of another model: {problem}; restore the file, or train again"
        ),
    }
}

struct Collector<'a> {
    path: Vec<String>,
    into: &'a mut Packing,
    failed: Option<NotFinite>,
}

impl Collector<'_> {
    fn add(&mut self, data: impl FnOnce() -> TensorData) {
        if self.failed.is_none() {
            self.failed = self.into.tensor(self.path.join("."), data()).err();
        }
    }
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(|| param.transform_for_save().val().into_data());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(|| param.transform_for_save().val().into_data());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.add(|| param.transform_for_save().val().into_data());
    }
}

struct Loader {
    path: Vec<String>,
    from: Packed,
    failed: Option<String>,
}

impl Loader {
    fn take(&mut self, dtype: DType, shape: &Shape) -> Option<TensorData> {
        let mut name = self.path.join(".");
        if !self.from.tensors.contains_key(&name)
            && let Some(earlier) =
                earlier(&name).filter(|name| self.from.tensors.contains_key(name))
        {
            name = earlier;
        }
        let data = self.from.take(&name, dtype, Some(shape));
        if data.is_none() {
            let problem = match self.from.tensors.get(&name) {
                None => format!("{name} is missing"),
                Some(found) => format!(
                    "{name} is {:?} of {}, the model's of {}",
                    &found.shape[..],
                    found.dtype.name(),
                    format_args!("{:?} of {}", &shape[..], dtype.name())
                ),
            };
            self.failed.get_or_insert(problem);
        }
        data
    }
}

macro_rules! load_kind {
    ($method:ident, $tensor:ty) => {
        fn $method<const D: usize>(&mut self, param: Param<$tensor>) -> Param<$tensor> {
            let value = param.val();
            match self.take(value.dtype(), &param.lazy_shape()) {
                Some(data) => {
                    let options = (&param.lazy_device(), value.dtype());
                    let id = param.id;
                    param.transform_for_load(Tensor::from_data(data, options), id)
                }
                None => param,
            }
        }
    };
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    load_kind!(map_float, Tensor<D>);
    load_kind!(map_int, Tensor<D, Int>);
    load_kind!(map_bool, Tensor<D, Bool>);
}

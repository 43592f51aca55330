//! A model that no file holds yet: what another program has in memory, to be written.

use std::path::{Path, PathBuf};

use bitnet_kernels::Kernel;

use super::{Form, ModelDescription, Names, Role, Stored, Tensor, TensorEntry, TensorSource};
use crate::{Error, error::Fault, hf::HfText};

/// What the ids of a model stand for.
#[derive(Clone, Debug)]
pub enum Pieces {
    /// A `tokenizer.json` of Hugging Face's tokenizers.
    Json(String),
    /// The bytes of each id; a text is cut into the longest of them, from its start on.
    Bytes(Vec<Vec<u8>>),
    /// The files of a folder of transformers, with all that they say of text.
    Files(Box<HfText>),
}

/// Tensors by role with their description.
#[derive(Debug)]
pub struct MemoryModel {
    /// What errors name.
    name: PathBuf,
    description: ModelDescription,
    entries: Vec<TensorEntry>,
    /// In the order of `entries`.
    tensors: Vec<Tensor>,
    pieces: Option<Pieces>,
}

impl MemoryModel {
    /// Takes tensors in any order. `name` is what errors call the model.
    ///
    /// # Errors
    ///
    /// If one of the description's tensors is missing, has another shape, or there are others.
    pub fn new(
        name: impl Into<PathBuf>,
        description: ModelDescription,
        mut tensors: Vec<(Role, Tensor)>,
        pieces: Option<Pieces>,
    ) -> Result<Self, Error> {
        let name = name.into();
        tensors.sort_by_key(|(role, _)| *role);
        let mut roles: Vec<Role> = description.roles().collect();
        roles.sort_unstable();
        let found = tensors.iter().map(|(role, _)| *role);
        if let Some(role) = roles.iter().zip(found.clone()).find(|(a, b)| *a != b) {
            let problem = "is not among the tensors, or one before it is too much";
            return Err(Fault::tensor(&role.0.name(Names::HuggingFace), problem).within(&name));
        }
        if roles.len() != tensors.len() {
            let problem = format!("{} tensors, expected {}", tensors.len(), roles.len());
            return Err(Fault::header(problem).within(&name));
        }
        let mut entries = Vec::with_capacity(roles.len());
        for (role, tensor) in &tensors {
            let expected = role.shape(&description.shape);
            let (shape, form, storage) = match tensor {
                Tensor::Float { shape, .. } => (shape.clone(), Form::Full, "F32"),
                Tensor::Ternary(t) => (vec![t.rows(), t.cols()], Form::Codes, "codes"),
            };
            let hf_name = role.name(Names::HuggingFace);
            if shape != expected {
                let problem = format!("shape {shape:?}, expected {expected:?}");
                return Err(Fault::tensor(&hf_name, problem).within(&name));
            }
            let weights: usize = shape.iter().product();
            entries.push(TensorEntry {
                role: *role,
                name: hf_name,
                shape,
                storage: storage.into(),
                form,
                bytes: 4 * weights as u64,
            });
        }
        Ok(Self {
            name,
            description,
            entries,
            tensors: tensors.into_iter().map(|(_, tensor)| tensor).collect(),
            pieces,
        })
    }

    /// What errors call it.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// What its ids stand for, if that is known.
    pub fn pieces(&self) -> Option<&Pieces> {
        self.pieces.as_ref()
    }

    fn tensor(&self, role: Role) -> Result<&Tensor, Error> {
        let found = self.entries.binary_search_by_key(&role, |entry| entry.role);
        found.map(|index| &self.tensors[index]).map_err(|_| {
            Fault::tensor(&role.name(Names::HuggingFace), "the model has none").within(&self.name)
        })
    }
}

impl TensorSource for MemoryModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn tensors(&self) -> &[TensorEntry] {
        &self.entries
    }

    fn read(&self, role: Role) -> Result<Tensor, Error> {
        self.tensor(role).cloned()
    }

    fn read_stored(&self, _: Role, _: Kernel) -> Result<Option<Stored>, Error> {
        Ok(None)
    }

    fn read_row(&self, role: Role, row: usize, out: &mut [f32]) -> Result<(), Error> {
        let fault = |problem: &str| {
            Fault::tensor(&role.name(Names::HuggingFace), problem).within(&self.name)
        };
        match self.tensor(role)? {
            Tensor::Float { values, .. } => {
                let values = values.get(row * out.len()..(row + 1) * out.len());
                out.copy_from_slice(values.ok_or_else(|| fault("has no such row"))?);
                Ok(())
            }
            Tensor::Ternary(_) => Err(fault("is ternary, where a row of floats is asked for")),
        }
    }

    fn release(&self, _: Role) {}
}

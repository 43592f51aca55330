//! Names of parameters in files that earlier versions wrote.
//!
//! A parameter is saved under its path in the model, and the path through a `Projection` names the variant. A ternary layer
//! in training and a float layer were both called `Latent`, they are `Ternary` and `Float` now. Files with the old name are
//! read as long as there are such runs: their parameters are renamed on the way in, in this place alone, so that models know
//! one name. The model that is loaded tells which of the two a layer is. The ids, by which the optimiser's state is kept,
//! stay.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Int, Tensor};
use burn_pack::{Reader, Writer};

/// The component of a path that is no longer written, and those in its place.
const EARLIER: &str = ".Latent.";
const TODAY: [&str; 2] = [".Ternary.", ".Float."];

/// The name that a parameter had in earlier versions, if it was another.
pub(crate) fn earlier(name: &str) -> Option<String> {
    let today = TODAY.iter().find(|today| name.contains(**today))?;
    Some(name.replace(today, EARLIER))
}

/// Reads the record of a model like `model`, under today's names.
///
/// # Errors
/// If the file cannot be read or is no record.
pub(crate) fn read_record(path: &Path, model: &impl Module) -> Result<ModuleRecord, RecordError> {
    let reader = Reader::from_file(path)?;
    let mut names = reader.tensor_names().into_iter();
    if !names.any(|name| name.contains(EARLIER)) {
        return ModuleRecord::load(path);
    }
    let mut today = Today::default();
    model.visit(&mut today);
    let mut tensors = reader.into_tensors()?;
    for tensor in &mut tensors {
        if let Some(name) = today.of_earlier.remove(&tensor.name) {
            tensor.name = name;
        }
    }
    ModuleRecord::from_bytes(Writer::new(tensors).into_bytes()?)
}

/// The names of a model's parameters that had others, by those.
#[derive(Default)]
struct Today {
    path: Vec<String>,
    of_earlier: HashMap<String, String>,
}

impl Today {
    fn parameter(&mut self) {
        let name = self.path.join(".");
        let earlier = earlier(&name).map(|earlier| (earlier, name));
        self.of_earlier.extend(earlier);
    }
}

impl ModuleVisitor for Today {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        self.parameter();
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<D, Int>>) {
        self.parameter();
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use bitnet_models::{
        LinearKind, ModelConfig, Network, NormPlacement, QuantConfig, Transformer,
    };
    use burn::tensor::Device;

    use super::*;

    /// A file as earlier versions wrote it gives the same record as the model that it was saved from: names, ids, values.
    #[test]
    fn earlier_names_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bpk");
        for linear in [LinearKind::Ternary, LinearKind::Float] {
            let config = ModelConfig {
                linear,
                vocab_size: 7,
                hidden_size: 8,
                intermediate_size: 16,
                num_hidden_layers: 2,
                num_attention_heads: 2,
                ..ModelConfig::default()
            };
            let quant = QuantConfig {
                norm: NormPlacement::Inside,
                ..QuantConfig::default()
            };
            let new = |seed| Transformer::new(&config, &quant, seed, &Device::flex()).unwrap();
            let saved = new(0).into_record().into_bytes().unwrap();
            let mut tensors = Reader::from_bytes(saved.clone())
                .unwrap()
                .into_tensors()
                .unwrap();
            let mut renamed = 0;
            for tensor in &mut tensors {
                if let Some(name) = earlier(&tensor.name) {
                    assert!(name.contains("_proj.Latent."), "{name}");
                    (tensor.name, renamed) = (name, renamed + 1);
                }
            }
            // A weight and a norm in each of the seven layers of a block.
            assert_eq!(renamed, 2 * 7 * 2);
            Writer::new(tensors)
                .overwrite(true)
                .write_to_file(&path)
                .unwrap();
            assert!(new(1).try_load_file(&path).is_err());
            let record = read_record(&path, &new(1)).unwrap();
            let loaded = new(1).try_load_record(record).unwrap();
            assert!(
                *loaded.into_record().into_bytes().unwrap() == *saved,
                "{linear:?}"
            );
        }
    }
}

//! Names of parameters in files that earlier versions wrote.
//!
//! A parameter is saved under its path in the model, and the path through a `Projection` names the variant. A ternary layer
//! in training and a float layer were both called `Latent`, they are `Ternary` and `Float` now. Files with the old name are
//! read as long as there are such runs: their parameters are renamed on the way in, in this place alone, so that models know
//! one name. The model that is loaded tells which of the two a layer is. The moments of the optimiser are known by the same
//! paths.

/// The component of a path that is no longer written, and those in its place.
const EARLIER: &str = ".Latent.";
const TODAY: [&str; 2] = [".Ternary.", ".Float."];

/// The name that a parameter had in earlier versions, if it was another.
pub(crate) fn earlier(name: &str) -> Option<String> {
    let today = TODAY.iter().find(|today| name.contains(**today))?;
    Some(name.replace(today, EARLIER))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use bitnet_models::{
        LinearKind, ModelConfig, Network, NormPlacement, QuantConfig, Transformer,
    };
    use burn::module::Module;
    use burn::tensor::Device;
    use burn_pack::{Reader, Writer};

    use super::*;
    use crate::pack::Packed;

    /// A file as earlier versions wrote it gives the model that it was saved from: names and values.
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
            let loaded = Packed::read(&path).unwrap().load(new(1), &path).unwrap();
            let values = |bytes: burn_pack::Bytes| {
                let tensors = Reader::from_bytes(bytes).unwrap().into_tensors().unwrap();
                let parts = tensors
                    .into_iter()
                    .map(|t| (t.name.clone(), t.to_bytes().unwrap().to_vec()));
                parts.collect::<Vec<_>>()
            };
            let loaded = loaded.into_record().into_bytes().unwrap();
            assert!(values(loaded) == values(saved), "{linear:?}");
        }
    }
}

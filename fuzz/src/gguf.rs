//! A GGUF file: its metadata, every tensor as codes and floats, and the model that it describes.

use crate::{Target, files, goldens};
use bitnet_formats::{
    FileBytes, I2sOrder, ModelFile,
    gguf::{GgufFile, GgufModel},
    inspect::Report,
};

/// The target.
pub const TARGET: Target = Target {
    name: "gguf",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    files(&goldens("bitnet-formats"), ".gguf")
}

fn run(data: &[u8]) {
    let open = || GgufFile::from_bytes(FileBytes::from_vec("fuzz.gguf", data.to_vec()));
    let Ok(file) = open() else { return };
    for (key, value) in file.metadata() {
        assert_eq!(
            file.get(key).map(|v| v.value_type()),
            Some(value.value_type())
        );
        if let Some(array) = value.as_array() {
            assert_eq!(array.iter().count() as u64, array.len());
        }
    }
    for tensor in file.tensors() {
        assert!(file.tensor(tensor.name()).is_some());
        let _ = tensor.to_ternary();
        let _ = tensor.to_f32();
    }
    let file = file.with_i2s_order(I2sOrder::Arm);
    if let Ok(model) = GgufModel::from_file(file) {
        let _ = Report::read(&ModelFile::Gguf(model));
    }
}

//! A GGUF file: its metadata, every tensor as codes and floats, and the model that it describes.

#![no_main]

use bitnet_formats::{
    FileBytes, I2sOrder, ModelFile,
    gguf::{GgufFile, GgufModel},
    inspect::Report,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let open = || GgufFile::from_bytes(FileBytes::from_vec("fuzz.gguf", data.to_vec()));
    let Ok(file) = open() else { return };
    for (key, value) in file.metadata() {
        assert_eq!(file.get(key).map(|v| v.value_type()), Some(value.value_type()));
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
});

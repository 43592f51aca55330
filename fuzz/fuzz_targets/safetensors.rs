//! A safetensors file: its header and every tensor.

#![no_main]

use bitnet_formats::{FileBytes, safetensors::SafetensorsFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file = FileBytes::from_vec("fuzz.safetensors", data.to_vec());
    let Ok(file) = SafetensorsFile::from_bytes(file) else { return };
    for tensor in file.tensors() {
        let size = tensor.dtype().bytes() as usize;
        assert_eq!(tensor.bytes().len(), tensor.shape().iter().product::<usize>() * size);
        assert!(file.tensor(tensor.name()).is_some());
        let _ = tensor.to_f32();
    }
});

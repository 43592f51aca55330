//! A safetensors file: its header and every tensor.

use crate::{Target, files, goldens};
use bitnet_formats::{FileBytes, safetensors::SafetensorsFile};

/// The target.
pub const TARGET: Target = Target {
    name: "safetensors",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    files(&goldens("bitnet-formats"), ".safetensors")
}

fn run(data: &[u8]) {
    let file = FileBytes::from_vec("fuzz.safetensors", data.to_vec());
    let Ok(file) = SafetensorsFile::from_bytes(file) else {
        return;
    };
    for tensor in file.tensors() {
        let size = tensor.dtype().bytes() as usize;
        assert_eq!(
            tensor.bytes().len(),
            tensor.shape().iter().product::<usize>() * size
        );
        assert!(file.tensor(tensor.name()).is_some());
        let _ = tensor.to_f32();
    }
}

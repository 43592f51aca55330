//! `train.precision` and `train.backward_pieces`, where they can be had.

use bitnet_models::float::Numerics;
use burn::tensor::Device;

use crate::{Backend, TrainError};

/// Makes the settings those of the process.
///
/// # Errors
/// If they ask for less than f32 on a GPU, where Burn decides, or on a processor without tiles of bf16.
pub(crate) fn apply(numerics: Numerics, device: &Device) -> Result<(), TrainError> {
    let refused = |reason: String| TrainError::Numerics { reason };
    if numerics != Numerics::default() && !is_cpu(device) {
        return Err(refused("products in bf16 are for CPU backends".to_owned()));
    }
    numerics.apply().map_err(|error| refused(error.to_string()))
}

/// What products are computed with, for the summary; empty on a GPU.
pub(crate) fn arithmetic(numerics: Numerics, device: &Device) -> String {
    if is_cpu(device) {
        numerics.arithmetic()
    } else {
        String::new()
    }
}

/// Whether a device is the CPU.
pub(crate) fn is_cpu(device: &Device) -> bool {
    [Backend::Flex, Backend::NdArray]
        .into_iter()
        .filter_map(|backend| backend.devices().ok())
        .any(|devices| devices.contains(device))
}

//! The device that a command computes on: its threads, its name, its type of floats.

use std::sync::OnceLock;

use anyhow::{Context, bail};
use bitnet_models::Transformer;
use bitnet_train::Backend;
use burn::tensor::Device;

use crate::{
    args::{DeviceArgs, Dtype, DtypeArgs},
    machine,
};

/// Sets the number of threads and opens the device.
pub fn open(args: &DeviceArgs) -> anyhow::Result<Device> {
    set_threads(args.threads)?;
    Ok(args.backend.device(args.device)?)
}

/// Sets the number of threads and opens the devices that share a training: that of the model, and those beside it.
pub fn open_all(args: &DeviceArgs, devices: &[usize]) -> anyhow::Result<(Device, Vec<Device>)> {
    let Some((first, others)) = devices.split_first() else {
        return Ok((open(args)?, Vec::new()));
    };
    if args.device != 0 {
        bail!(
            "--device (or BITNET_DEVICE) names one device and --devices several: leave one of them out"
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = devices.iter().find(|index| !seen.insert(**index)) {
        bail!("--devices names {twice} twice: a device takes its share once");
    }
    set_threads(args.threads)?;
    let others = others.iter().map(|index| args.backend.device(*index));
    Ok((
        args.backend.device(*first)?,
        others.collect::<Result<_, _>>()?,
    ))
}

/// Sets the number of rayon's threads, before anything uses them; 0 keeps one a core. The first call counts.
pub fn set_threads(threads: usize) -> anyhow::Result<()> {
    static SET: OnceLock<()> = OnceLock::new();
    if threads == 0 || SET.set(()).is_err() {
        return Ok(());
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("the thread pool cannot be built")
}

/// The device's own name, for backends whose devices have one.
pub fn name(backend: Backend, device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if matches!(backend, Backend::Wgpu | Backend::Cuda)
        && let Some(identity) = device.identity()
    {
        return identity.name;
    }
    let _ = device;
    match backend {
        Backend::Flex | Backend::NdArray => machine::cpu(),
        Backend::Wgpu | Backend::Cuda => format!("{backend} device"),
    }
}

/// Refuses another type than f32 where it would be ignored.
pub fn refuse_dtype(args: DtypeArgs, because: &str) -> anyhow::Result<()> {
    match args.dtype {
        Dtype::F32 => Ok(()),
        Dtype::F16 => bail!("--dtype f16 {because}"),
    }
}

/// The model with the activations that were asked for.
pub fn with_dtype(
    model: Transformer,
    args: DtypeArgs,
    backend: Backend,
    device: &Device,
) -> anyhow::Result<Transformer> {
    match args.dtype {
        Dtype::F32 => Ok(model),
        Dtype::F16 => model
            .into_half(device)
            .with_context(|| format!("--dtype f16 on {backend}")),
    }
}

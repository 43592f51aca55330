//! Backends by name, and the device that a run uses.

use std::{fmt, str::FromStr};

use burn::tensor::Device;

/// A backend of Burn that a run can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Burn's CPU backend.
    #[default]
    Flex,
    /// The older CPU backend on the `ndarray` crate.
    NdArray,
    /// Any GPU through WebGPU, Vulkan, Metal or DirectX.
    Wgpu,
    /// NVIDIA GPUs through CUDA.
    Cuda,
}

/// A backend or device that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No backend has this name.
    #[error("unknown backend `{0}`; the backends are flex, ndarray, wgpu and cuda")]
    Unknown(String),
    /// This build leaves the backend out.
    #[error(
        "the {backend} backend is not in this build (it has {}); rebuild with `--features {backend}`",
        compiled_names()
    )]
    NotCompiled {
        /// The backend asked for.
        backend: Backend,
    },
    /// There is no adapter at all.
    #[error(
        "the {backend} backend finds no adapter; install a graphics driver (a software one, as Mesa's lavapipe, will \
         do) or use `--backend flex`"
    )]
    NoAdapter {
        /// The backend asked for.
        backend: Backend,
    },
    /// The index is beyond the last device.
    #[error(
        "the {backend} backend has no device {index}; it has {count}, numbered from 0 (`bitnet doctor` lists them)"
    )]
    NoSuchDevice {
        /// The backend asked for.
        backend: Backend,
        /// The index asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The adapter is there but does not start.
    #[error("the {backend} device {index} does not start: {reason}")]
    Init {
        /// The backend asked for.
        backend: Backend,
        /// The device's index.
        index: usize,
        /// What the driver said.
        reason: String,
    },
}

impl Backend {
    /// Every backend, whether compiled in or not.
    pub const ALL: [Backend; 4] = [
        Backend::Flex,
        Backend::NdArray,
        Backend::Wgpu,
        Backend::Cuda,
    ];

    /// Whether this build has it.
    pub fn is_compiled(self) -> bool {
        match self {
            Backend::Flex => cfg!(feature = "flex"),
            Backend::NdArray => cfg!(feature = "ndarray"),
            Backend::Wgpu => cfg!(feature = "wgpu"),
            Backend::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// The name used on the command line; also the name of the feature.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Flex => "flex",
            Backend::NdArray => "ndarray",
            Backend::Wgpu => "wgpu",
            Backend::Cuda => "cuda",
        }
    }

    /// Its devices, in the order of `--device`. Opens none of them.
    ///
    /// # Errors
    /// If this build leaves the backend out.
    pub fn devices(self) -> Result<Vec<Device>, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Backend::Flex => Ok(vec![Device::flex()]),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)] // Burn deprecates NdArray in favour of Flex.
            Backend::NdArray => Ok(vec![Device::ndarray()]),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu => Ok(Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec()),
            #[cfg(feature = "cuda")]
            Backend::Cuda => Ok(Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec()),
            #[allow(unreachable_patterns)]
            backend => Err(DeviceError::NotCompiled { backend }),
        }
    }

    /// Opens the device with this index.
    ///
    /// # Errors
    /// If the backend is not compiled in, has no such device, or the device does not start.
    pub fn device(self, index: usize) -> Result<Device, DeviceError> {
        let devices = self.devices()?;
        let count = devices.len();
        if count == 0 {
            return Err(DeviceError::NoAdapter { backend: self });
        }
        devices
            .into_iter()
            .nth(index)
            .ok_or(DeviceError::NoSuchDevice {
                backend: self,
                index,
                count,
            })
    }
}

/// Whether a device is the processor, whose backends run the same kernels.
pub(crate) fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "ndarray")]
    #[allow(deprecated)] // Burn deprecates NdArray in favour of Flex.
    if *device == Device::ndarray() {
        return true;
    }
    is_flex(device)
}

/// Whether a device is that of Flex.
pub(crate) fn is_flex(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return *device == Device::flex();
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// The backends of this build, as in "flex, ndarray".
fn compiled_names() -> String {
    let names: Vec<_> = Backend::ALL
        .into_iter()
        .filter(|backend| backend.is_compiled())
        .map(Backend::name)
        .collect();
    names.join(", ")
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        Backend::ALL
            .into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| DeviceError::Unknown(name.to_owned()))
    }
}

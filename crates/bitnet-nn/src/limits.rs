//! What a GPU grants a program.

use burn::tensor::Device;

/// What a device grants a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceLimits {
    /// Most bytes of a buffer that a kernel can be given at once. Tensors of one operation must stay below, but for a table
    /// of [`crate::float::embedding`] and [`crate::float::linear`].
    pub binding_bytes: u64,
    /// Bytes of the device's memory, where its API tells.
    pub memory_bytes: Option<u64>,
    /// Most threads of a group that share memory.
    pub units_per_cube: u32,
    /// Bytes of the memory they share.
    pub shared_bytes: usize,
    /// Fewest and most threads that run in step (subgroup, warp, wave).
    pub plane_size: (u32, u32),
    /// Whether kernels may add across the threads that run in step. The kernels of this crate do not.
    pub subgroups: bool,
    /// Whether kernels may compute and store in f16. The kernels of this crate do so for tensors of that type alone.
    pub f16: bool,
}

/// The limits of a GPU, whose driver is opened to ask; `None` for a backend on the CPU.
pub fn device_limits(device: &Device) -> Option<DeviceLimits> {
    #[cfg(feature = "cube")]
    {
        use burn::backend::DispatchDevice;
        use burn::tensor::FloatDType;
        use cubecl::ir::features::Plane;

        let f16 = device.supports_dtype(FloatDType::F16);

        match device.as_dispatch() {
            DispatchDevice::Cube(device) => {
                let client = device.client();
                let properties = client.properties();
                let (memory, hardware) = (&properties.memory, &properties.hardware);
                Some(DeviceLimits {
                    binding_bytes: memory.max_page_size,
                    memory_bytes: memory.max_memory(),
                    units_per_cube: hardware.max_units_per_cube,
                    shared_bytes: hardware.max_shared_memory_size,
                    plane_size: (hardware.plane_size_min, hardware.plane_size_max),
                    subgroups: properties.features.plane.contains(Plane::Ops),
                    f16,
                })
            }
            #[cfg(feature = "autodiff")]
            DispatchDevice::Autodiff(_) => device_limits(&device.clone().inner()),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
    #[cfg(not(feature = "cube"))]
    {
        let _ = device;
        None
    }
}

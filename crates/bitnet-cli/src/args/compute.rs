//! Flags of what computes: backend, device, threads, the engine's kernel and formats.

use bitnet_kernels::{DenseFormat, FloatFormat, Kernel, Layout, Strategy};
use bitnet_train::Backend;
use clap::{Args, ValueEnum};

/// Where tensors live and how many threads compute.
#[derive(Clone, Debug, Args)]
pub struct DeviceArgs {
    /// flex, ndarray, wgpu or cuda
    #[arg(long, env = "BITNET_BACKEND", default_value_t = Backend::Flex)]
    pub backend: Backend,
    /// Which of the backend's devices (`bitnet doctor` lists them)
    #[arg(long, env = "BITNET_DEVICE", default_value_t = 0, value_name = "N")]
    pub device: usize,
    /// CPU threads; 0 takes all cores
    #[arg(long, env = "BITNET_THREADS", default_value_t = 0, value_name = "N", value_parser = thread_count)]
    pub threads: usize,
}

/// A number of threads that a machine could have: starting many more takes minutes and helps nobody.
pub(super) fn thread_count(text: &str) -> Result<usize, String> {
    const MOST: usize = 1024;
    match text.parse() {
        Ok(threads) if threads <= MOST => Ok(threads),
        _ => Err(format!("must be a number from 0 to {MOST}")),
    }
}

/// How the CPU engine runs a model; it serves the flex backend. `eval` uses it if one of these is given.
#[derive(Clone, Debug, Default, Args)]
pub struct EngineArgs {
    /// Instruction set (`bitnet doctor` lists them); default: the fastest
    #[arg(long, env = "BITNET_KERNEL", value_name = "NAME")]
    pub kernel: Option<Kernel>,
    /// How ternary products add up: dot, lookup (tables beside dot products) or signed (additions and subtractions alone);
    /// default: the fastest for the kernel
    #[arg(long, env = "BITNET_STRATEGY", value_name = "NAME")]
    pub strategy: Option<Strategy>,
    /// Ternary weights in memory: two-bit or base-three (1.6 bits); default: the faster one for the kernel
    #[arg(long, env = "BITNET_LAYOUT", value_name = "NAME")]
    pub layout: Option<Layout>,
    /// Head and embedding in memory: f32, bf16, f16 or int8; default: int8
    #[arg(long, env = "BITNET_HEAD", value_name = "FORMAT")]
    pub head: Option<DenseFormat>,
    /// Keys and values in memory: bf16, f32 for twice the bytes, or int8 for half of them; default: bf16
    #[arg(long, env = "BITNET_KV_CACHE", value_name = "FORMAT")]
    pub kv_cache: Option<FloatFormat>,
    /// What ternary layers of a model file do to their inputs: int8 (rounded for each token) or float; default: what the
    /// file says, and int8 if it says nothing
    #[arg(long, value_name = "KIND")]
    pub activations: Option<Activations>,
}

/// What ternary layers do to their inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Activations {
    /// Rounded to int8 for each token
    Int8,
    /// As they are; the weights are then held as floats
    Float,
}

impl EngineArgs {
    /// The first of its flags that was given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--kernel", self.kernel.is_some()),
            ("--strategy", self.strategy.is_some()),
            ("--layout", self.layout.is_some()),
            ("--head", self.head.is_some()),
            ("--kv-cache", self.kv_cache.is_some()),
            ("--activations", self.activations.is_some()),
        ];
        flags
            .into_iter()
            .find_map(|(flag, given)| given.then_some(flag))
    }
}

/// A float type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 32 bits
    F32,
    /// 16 bits (IEEE half precision)
    F16,
}

/// What a GPU computes in.
#[derive(Clone, Copy, Debug, Args)]
pub struct DtypeArgs {
    /// Activations, keys and values, embedding and head on a GPU; f16 is not for ReLU², groups, or activations other
    /// than int8
    #[arg(long, env = "BITNET_DTYPE", value_enum, default_value_t = Dtype::F32, value_name = "TYPE")]
    pub dtype: Dtype,
}

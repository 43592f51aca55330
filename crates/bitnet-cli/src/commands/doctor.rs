//! `bitnet doctor`

use anyhow::bail;
use bitnet_kernels::{Granularity, Kernel, Layout, Strategy};
use bitnet_models::device_limits;
use bitnet_train::Backend;
use burn::tensor::Device;
use serde::Serialize;

use super::Outcome;
use crate::args::{DoctorArgs, Format};
use crate::output;

#[derive(Serialize)]
struct Report {
    version: &'static str,
    cpu: Cpu,
    backends: Vec<BackendReport>,
}

/// A kernel that this machine cannot run.
#[derive(Serialize)]
struct Unavailable {
    kernel: String,
    reason: String,
}

#[derive(Serialize)]
struct Cpu {
    model: String,
    threads: usize,
    features: Vec<&'static str>,
    kernel: String,
    reason: String,
    kernels: Vec<String>,
    /// Kernels that cannot be chosen, and why.
    unavailable: Vec<Unavailable>,
    strategy: String,
    strategy_reason: String,
    strategies: Vec<String>,
    layout: String,
    layout_reason: &'static str,
}

#[derive(Serialize)]
struct BackendReport {
    name: &'static str,
    compiled: bool,
    devices: Vec<DeviceReport>,
    note: String,
}

#[derive(Serialize)]
struct DeviceReport {
    name: String,
    limits: Option<Limits>,
}

/// What bounds the kernels on a GPU.
#[derive(Serialize)]
struct Limits {
    binding_bytes: u64,
    memory_bytes: Option<u64>,
    shared_bytes: usize,
    units_per_cube: u32,
    plane_size: (u32, u32),
    subgroups: bool,
    f16: bool,
}

pub fn run(args: DoctorArgs) -> anyhow::Result<Outcome> {
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        cpu: cpu(),
        // Drivers write what they think of the machine to stderr.
        backends: without_stderr(|| Backend::ALL.into_iter().map(backend).collect()),
    };
    match args.output.output {
        Format::Json => output::json(&report)?,
        Format::Text => output::prose(text(&report).trim_end())?,
        Format::Md | Format::Csv => bail!("`bitnet doctor` writes text or json"),
    }
    Ok(Outcome::Done)
}

/// Does something while what is written to stderr, also by libraries in C, goes nowhere.
fn without_stderr<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    {
        use nix::unistd::{dup, dup2_stderr};
        let kept = dup(std::io::stderr()).ok();
        let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null");
        if let (Some(kept), Ok(nowhere)) = (kept, nowhere)
            && dup2_stderr(nowhere).is_ok()
        {
            let done = work();
            // What cannot be undone silences the rest of this command, which writes to stdout.
            let _ = dup2_stderr(kept);
            return done;
        }
    }
    work()
}

fn cpu() -> Cpu {
    let kernel = Kernel::detect();
    let (strategy, layout) = (
        Strategy::detect(kernel),
        Layout::suited_to(kernel, Granularity::Tensor),
    );
    let strategies = Strategy::ALL
        .iter()
        .filter(|strategy| strategy.require(kernel).is_ok());
    Cpu {
        model: crate::machine::cpu(),
        threads: rayon::current_num_threads(),
        features: features(),
        kernel: kernel.to_string(),
        reason: kernel.reason(),
        kernels: Kernel::available().iter().map(Kernel::to_string).collect(),
        unavailable: Kernel::ALL
            .into_iter()
            .filter(|kernel| !kernel.is_available())
            .map(|kernel| Unavailable {
                kernel: kernel.to_string(),
                reason: kernel.reason(),
            })
            .collect(),
        strategy: strategy.to_string(),
        strategy_reason: strategy.reason(kernel),
        strategies: strategies.map(Strategy::to_string).collect(),
        layout: layout.to_string(),
        layout_reason: layout.reason(),
    }
}

/// The instruction sets that matter to the kernels, as far as this processor has them.
fn features() -> Vec<&'static str> {
    macro_rules! detected {
        ($is:ident: $($name:tt),*) => {
            [$(($name, std::arch::$is!($name))),*]
                .into_iter()
                .filter_map(|(name, has)| has.then_some(name))
                .collect()
        };
    }
    #[cfg(target_arch = "x86_64")]
    return detected!(is_x86_feature_detected:
        "sse4.1", "avx", "avx2", "fma", "f16c", "avxvnni", "avx512f", "avx512bw", "avx512vbmi", "avx512vnni");
    #[cfg(target_arch = "aarch64")]
    return detected!(is_aarch64_feature_detected: "neon", "dotprod", "i8mm", "sve");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    Vec::new()
}

fn backend(backend: Backend) -> BackendReport {
    let (devices, note) = match backend.devices() {
        Err(error) => (Vec::new(), error.to_string()),
        Ok(devices) if devices.is_empty() => (
            Vec::new(),
            "no adapter: a graphics driver is missing".into(),
        ),
        Ok(devices) => {
            let names = devices
                .iter()
                .map(|device| describe(backend, device))
                .collect();
            let note = match backend {
                Backend::Flex => "CPU; the default",
                Backend::NdArray => "CPU; deprecated by Burn in favour of flex",
                Backend::Wgpu | Backend::Cuda => "choose with --device N",
            };
            (names, note.into())
        }
    };
    BackendReport {
        name: backend.name(),
        compiled: backend.is_compiled(),
        devices,
        note,
    }
}

/// The device as it names itself; opening a GPU to ask is what makes `doctor` a real check.
fn describe(backend: Backend, device: &Device) -> DeviceReport {
    DeviceReport {
        name: match backend {
            Backend::Flex | Backend::NdArray => "CPU".to_owned(),
            Backend::Wgpu | Backend::Cuda => crate::device::name(backend, device),
        },
        limits: device_limits(device).map(|limits| Limits {
            binding_bytes: limits.binding_bytes,
            memory_bytes: limits.memory_bytes,
            shared_bytes: limits.shared_bytes,
            units_per_cube: limits.units_per_cube,
            plane_size: limits.plane_size,
            subgroups: limits.subgroups,
            f16: limits.f16,
        }),
    }
}

/// In words, as in "tensors up to 134 MB, 32 KiB of shared memory, 1024 threads a group, 8 in step; 16-bit floats, no
/// subgroup operations".
fn limits_text(limits: &Limits) -> String {
    let memory = match limits.memory_bytes {
        Some(bytes) => format!("{:.1} GB of memory, ", bytes as f64 / 1e9),
        None => String::new(),
    };
    let in_step = match limits.plane_size {
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let without = |has: bool| if has { "" } else { "no " };
    format!(
        "{memory}tensors up to {} MB, {} KiB of shared memory, {} threads a group, {in_step} in step; {}16-bit floats, {}subgroup operations",
        limits.binding_bytes / 1_000_000,
        limits.shared_bytes / 1024,
        limits.units_per_cube,
        without(limits.f16),
        without(limits.subgroups),
    )
}

fn text(report: &Report) -> String {
    let Cpu {
        model,
        threads,
        features,
        kernel,
        reason,
        kernels,
        unavailable,
        strategy,
        strategy_reason,
        strategies,
        layout,
        layout_reason,
    } = &report.cpu;
    let unavailable = unavailable
        .iter()
        .map(|Unavailable { kernel, reason }| format!("          not here: {kernel} ({reason})\n"));
    let unavailable: String = unavailable.collect();
    let mut out = format!(
        "bitnet {}\n\ncpu       {model}, {threads} threads\nfeatures  {}\n\
         kernel    {kernel}: {reason}\n          available: {}\n{}\
         strategy  {strategy}: {strategy_reason}\n          available: {}\n\
         layout    {layout}: {layout_reason}\n\n",
        report.version,
        features.join(" "),
        kernels.join(", "),
        unavailable,
        strategies.join(", ")
    );
    for backend in &report.backends {
        out += &format!("{:<9} {}\n", backend.name, backend.note);
        for (index, device) in backend.devices.iter().enumerate() {
            out += &format!("          {index}: {}\n", device.name);
            if let Some(limits) = &device.limits {
                out += &format!("             {}\n", limits_text(limits));
            }
        }
    }
    out
}

//! What the tests share: the devices, a seeded generator, awkward shapes, and host-side expectations.

use std::io::Write as _;

use bitnet_kernels::reference;
use bitnet_nn::{BitLinear, BitLinearConfig, Granularity, WeightQuantizer};
use burn::module::Param;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

pub const GRANULARITIES: [Granularity; 2] = [Granularity::Tensor, Granularity::Row];

/// Features in: around the 4 activations and the 16 weights of a word.
pub const KS: [usize; 11] = [1, 3, 4, 15, 16, 17, 31, 33, 64, 100, 129];
/// Tokens.
pub const MS: [usize; 4] = [1, 2, 5, 8];
/// Features out.
pub const NS: [usize; 4] = [1, 3, 16, 33];

/// Tokens, features out, features in, where a GPU multiplies matrices: Burn builds its product for each shape anew.
pub const SHAPE: [usize; 3] = [8, 5, 33];

/// By how much one division may differ from the host's correctly rounded one, in ulp: WGSL grants a device 2.5, the
/// host rounds by ½. A CPU backend gets none: it must be exact.
pub const DIVISION_ULPS: u32 = 3;

/// The quantisers whose codes are `round(w · s)`, with and without a scale a row.
pub fn quantisers() -> impl Iterator<Item = (WeightQuantizer, Granularity)> {
    let all = WeightQuantizer::ALL.into_iter();
    all.filter(|quantizer| *quantizer != WeightQuantizer::Sign)
        .flat_map(|quantizer| GRANULARITIES.map(|granularity| (quantizer, granularity)))
}

/// A device under test.
pub struct Target {
    pub name: &'static str,
    pub device: Device,
    /// Whether results must equal the host's bit for bit. A GPU may round a division otherwise and adds in its own
    /// order.
    pub exact: bool,
    /// Whether its divisions are correctly rounded, as on a CPU or an adapter in software; WGSL grants 2.5 ulp.
    pub divides_exactly: bool,
}

impl Target {
    /// All of `cases` on a CPU, the last on a GPU: a software adapter takes seconds to compile and tune Burn's matrix
    /// product for each new shape.
    pub fn some_of<'a, T>(&self, cases: &'a [T]) -> &'a [T] {
        &cases[if self.exact { 0 } else { cases.len() - 1 }..]
    }

    /// What a chain of operations may be off where `ulps` of it are a device's own divisions.
    pub fn division_ulps(&self, ulps: u32) -> u32 {
        if self.divides_exactly { 0 } else { ulps }
    }

    /// `ulps` on a GPU, 0 on a CPU.
    pub fn ulps(&self, ulps: u32) -> u32 {
        if self.exact { 0 } else { ulps }
    }
}

/// Every device that this build and this machine have.
#[allow(clippy::vec_init_then_push)]
pub fn targets() -> Vec<Target> {
    #[allow(unused_mut)]
    let mut targets = Vec::new();
    #[cfg(feature = "flex")]
    targets.push(Target {
        name: "flex",
        device: Device::flex(),
        exact: true,
        divides_exactly: true,
    });
    #[cfg(feature = "ndarray")]
    #[allow(deprecated)]
    targets.push(Target {
        name: "ndarray",
        device: Device::ndarray(),
        exact: true,
        divides_exactly: true,
    });
    #[cfg(feature = "wgpu")]
    targets.extend(wgpu().map(|device| {
        Target {
            name: "wgpu",
            exact: false,
            divides_exactly: device
                .identity()
                .is_some_and(|identity| identity.name.contains("llvmpipe")),
            device,
        }
    }));
    assert!(
        !targets.is_empty() || cfg!(feature = "wgpu"),
        "no backend is compiled in, and nothing would be tested; add --features flex"
    );
    targets
}

/// The first WGPU adapter. A user's machine may have none; the project's own checks may not go without.
#[cfg(feature = "wgpu")]
pub fn wgpu() -> Option<Device> {
    let device = Device::enumerate(burn::tensor::DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .next();
    if device.is_none() {
        let message = "no WGPU adapter (a software one: Debian's mesa-vulkan-drivers)";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{message}");
        skipped(message);
    }
    device
}

/// Says what this machine cannot run. Not by `eprintln`, which the test harness hides when the test passes.
pub fn skipped(message: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {message}");
}

/// Seeded numbers (xorshift64*), the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// An integer in `0..below`.
    pub fn below(&mut self, below: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(below)) >> 32) as u32
    }

    /// In −1..1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Multiples of 1/64 in −1..=1: sums and products of some thousands of them are exact in f32, in any order.
    pub fn dyadics(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| (self.below(129) as f32 - 64.0) / 64.0)
            .collect()
    }
}

pub fn vector(values: &[f32], device: &Device) -> Tensor<1> {
    tensor(values, [values.len()], device)
}

pub fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

pub fn words_tensor(words: &[u32], shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(words.to_vec(), shape), (device, DType::U32))
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32 data")
}

pub fn words<const D: usize>(tensor: Tensor<D, Int>) -> Vec<u32> {
    tensor.into_data().try_into_vec().expect("u32 data")
}

/// The packed words of `w` with these scales, element by element, padding 1.
pub fn weight_words(w: &[f32], [rows, cols]: [usize; 2], scales: &[f32]) -> Vec<u32> {
    let code = |n: usize, k: usize| reference::weight_code(w[n * cols + k], scale_at(scales, n));
    pack_weight_codes(code, [rows, cols])
}

pub fn pack_weight_codes(code: impl Fn(usize, usize) -> i8, [rows, cols]: [usize; 2]) -> Vec<u32> {
    let mut words = Vec::new();
    for n in 0..rows {
        for first in (0..cols).step_by(16) {
            let stored = |k: usize| if k < cols { (code(n, k) + 1) as u32 } else { 1 };
            words.push((0..16).fold(0, |word, i| word | (stored(first + i) << (2 * i))));
        }
    }
    words
}

/// The words of int8 codes, padding 0.
pub fn activation_words(codes: &[i8], cols: usize) -> Vec<u32> {
    let word = |codes: &[i8]| {
        let byte = |(i, code): (usize, &i8)| u32::from(*code as u8) << (8 * i);
        codes.iter().enumerate().map(byte).fold(0, |a, b| a | b)
    };
    codes
        .chunks(cols)
        .flat_map(|row| row.chunks(4).map(word))
        .collect()
}

/// A layer of these weights `[n, k]`, without bias and norm.
pub fn latent_layer(w: &[f32], [n, k]: [usize; 2], device: &Device) -> BitLinear {
    let mut layer = BitLinearConfig::new(k, n).init(device);
    layer.weight = Param::from_tensor(tensor(w, [n, k], device));
    layer
}

/// One scale, or one a row.
pub fn scale_at(scales: &[f32], row: usize) -> f32 {
    scales[if scales.len() == 1 { 0 } else { row }]
}

/// `Σ_j a(row, j) · b(j, col)`.
pub fn matmul(
    [rows, inner, cols]: [usize; 3],
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let dot = |i: usize| (0..inner).map(|j| a(i / cols, j) * b(j, i % cols)).sum();
    (0..rows * cols).map(dot).collect()
}

/// How many floats lie between two finite ones.
pub fn ulps(a: f32, b: f32) -> u32 {
    let rank = |v: f32| {
        let bits = v.to_bits() as i32;
        i64::from(if bits < 0 { i32::MIN - bits } else { bits })
    };
    assert!(a.is_finite() && b.is_finite(), "{a} and {b}");
    rank(a).abs_diff(rank(b)) as u32
}

/// Every pair within `limit` ulp; 0 means equal.
#[track_caller]
pub fn assert_ulps(found: &[f32], expected: &[f32], limit: u32, context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}: length");
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        assert!(
            ulps(a, b) <= limit,
            "{context}: element {i} is {a:e}, expected {b:e} within {limit} ulp"
        );
    }
}

/// `|found − expected| ≤ limit`, element by element.
#[track_caller]
pub fn assert_within(found: &[f32], expected: &[f32], limits: &[f64], context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}: length");
    assert_eq!(found.len(), limits.len(), "{context}: limits");
    for (i, ((&a, &b), &limit)) in found.iter().zip(expected).zip(limits).enumerate() {
        let error = (f64::from(a) - f64::from(b)).abs();
        assert!(
            error <= limit,
            "{context}: element {i} is {a:e}, expected {b:e}; they differ by {error:e}, more than {limit:e}"
        );
    }
}

/// `Σ_j a · b` over what `at(row, j, col)` says.
pub fn product(
    a: &[f32],
    b: &[f32],
    at: impl Fn(usize, usize, usize) -> (usize, usize),
    [m, k, n]: [usize; 3],
) -> Vec<f32> {
    (0..m * n)
        .map(|i| {
            let terms = (0..k).map(|j| {
                let (p, q) = at(i / n, j, i % n);
                f64::from(a[p]) * f64::from(b[q])
            });
            terms.sum::<f64>() as f32
        })
        .collect()
}

/// Equal up to the roundings of a few dozen floats.
#[track_caller]
pub fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!(
            (a - b).abs() <= 2e-4 * (1.0 + b.abs()),
            "{what}: {a} is not {b}"
        );
    }
}

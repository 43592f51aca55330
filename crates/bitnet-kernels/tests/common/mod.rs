//! What the kernel tests share: a generator of random numbers, and the kernels that this machine runs.
//!
//! A kernel that the processor lacks is not tested here, and the tests say so (`SKIPPED: …`). `BITNET_TEST_KERNELS`, such as
//! `scalar,avx2,avx512-vnni`, demands that at least those are tested; with `CI=true` the list is printed.

#![allow(dead_code)] // every test file has its own copy, and needs a part of it

use std::{io::Write as _, sync::Once};

use bitnet_kernels::{Kernel, Layout, PackedView, Strategy, WeightQuantizer};

/// A small deterministic generator (xorshift), so that large inputs need no strategy of proptest.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    pub fn codes(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| self.next() as i8).collect()
    }

    pub fn ternary(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| (self.next() % 3) as i8 - 1).collect()
    }

    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| self.next() as i16 as f32 / 8192.0)
            .collect()
    }
}

/// The kernels that are tested.
///
/// # Panics
///
/// If `BITNET_TEST_KERNELS` names one that this machine does not run.
pub fn kernels() -> Vec<Kernel> {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        // Not `eprintln`, which the test harness hides when the test passes.
        let mut stderr = std::io::stderr();
        for kernel in Kernel::ALL {
            if let Err(error) = kernel.require() {
                let _ = writeln!(stderr, "SKIPPED: {error}");
            }
        }
        if std::env::var("CI").is_ok_and(|ci| ci == "true") {
            let _ = writeln!(stderr, "kernels tested: {:?}", Kernel::available());
        }
    });
    if let Ok(demanded) = std::env::var("BITNET_TEST_KERNELS") {
        for name in demanded.split(',') {
            if let Err(error) = name.trim().parse::<Kernel>() {
                panic!("BITNET_TEST_KERNELS={demanded}: {error}");
            }
        }
    }
    Kernel::available()
}

/// Runs on a pool of so many threads; where the target has none on the calling one, which is told.
pub fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    if cfg!(target_family = "wasm") {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            let _ = writeln!(std::io::stderr(), "SKIPPED: threads: this target has none");
        });
        return run();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("threads").install(run)
}

/// The quantisers whose codes are `round(w · s)`.
pub fn rounding() -> Vec<WeightQuantizer> {
    let all = WeightQuantizer::ALL.into_iter();
    all.filter(|quantizer| *quantizer != WeightQuantizer::Sign)
        .collect()
}

/// Every kernel of this machine with each of its strategies.
pub fn strategies() -> Vec<(Kernel, Strategy)> {
    let all = |kernel| Strategy::ALL.map(|strategy| (kernel, strategy));
    let mut all: Vec<_> = kernels().into_iter().flat_map(all).collect();
    all.retain(|(kernel, strategy)| strategy.require(*kernel).is_ok());
    all
}

/// A way to compute a prepacked product.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub kernel: Kernel,
    pub strategy: Strategy,
    pub layout: Layout,
}

impl Way {
    /// Whether its loops are plain ones, which take long on large inputs.
    pub fn is_slow(&self) -> bool {
        self.kernel == Kernel::SCALAR || self.strategy == Strategy::Signed
    }

    /// The weights repacked.
    pub fn prepack(&self, w: PackedView<'_>) -> bitnet_kernels::PrepackedTernary {
        bitnet_kernels::PrepackedTernary::new(w, self.layout, self.kernel, self.strategy).unwrap()
    }
}

/// Every kernel of this machine with each of its strategies and every layout.
pub fn ways() -> Vec<Way> {
    let all = |(kernel, strategy)| {
        Layout::ALL.map(|layout| Way {
            kernel,
            strategy,
            layout,
        })
    };
    strategies().into_iter().flat_map(all).collect()
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

//! Which instruction set a [`Kernel`] means for dense products.

use crate::Kernel;

/// The instruction sets that `tile` is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Plain Rust; with the processor's fused multiply-add, if it has one, because the software one is a call.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The level of a kernel.
    ///
    /// # Panics
    ///
    /// If the processor lacks the kernel.
    #[inline]
    pub(super) fn of(kernel: Kernel) -> Level {
        assert!(
            kernel.is_available(),
            "kernel `{kernel}` cannot run here: {}",
            kernel.reason()
        );
        match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni | Kernel::Avx512Lookup => Level::Avx512,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 | Kernel::AvxVnni => Level::Avx2,
            _ => Level::Portable,
        }
    }

    /// Whether this processor has the instructions.
    pub(super) fn is_available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    /// Every level that this processor has.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Level> {
        #[cfg(target_arch = "x86_64")]
        let all = [Level::Portable, Level::Avx2, Level::Avx512];
        #[cfg(not(target_arch = "x86_64"))]
        let all = [Level::Portable];
        all.into_iter().filter(|l| l.is_available()).collect()
    }
}

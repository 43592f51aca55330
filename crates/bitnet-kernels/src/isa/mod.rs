//! Which instruction set computes, and in which form. The choice changes the speed and never a result.
//!
//! A kernel that a user forces (`"avx2".parse()`) and that the processor lacks is an error, not a quiet fallback:
//! a measurement must be of what its label says.
//!
//! ```
//! use bitnet_kernels::Kernel;
//!
//! assert!(Kernel::available().contains(&Kernel::detect()));
//! assert_eq!("scalar".parse::<Kernel>(), Ok(Kernel::Scalar));
//! assert!("sse9".parse::<Kernel>().is_err());
//! ```

use std::{fmt, str::FromStr, sync::LazyLock};

#[cfg(target_arch = "x86_64")]
#[allow(dead_code, unused_imports)] // its users follow
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx_vnni;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod scalar;

use crate::Error;

/// An implementation of the hot loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Portable Rust, which the compiler may vectorise for the build's baseline. Runs everywhere.
    Scalar,
    /// 128-bit vectors of AArch64 with the int8 dot product (Armv8.2 `dotprod`: Cortex-A76, Apple M1, Graviton 2).
    Neon,
    /// 256-bit integer and float vectors of x86-64 (Haswell 2013, Zen 2017 and later).
    Avx2,
    /// AVX2 with the 256-bit int8 dot product of client processors (Alder Lake 2021, Zen 5 2024 and later).
    AvxVnni,
    /// 512-bit vectors with byte permutations and the int8 dot product (Ice Lake 2019, Zen 4 2022 and later).
    Avx512Vnni,
    /// The same instructions, with products of many rows shared between dot products and sums looked up in tables, for
    /// processors that do both at once (Zen 4 and 5). Everything else is as with [`Kernel::Avx512Vnni`].
    Avx512Lookup,
}

impl Kernel {
    /// Every kernel of this crate in the order of their declaration, as a rule slowest first.
    pub const ALL: [Kernel; 6] = [
        Kernel::Scalar,
        Kernel::Neon,
        Kernel::Avx2,
        Kernel::AvxVnni,
        Kernel::Avx512Vnni,
        Kernel::Avx512Lookup,
    ];

    /// The fastest kernel that this processor runs: the last one of [`Kernel::ALL`] that it has, but
    /// [`Kernel::Avx512Lookup`] only where the first call measures (in two milliseconds) that it is faster.
    pub fn detect() -> Kernel {
        static FASTEST: LazyLock<Kernel> = LazyLock::new(|| {
            let pays = |kernel| kernel != Kernel::Avx512Lookup || lookups_pay();
            let mut fastest_first = Kernel::ALL.into_iter().rev();
            let fastest = fastest_first.find(|kernel| kernel.is_available() && pays(*kernel));
            fastest.unwrap_or(Kernel::Scalar)
        });
        *FASTEST
    }

    /// The kernels that this processor runs, in the order of [`Kernel::ALL`].
    pub fn available() -> Vec<Kernel> {
        Kernel::ALL
            .into_iter()
            .filter(|kernel| kernel.is_available())
            .collect()
    }

    /// Whether this processor runs the kernel.
    #[inline]
    pub fn is_available(self) -> bool {
        // Products ask for every few outputs, so the answers are kept.
        static AVAILABLE: LazyLock<[bool; Kernel::ALL.len()]> =
            LazyLock::new(|| Kernel::ALL.map(Kernel::is_detected));
        AVAILABLE[self as usize]
    }

    /// Asks the processor.
    fn is_detected(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            match self {
                Kernel::Scalar => true,
                Kernel::Neon => false,
                Kernel::Avx2 => avx2,
                Kernel::AvxVnni => avx2 && has!("avxvnni"),
                Kernel::Avx512Vnni | Kernel::Avx512Lookup => {
                    avx2 && has!("avx512f")
                        && has!("avx512bw")
                        && has!("avx512vl")
                        && has!("avx512vbmi")
                        && has!("avx512vnni")
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            match self {
                Kernel::Scalar => true,
                Kernel::Neon => has!("neon") && has!("dotprod"),
                Kernel::Avx2 | Kernel::AvxVnni | Kernel::Avx512Vnni | Kernel::Avx512Lookup => false,
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            self == Kernel::Scalar
        }
    }

    /// The kernel itself if this processor runs it.
    ///
    /// # Errors
    ///
    /// [`Error::KernelUnavailable`] if it does not.
    pub fn require(self) -> Result<Kernel, Error> {
        if self.is_available() {
            Ok(self)
        } else {
            Err(Error::KernelUnavailable { kernel: self })
        }
    }

    /// Why this kernel can, or cannot, be chosen on this machine.
    pub fn reason(self) -> &'static str {
        let (available, fastest) = (self.is_available(), self == Kernel::detect());
        match self {
            Kernel::Scalar if fastest => {
                "portable code: this processor has no instruction set that another kernel is written for"
            }
            Kernel::Scalar => "portable code: runs everywhere, but a faster kernel is available",
            Kernel::Neon if available => "the processor reports dotprod: the fastest kernel here",
            Kernel::Neon if cfg!(target_arch = "aarch64") => {
                "the processor does not report NEON with dotprod"
            }
            Kernel::Neon => "NEON exists on AArch64 only",
            _ if !cfg!(target_arch = "x86_64") => "AVX exists on x86-64 only",
            Kernel::Avx2 if fastest => "the processor reports AVX2: the fastest kernel here",
            Kernel::Avx2 if available => {
                "the processor reports AVX2, but a faster kernel is available"
            }
            Kernel::Avx2 => "the processor does not report AVX2 and FMA",
            Kernel::AvxVnni if fastest => "the processor reports AVX-VNNI: the fastest kernel here",
            Kernel::AvxVnni if available => {
                "the processor reports AVX-VNNI, but a faster kernel is available"
            }
            Kernel::AvxVnni => "the processor does not report AVX-VNNI",
            Kernel::Avx512Vnni if fastest => {
                "the processor reports AVX-512 with VNNI: the fastest kernel here"
            }
            Kernel::Avx512Vnni if available => {
                "the processor reports AVX-512 with VNNI, but avx512-lookup was measured to be faster"
            }
            Kernel::Avx512Lookup if fastest => {
                "the processor reports AVX-512 with VNNI, and table lookups beside the dot products were measured to be \
                 faster: the fastest kernel here"
            }
            Kernel::Avx512Lookup if available => {
                "the processor reports AVX-512 with VNNI, but table lookups beside the dot products were measured to be no faster"
            }
            Kernel::Avx512Vnni | Kernel::Avx512Lookup => {
                "the processor does not report AVX-512 F, BW, VL, VBMI and VNNI together"
            }
        }
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Scalar => "scalar",
            Kernel::Neon => "neon",
            Kernel::Avx2 => "avx2",
            Kernel::AvxVnni => "avx-vnni",
            Kernel::Avx512Vnni => "avx512-vnni",
            Kernel::Avx512Lookup => "avx512-lookup",
        }
    }

    /// The kernel again, which the processor has: a [`Kernel`] value alone is no proof of that.
    ///
    /// # Panics
    ///
    /// If the processor lacks it.
    #[inline]
    pub(crate) fn proven(self) -> Kernel {
        assert!(
            self.is_available(),
            "kernel `{self}` cannot run here: {}",
            self.reason()
        );
        self
    }
}

/// Whether products that look sums up are faster here than dot products alone.
fn lookups_pay() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // Where it pays it was measured as 1.3 on a quiet machine (Zen 4; 1.1 on Zen 5) and as little as 1.06 beside a busy
        // neighbour; where it does not, the two are close, and a wrong answer costs little.
        crate::gemm::lut::gain() > 1.02
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Kernel, Error> {
        match Kernel::ALL.into_iter().find(|kernel| kernel.name() == name) {
            Some(kernel) => kernel.require(),
            None => Err(Error::UnknownKernel {
                name: name.to_owned(),
            }),
        }
    }
}

/// Calls `scalar::name(..)` or `avx2::name(..)`, which have the same signatures.
///
/// On AArch64 NEON is part of the baseline, so `scalar` is compiled for it anyway.
macro_rules! dispatch {
    ($kernel:expr, $($name:ident)::+ ( $($arg:expr),* $(,)? )) => {
        match $kernel.proven() {
            #[cfg(target_arch = "x86_64")]
            $crate::Kernel::Avx2
            | $crate::Kernel::AvxVnni
            | $crate::Kernel::Avx512Vnni
            | $crate::Kernel::Avx512Lookup => {
                // SAFETY: the functions of `avx2` need AVX2 and nothing else, which these kernels include and `proven`
                // has detected.
                unsafe { $crate::isa::avx2::$($name)::+($($arg),*) }
            }
            _ => $crate::isa::scalar::$($name)::+($($arg),*),
        }
    };
}
pub(crate) use dispatch;

//! Which instruction set computes. The choice changes the speed and never a result.
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

use std::{fmt, str::FromStr};

use crate::Error;

/// An implementation of the hot loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Portable Rust, which the compiler may vectorise for the build's baseline. Runs everywhere.
    Scalar,
    /// 256-bit integer and float vectors of x86-64 (Haswell 2013, Zen 2017 and later).
    Avx2,
}

impl Kernel {
    /// Every kernel of this crate, slowest first.
    pub const ALL: [Kernel; 2] = [Kernel::Scalar, Kernel::Avx2];

    /// The fastest kernel that this processor runs.
    pub fn detect() -> Kernel {
        if Kernel::Avx2.is_available() {
            Kernel::Avx2
        } else {
            Kernel::Scalar
        }
    }

    /// The kernels that this processor runs, slowest first.
    pub fn available() -> Vec<Kernel> {
        Kernel::ALL
            .into_iter()
            .filter(|kernel| kernel.is_available())
            .collect()
    }

    /// Whether this processor runs the kernel.
    pub fn is_available(self) -> bool {
        match self {
            Kernel::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => std::is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Kernel::Avx2 => false,
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
        match (self, self.is_available()) {
            (Kernel::Scalar, _) if Kernel::detect() == Kernel::Scalar => {
                "portable code: this processor has no instruction set that another kernel is written for"
            }
            (Kernel::Scalar, _) => {
                "portable code: runs everywhere, but a faster kernel is available"
            }
            (Kernel::Avx2, true) => "the processor reports AVX2: the fastest kernel here",
            (Kernel::Avx2, false) if cfg!(target_arch = "x86_64") => {
                "the processor does not report AVX2"
            }
            (Kernel::Avx2, false) => "AVX2 exists on x86-64 only",
        }
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Scalar => "scalar",
            Kernel::Avx2 => "avx2",
        }
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
/// A [`Kernel`] value is no proof that the processor has the instructions, so the proof is made here.
macro_rules! dispatch {
    ($kernel:expr, $($name:ident)::+ ( $($arg:expr),* $(,)? )) => {
        match $kernel {
            #[cfg(target_arch = "x86_64")]
            kernel @ $crate::Kernel::Avx2 => {
                assert!(kernel.is_available(), "kernel `{kernel}` cannot run here: {}", kernel.reason());
                // SAFETY: the functions of `avx2` need AVX2 and nothing else, which the line above asserts.
                unsafe { $crate::avx2::$($name)::+($($arg),*) }
            }
            #[cfg(not(target_arch = "x86_64"))]
            kernel @ $crate::Kernel::Avx2 => {
                panic!("kernel `{kernel}` cannot run here: {}", kernel.reason())
            }
            $crate::Kernel::Scalar => $crate::scalar::$($name)::+($($arg),*),
        }
    };
}
pub(crate) use dispatch;

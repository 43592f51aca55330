//! Which instruction set computes. The choice changes the speed and not a result, but for attention to keys and values in
//! bf16, which `amx` sums in an order of its own ([`Attention`](crate::Attention)).
//!
//! A kernel that a user forces (`"avx2".parse()`) and that the processor lacks is an error, not a quiet fallback:
//! a measurement must be of what its label says.
//!
//! ```
//! use bitnet_kernels::Kernel;
//!
//! assert!(Kernel::available().contains(&Kernel::detect()));
//! assert_eq!("scalar".parse::<Kernel>(), Ok(Kernel::SCALAR));
//! assert!("sse9".parse::<Kernel>().is_err());
//! ```

use std::{
    fmt,
    str::FromStr,
    sync::{LazyLock, OnceLock},
};

use super::{Isa, Loops, TABLE};
use crate::Error;

/// An instruction set that the hot loops are written for: a handle to an entry of this crate's table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel(u8);

impl Kernel {
    /// Portable Rust, which the compiler may vectorise for the build's baseline. Runs everywhere.
    pub const SCALAR: Kernel = Kernel(0);

    /// Every kernel of this crate, those of other architectures too, as a rule slowest first.
    pub const ALL: [Kernel; TABLE.len()] = {
        let mut all = [Kernel(0); TABLE.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = Kernel(index as u8);
            index += 1;
        }
        all
    };

    /// The fastest kernel that this processor runs: the last one of [`Kernel::ALL`] that it has.
    pub fn detect() -> Kernel {
        static FASTEST: LazyLock<Kernel> = LazyLock::new(|| {
            let mut fastest_first = Kernel::ALL.into_iter().rev();
            let fastest = fastest_first.find(|kernel| kernel.is_available());
            fastest.expect("plain Rust runs everywhere")
        });
        *FASTEST
    }

    /// The kernels that this processor runs, in the order of [`Kernel::ALL`].
    pub fn available() -> Vec<Kernel> {
        let all = Kernel::ALL.into_iter();
        all.filter(|kernel| kernel.is_available()).collect()
    }

    /// Whether this processor runs the kernel.
    pub fn is_available(self) -> bool {
        self.detected().is_ok()
    }

    /// The instruction set, if this process can use it, or why not. Asked once.
    fn detected(self) -> Result<&'static Isa, &'static str> {
        static DETECTED: [OnceLock<Result<&'static Isa, String>>; TABLE.len()] =
            [const { OnceLock::new() }; TABLE.len()];
        let index = usize::from(self.0);
        let ask = || {
            let entry = &TABLE[index];
            match entry.isa {
                Some(isa) => (isa.detect)().map(|()| isa),
                None => Err(format!("it exists on {} only", entry.arch)),
            }
        };
        match DETECTED[index].get_or_init(ask) {
            Ok(isa) => Ok(isa),
            Err(reason) => Err(reason),
        }
    }

    /// The kernel itself if this processor runs it.
    ///
    /// # Errors
    ///
    /// [`Error::KernelUnavailable`] if it does not.
    pub fn require(self) -> Result<Kernel, Error> {
        match self.detected() {
            Ok(_) => Ok(self),
            Err(_) => Err(Error::KernelUnavailable { kernel: self }),
        }
    }

    /// Why this kernel can, or cannot, be chosen on this machine.
    pub fn reason(self) -> String {
        let isa = match self.detected() {
            Ok(isa) => isa,
            Err(reason) => return reason.to_owned(),
        };
        let rank = match self == Kernel::detect() {
            true => "the fastest kernel here",
            false => "but a faster kernel is available",
        };
        match self {
            Kernel::SCALAR => format!("portable code, which runs everywhere: {rank}"),
            _ => format!("the processor reports {}: {rank}", isa.needs),
        }
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        TABLE[usize::from(self.0)].name
    }

    /// The loops of the kernel, which the processor is thereby proven to have: a [`Kernel`] value alone is no proof.
    ///
    /// # Panics
    ///
    /// If the processor lacks the kernel.
    #[inline]
    pub(crate) fn loops(self) -> Loops {
        match self.detected() {
            Ok(isa) => Loops::of_detected(isa),
            Err(reason) => panic!("kernel `{self}` cannot run here: {reason}"),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

//! By which operations a product adds up. Every strategy gives the same bits.

use std::{fmt, str::FromStr, sync::OnceLock};

use super::Kernel;
use crate::{Error, gemm::blocking};

/// By which operations a product of ternary weights and int8 activations adds up.
///
/// ```
/// use bitnet_kernels::{Kernel, Strategy};
/// assert_eq!("signed".parse(), Ok(Strategy::Signed));
/// assert!(Strategy::Signed.require(Kernel::SCALAR).is_ok());
/// assert!(Strategy::Lookup.require(Kernel::SCALAR).is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Dot products of the stored codes 0, 1, 2 with the activations, less the sum of the activations.
    #[default]
    Dot,
    /// Dot products for a part of the columns, and for the rest sums looked up in tables of what three weights make of three
    /// activations (LUT), for processors that do both at once (Zen 4 and 5). Products of few rows are dot products: there
    /// tables cost more than they save.
    Lookup,
    /// Signed summation: activations are added, subtracted or left out, and nothing is multiplied, as the papers describe a
    /// BitLinear. Masks do it on AVX-512, plain loops elsewhere. To be compared with: it is several times slower.
    Signed,
}

/// The choice of [`Strategy::train_by`].
static OF_TRAINING: OnceLock<Strategy> = OnceLock::new();

impl Strategy {
    /// Every strategy.
    pub const ALL: [Strategy; 3] = [Strategy::Dot, Strategy::Lookup, Strategy::Signed];

    /// The fastest strategy of a kernel: [`Strategy::Lookup`] where the first call measures (in two milliseconds) that it
    /// beats the dot products, else [`Strategy::Dot`].
    ///
    /// # Panics
    ///
    /// If the processor lacks `kernel`.
    pub fn detect(kernel: Kernel) -> Strategy {
        static LOOKUP_PAYS: OnceLock<bool> = OnceLock::new();
        let isa = kernel.loops().isa();
        // An arrangement of its own is the kernel's fastest: there is nothing to measure.
        let pays = isa.lookup.is_some()
            && isa.many_rows.is_none()
            // Where it pays it was measured as 1.3 on a quiet machine (Zen 4; 1.1 on Zen 5) and as little as 1.06 beside a
            // busy neighbour; where it does not, the two are close, and a wrong answer costs little.
            && *LOOKUP_PAYS.get_or_init(|| blocking::lookup_gain(kernel) > 1.02);
        match pays {
            true => Strategy::Lookup,
            false => Strategy::Dot,
        }
    }

    /// The strategy itself if `kernel` has it and the processor has the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::KernelUnavailable`] or [`Error::StrategyUnavailable`].
    pub fn require(self, kernel: Kernel) -> Result<Strategy, Error> {
        let isa = kernel.require()?.loops().isa();
        match self {
            Strategy::Lookup if isa.lookup.is_none() => Err(Error::StrategyUnavailable {
                strategy: self,
                kernel,
            }),
            Strategy::Dot | Strategy::Lookup | Strategy::Signed => Ok(self),
        }
    }

    /// The strategy of products of canonical words: the one that [`Strategy::train_by`] chose, else [`Strategy::Dot`].
    pub fn of_training() -> Strategy {
        OF_TRAINING.get().copied().unwrap_or_default()
    }

    /// Chooses the strategy of all products of canonical words in this process, which are those of training and of models
    /// that run on tensors; once, before the first of them.
    ///
    /// # Errors
    ///
    /// As [`Strategy::require`] of [`Kernel::detect`].
    pub fn train_by(self) -> Result<(), Error> {
        let strategy = self.require(Kernel::detect())?;
        // A second choice finds the first one made, which only a program that chooses twice can tell.
        let _ = OF_TRAINING.set(strategy);
        Ok(())
    }

    /// Why [`Strategy::detect`] chose it for a kernel, or did not.
    ///
    /// # Panics
    ///
    /// If the processor lacks `kernel`.
    pub fn reason(self, kernel: Kernel) -> String {
        let (chosen, isa) = (Strategy::detect(kernel) == self, kernel.loops().isa());
        match self {
            Strategy::Dot if chosen && isa.lookup.is_none() => {
                format!("dot products: {kernel} has no table lookups beside them")
            }
            Strategy::Dot if chosen && isa.many_rows.is_some() => {
                format!("dot products: {kernel} has no faster way to multiply many rows")
            }
            Strategy::Dot if chosen => {
                "dot products: table lookups beside them were measured to be no faster".to_owned()
            }
            Strategy::Dot => {
                "table lookups beside the dot products were measured to be faster".to_owned()
            }
            Strategy::Lookup if chosen => {
                "table lookups beside the dot products: measured to be faster".to_owned()
            }
            Strategy::Lookup if isa.lookup.is_none() => {
                format!("{kernel} has no byte and word permutations to look sums up with")
            }
            Strategy::Lookup => "no faster here than dot products alone".to_owned(),
            Strategy::Signed => {
                "additions and subtractions alone, to be compared with: several times slower"
                    .to_owned()
            }
        }
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Dot => "dot",
            Strategy::Lookup => "lookup",
            Strategy::Signed => "signed",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Strategy, Error> {
        let mut all = Strategy::ALL.into_iter();
        all.find(|strategy| strategy.name() == name)
            .ok_or_else(|| Error::UnknownStrategy {
                name: name.to_owned(),
            })
    }
}

//! How exact products of floats are: settings of the process, like PyTorch's `set_float32_matmul_precision`.
//!
//! They act where the processor multiplies bf16 in tiles (Intel AMX). Elsewhere products are f32 multiply-adds, which
//! is what the defaults mean too: they choose among equally exact ways by the processor, so the last bits of a result
//! depend on it.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::Error;

/// What products of two floats are computed from: [`matmul`](super::matmul) and attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Precision {
    /// f32: multiply-adds, or six products of bf16 pieces where tiles make them faster.
    #[default]
    F32,
    /// One product of operands rounded to bf16, sums in f32: what is called bf16 autocast.
    Bf16,
}

/// How much of `∂y` the two backward products of a ternary layer take, whose other operand is exact in bf16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GradientPieces {
    /// The nearest bf16, 8 bits.
    One,
    /// The sum of two, 16 bits.
    Two,
    /// All 24 bits.
    #[default]
    Three,
}

/// Both settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Numerics {
    /// Of products of two floats.
    pub precision: Precision,
    /// Of the backward products of ternary layers.
    pub gradient_pieces: GradientPieces,
}

static CURRENT: AtomicU8 = AtomicU8::new(0);

impl Numerics {
    /// The settings of this process.
    pub fn current() -> Numerics {
        Numerics::of_bits(CURRENT.load(Ordering::Relaxed))
    }

    fn of_bits(bits: u8) -> Numerics {
        Numerics {
            precision: if bits & 1 == 0 {
                Precision::F32
            } else {
                Precision::Bf16
            },
            gradient_pieces: match bits >> 1 {
                0 => GradientPieces::Three,
                1 => GradientPieces::Two,
                _ => GradientPieces::One,
            },
        }
    }

    fn bits(self) -> u8 {
        let pieces = match self.gradient_pieces {
            GradientPieces::Three => 0,
            GradientPieces::Two => 1,
            GradientPieces::One => 2,
        };
        pieces << 1 | u8::from(self.precision == Precision::Bf16)
    }

    /// Makes these the settings of this process.
    ///
    /// # Errors
    ///
    /// [`Error::NoTiles`] if they are not the defaults and the processor has no tiles of bf16.
    pub fn apply(self) -> Result<(), Error> {
        if self != Numerics::default() {
            tiles().map_err(|reason| Error::NoTiles { reason })?;
        }
        CURRENT.store(self.bits(), Ordering::Relaxed);
        Ok(())
    }

    /// What the products of a training step are computed with here, for reports.
    pub fn arithmetic(self) -> String {
        format!(
            "products of floats: {}; gradients of ternary layers: {}",
            self.float_products(),
            self.ternary_gradients()
        )
    }

    /// What products of two floats run on here.
    fn float_products(self) -> &'static str {
        match (tiles(), self.precision) {
            (Err(_), _) => "f32 multiply-adds",
            (Ok(()), Precision::F32) => "six passes of bf16 tiles",
            (Ok(()), Precision::Bf16) => "one pass of bf16 tiles",
        }
    }

    /// What the backward products of ternary layers run on here.
    fn ternary_gradients(self) -> &'static str {
        match (tiles(), self.gradient_pieces) {
            (Err(_), _) => "f32 multiply-adds",
            (Ok(()), GradientPieces::Three) => "three passes of bf16 tiles",
            (Ok(()), GradientPieces::Two) => "two passes of bf16 tiles",
            (Ok(()), GradientPieces::One) => "one pass of bf16 tiles",
        }
    }
}

/// Whether products may use tiles, or why not.
fn tiles() -> Result<(), &'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        super::pieces::Tiled::get().map(|_| ())
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        Err("AMX exists on x86-64 only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings are the process's, which other tests multiply in: only the defaults are made current here.
    #[test]
    fn settings_are_kept_or_refused() {
        assert_eq!(Numerics::default().apply(), Ok(()));
        assert_eq!(Numerics::current(), Numerics::default());
        let coarse = Numerics {
            precision: Precision::Bf16,
            gradient_pieces: GradientPieces::One,
        };
        match tiles() {
            Ok(()) => assert!(coarse.arithmetic().contains("one pass of bf16 tiles")),
            Err(reason) => {
                assert_eq!(coarse.apply(), Err(Error::NoTiles { reason }));
                assert!(coarse.arithmetic().contains("f32 multiply-adds"));
            }
        }
        assert_eq!(Numerics::of_bits(coarse.bits()), coarse);
    }
}

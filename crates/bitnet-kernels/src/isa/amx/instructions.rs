//! Products of panels on the processor.
//!
//! One block of assembly is one block of results: 4 accumulators (tmm0 to tmm3), two tiles of A (tmm4, tmm5), two of B
//! (tmm6, tmm7).

use std::arch::asm;

use super::{Block, Configured, Pair, Passes, Start, Strided, Tiles, Unit};
use crate::format::Line;

/// Loads both tiles of a piece of A (`at` 0, 2048 or 4096 bytes into the step), or of B. `once` says that these bytes are
/// not needed again soon.
macro_rules! load {
    (a once) => {
        "tileloaddt1 tmm4, [{a} + {row}]\ntileloaddt1 tmm5, [{a} + {row} + 1024]\n"
    };
    (a $at:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {row} + ",
            $at,
            "]\n",
            "tileloadd tmm5, [{a} + {row} + 1024 + ",
            $at,
            "]\n"
        )
    };
    (b $at:literal) => {
        concat!(
            "tileloadd tmm6, [{b} + {row} + ",
            $at,
            "]\n",
            "tileloadd tmm7, [{b} + {row} + 1024 + ",
            $at,
            "]\n"
        )
    };
}

/// Loads both tiles of a step of a [`Strided`] B.
macro_rules! load_strided {
    () => {
        "tileloadd tmm6, [{b} + {b_row}]\ntileloadd tmm7, [{b_second} + {b_row}]\n"
    };
}

/// The four products of what is loaded.
macro_rules! multiply {
    ($dot:literal) => {
        concat!(
            $dot,
            " tmm0, tmm4, tmm6\n",
            $dot,
            " tmm1, tmm4, tmm7\n",
            $dot,
            " tmm2, tmm5, tmm6\n",
            $dot,
            " tmm3, tmm5, tmm7\n"
        )
    };
}

/// The accumulators from the block or from zero, and the head of the loop over the steps.
macro_rules! begin {
    () => {
        concat!(
            "test {add:e}, {add:e}\n",
            "jz 2f\n",
            "tileloadd tmm0, [{c} + {c_row}]\n",
            "tileloadd tmm1, [{c} + {c_row} + 64]\n",
            "tileloadd tmm2, [{c} + {c_row} + 2048]\n",
            "tileloadd tmm3, [{c} + {c_row} + 2112]\n",
            "jmp 3f\n",
            "2:\n",
            "tilezero tmm0\n",
            "tilezero tmm1\n",
            "tilezero tmm2\n",
            "tilezero tmm3\n",
            "3:\n",
            "test {steps}, {steps}\n",
            "jz 5f\n",
            "4:\n"
        )
    };
}

/// The foot of the loop, and the accumulators to the block.
macro_rules! end {
    () => {
        concat!(
            "dec {steps}\n",
            "jnz 4b\n",
            "5:\n",
            "tilestored [{c} + {c_row}], tmm0\n",
            "tilestored [{c} + {c_row} + 64], tmm1\n",
            "tilestored [{c} + {c_row} + 2048], tmm2\n",
            "tilestored [{c} + {c_row} + 2112], tmm3\n"
        )
    };
}

/// The loop over k of a 32 × 32 block: `$step` for every `$of_a` pairs of A and `$of_b` of B.
macro_rules! block {
    ($of_a:literal $of_b:literal, [$($step:expr),+], $a:expr, $b:expr, $start:expr, $c:expr) => {{
        let (a, b): (&[Pair], &[Pair]) = ($a, $b);
        assert_eq!(a.len() * $of_b, b.len() * $of_a, "steps of the panels");
        // SAFETY: a `Configured` exists on this thread, so the process may use tiles, and none has more than 16 rows of 64
        // bytes. Each of the `a.len() / $of_a` steps reads `$of_a` pairs of 2048 bytes of A and `$of_b` of B, of which the
        // panels have as many, and the loop reads and writes the 4096 bytes of the block, 32 rows of 128 bytes: tiles at
        // 0 and 64 of its rows 0 and 16. Tile registers and the counters are the only other things that change.
        unsafe {
            asm!(
                begin!(),
                $($step,)+
                concat!("add {a}, 2048 * ", $of_a),
                concat!("add {b}, 2048 * ", $of_b),
                end!(),
                add = in(reg) i32::from($start == Start::Add),
                steps = inout(reg) a.len() / $of_a => _,
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.as_ptr() => _,
                c = in(reg) std::ptr::from_mut($c),
                row = in(reg) 64usize,
                c_row = in(reg) 128usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }};
}

/// As [`block`], with a B where it lies: `$step` for every `$of_a` pairs of A.
macro_rules! strided {
    ($of_a:literal, [$($step:expr),+], $a:expr, $b:expr, $start:expr, $c:expr) => {{
        let (a, b): (&[Pair], Strided<'_>) = ($a, $b);
        let steps = a.len() / $of_a;
        assert!(a.len().is_multiple_of($of_a) && b.holds(steps), "steps of the panels");
        const LINE: usize = size_of::<Line>();
        // SAFETY: as in `block!` for A and the block. Of B each step reads two tiles of 16 lines of 64 bytes, which
        // `holds` has found within its lines.
        unsafe {
            asm!(
                begin!(),
                $($step,)+
                concat!("add {a}, 2048 * ", $of_a),
                "add {b}, {b_step}",
                "add {b_second}, {b_step}",
                end!(),
                add = in(reg) i32::from($start == Start::Add),
                steps = inout(reg) steps => _,
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.lines.as_ptr() => _,
                b_second = inout(reg) b.lines.as_ptr().wrapping_add(b.tile) => _,
                b_row = in(reg) LINE * b.row,
                b_step = in(reg) LINE * b.step,
                c = in(reg) std::ptr::from_mut($c),
                row = in(reg) 64usize,
                c_row = in(reg) 128usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }};
}

/// Runs so many rounds of products on registers alone and returns the multiply-adds of one round.
///
/// # Panics
///
/// If this process may not use tiles.
pub(super) fn dots(rounds: usize) -> usize {
    let tiles = Tiles::get().unwrap_or_else(|refusal| panic!("{}", refusal.reason()));
    let _configured = tiles.configure();
    // SAFETY: the tiles are configured. The loop changes tile registers and its counter alone; at least one round runs, and
    // all bits of a tile are legal.
    unsafe {
        asm!(
            "2:",
            multiply!("tdpbssd"),
            "dec {rounds}",
            "jnz 2b",
            rounds = inout(reg) rounds.max(1) => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            options(nostack, nomem),
        );
    }
    4 * 16 * 16 * 64
}

impl Unit for Configured {
    #[inline]
    fn int8(&self, a: &[Pair], b: &[Pair], start: Start, c: &mut Block<i32>) {
        block!(1 1, [load!(b 0), load!(a once), multiply!("tdpbsud")], a, b, start, c);
    }

    #[inline]
    fn bf16(&self, a: &[Pair], b: &[Pair], start: Start, c: &mut Block<f32>) {
        block!(1 1, [load!(a 0), load!(b 0), multiply!("tdpbf16ps")], a, b, start, c);
    }

    fn bf16_pieces(
        &self,
        passes: Passes,
        a: &[Pair],
        b: &[Pair],
        start: Start,
        c: &mut Block<f32>,
    ) {
        match passes {
            Passes::One => self.bf16(a, b, start, c),
            Passes::Two => block!(
                2 1,
                [
                    load!(b 0), load!(a 2048), multiply!("tdpbf16ps"),
                    load!(a 0), multiply!("tdpbf16ps")
                ],
                a, b, start, c
            ),
            Passes::Three => block!(
                3 1,
                [
                    load!(b 0), load!(a 4096), multiply!("tdpbf16ps"),
                    load!(a 2048), multiply!("tdpbf16ps"),
                    load!(a 0), multiply!("tdpbf16ps")
                ],
                a, b, start, c
            ),
            Passes::Six => block!(
                3 3,
                [
                    load!(b 0), load!(a 4096), multiply!("tdpbf16ps"),
                    load!(a 2048), multiply!("tdpbf16ps"),
                    load!(b 2048), multiply!("tdpbf16ps"),
                    load!(a 0), multiply!("tdpbf16ps"),
                    load!(b 4096), multiply!("tdpbf16ps"),
                    load!(b 0), multiply!("tdpbf16ps")
                ],
                a, b, start, c
            ),
        }
    }

    fn bf16_strided(
        &self,
        passes: Passes,
        a: &[Pair],
        b: Strided<'_>,
        start: Start,
        c: &mut Block<f32>,
    ) {
        match passes {
            Passes::One => {
                strided!(
                    1,
                    [load_strided!(), load!(a 0), multiply!("tdpbf16ps")],
                    a,
                    b,
                    start,
                    c
                );
            }
            Passes::Two => strided!(
                2,
                [
                    load_strided!(),
                    load!(a 2048),
                    multiply!("tdpbf16ps"),
                    load!(a 0),
                    multiply!("tdpbf16ps")
                ],
                a,
                b,
                start,
                c
            ),
            Passes::Three => strided!(
                3,
                [
                    load_strided!(),
                    load!(a 4096),
                    multiply!("tdpbf16ps"),
                    load!(a 2048),
                    multiply!("tdpbf16ps"),
                    load!(a 0),
                    multiply!("tdpbf16ps")
                ],
                a,
                b,
                start,
                c
            ),
            Passes::Six => panic!("a B of one piece"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Model, Tile, Tiles},
        *,
    };
    use crate::skipped::skipped;

    fn pairs(steps: usize, mut byte: impl FnMut() -> u8) -> Vec<Pair> {
        let mut pairs = vec![Pair::ZERO; steps];
        pairs
            .iter_mut()
            .flat_map(Pair::bytes_mut)
            .for_each(|b| *b = byte());
        pairs
    }

    fn bits(block: &Block<f32>) -> Vec<u32> {
        block.0.iter().flatten().map(|v| v.to_bits()).collect()
    }

    fn random(seed: u64) -> impl FnMut() -> u8 {
        let mut state = seed;
        move || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 56) as u8
        }
    }

    /// The processor's tiles, or a line that says that it has none.
    fn tiles() -> Option<Tiles> {
        Tiles::get()
            .inspect_err(|refusal| skipped(refusal.reason()))
            .ok()
    }

    #[test]
    fn int8_is_what_the_model_says() {
        let Some(tiles) = tiles() else { return };
        let unit = tiles.configure();
        let cases = [random(1)].map(|mut r| {
            (0..9)
                .map(|steps| (pairs(steps, &mut r), pairs(steps, &mut r)))
                .collect::<Vec<_>>()
        });
        let extremes = [(0x80, 0xff), (0x7f, 0xff), (0xff, 1), (0, 7)]
            .map(|(x, y)| (pairs(3, || x), pairs(3, || y)));
        for (a, b) in cases.iter().flatten().chain(&extremes) {
            let mut found = Block([[77; 32]; 32]);
            let mut expected = Block([[-5; 32]; 32]);
            for start in [Start::Zero, Start::Add, Start::Add] {
                unit.int8(a, b, start, &mut found);
                Model.int8(a, b, start, &mut expected);
                assert_eq!(found, expected);
            }
        }
    }

    /// All bits, so also denormals, infinities and cancellation; a NaN is only required to be one.
    #[test]
    fn bf16_is_what_the_model_says_bit_for_bit() {
        let Some(tiles) = tiles() else { return };
        let unit = tiles.configure();
        let mut r = random(3);
        for (steps, upper) in [
            (1, 0x3fu8),
            (3, 0x40),
            (7, 0x00),
            (2, 0x7f),
            (5, 0x20),
            (4, 0xff),
        ] {
            let mut make = || {
                let mut pairs = pairs(steps, &mut r);
                for Pair(tiles) in &mut pairs {
                    for Tile(rows) in tiles {
                        // Exponents near that of `upper`, or any at all.
                        rows.iter_mut()
                            .flatten()
                            .skip(1)
                            .step_by(2)
                            .for_each(|byte| {
                                *byte = if upper == 0xff {
                                    *byte
                                } else {
                                    *byte & 0x81 | upper & 0x7e
                                };
                            });
                    }
                }
                pairs
            };
            let (a, b) = (make(), make());
            let (mut found, mut expected) = (Block::<f32>::zero(), Block::<f32>::zero());
            for start in [Start::Zero, Start::Add] {
                unit.bf16(&a, &b, start, &mut found);
                Model.bf16(&a, &b, start, &mut expected);
                for (i, (found, expected)) in
                    bits(&found).into_iter().zip(bits(&expected)).enumerate()
                {
                    let nan = |bits| f32::from_bits(bits).is_nan();
                    assert!(
                        found == expected || nan(found) && nan(expected),
                        "{steps} steps of {upper:#x} [{i}]: {found:#x} {expected:#x}"
                    );
                }
            }
        }
    }

    #[test]
    fn pieces_are_what_the_model_says_bit_for_bit() {
        let Some(tiles) = tiles() else { return };
        let unit = tiles.configure();
        let mut r = random(9);
        for passes in [Passes::One, Passes::Two, Passes::Three, Passes::Six] {
            let (of_a, of_b) = passes.pieces();
            for steps in [0, 1, 5] {
                // Finite: no exponent above that of 2.
                let mut make = |pieces: usize| {
                    let mut pairs = pairs(steps * pieces, &mut r);
                    pairs
                        .iter_mut()
                        .flat_map(|pair| pair.bytes_mut().iter_mut().skip(1).step_by(2))
                        .for_each(|byte| *byte &= 0xbf);
                    pairs
                };
                let (a, b) = (make(of_a), make(of_b));
                let (mut found, mut expected) = (Block([[3.0; 32]; 32]), Block([[3.0; 32]; 32]));
                for start in [Start::Add, Start::Zero, Start::Add] {
                    unit.bf16_pieces(passes, &a, &b, start, &mut found);
                    Model.bf16_pieces(passes, &a, &b, start, &mut expected);
                    assert_eq!(bits(&found), bits(&expected), "{passes:?}, {steps} steps");
                }
            }
        }
    }

    #[test]
    fn a_configuration_inside_another_leaves_it() {
        let Some(tiles) = tiles() else { return };
        let (a, b) = (pairs(2, || 1), pairs(2, || 2));
        let outer = tiles.configure();
        drop(tiles.configure());
        let mut c = Block::<i32>::zero();
        outer.int8(&a, &b, Start::Zero, &mut c);
        assert_eq!(c, Block([[256; 32]; 32]));
    }

    #[test]
    fn every_thread_has_its_own() {
        let Some(tiles) = tiles() else { return };
        let (a, b) = (pairs(5, || 1), pairs(5, || 1));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut c = Block::<i32>::zero();
                        tiles.configure().int8(&a, &b, Start::Zero, &mut c);
                        assert_eq!(c, Block([[320; 32]; 32]));
                    }
                });
            }
        });
    }
}

//! The tile registers of a thread.
//!
//! A thread configures its eight registers before it multiplies and releases them afterwards, around a whole product: both
//! together take about 50 ns. Released, because a thread with tiles in use has 8 KiB more to save at each switch to another
//! thread, and a core that holds them does not sleep deeply. Products inside of products (a thread that helps out while
//! it waits) find the registers configured, and leave them so.

use std::{arch::asm, cell::Cell, marker::PhantomData};

use super::Tiles;

thread_local! {
    /// How many [`Configured`] this thread holds, and for how many rows of A the registers are configured.
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The calling thread's tile registers: 64 bytes a row, and 16 rows but where fewer rows of A were asked for. Stays on its
/// thread.
pub(crate) struct Configured {
    on_its_thread: PhantomData<*const ()>,
}

/// What `ldtilecfg` reads: palette 1, then 16-bit bytes per row from byte 16 and 8-bit rows from byte 48.
#[repr(C, align(64))]
struct Config([u8; 64]);

/// Registers for so many of the 32 rows of A and C: `tmm0` to `tmm3` are C, `tmm4` and `tmm5` the halves of A, the others B,
/// as in `instructions`. A product takes a cycle a row, and its sums are the same whatever stands in other rows.
fn config(rows: usize) -> Config {
    let mut config = [0; 64];
    config[0] = 1;
    let (upper, lower) = (rows.clamp(1, 16) as u8, rows.saturating_sub(16).clamp(1, 16) as u8);
    for (tile, rows) in [upper, upper, lower, lower, upper, lower, 16, 16].into_iter().enumerate() {
        config[16 + 2 * tile] = 64;
        config[48 + tile] = rows;
    }
    Config(config)
}

impl Configured {
    /// Registers for the first `rows` of the 32 rows of A and C; the other rows of a result are left as they are.
    pub(super) fn new(_: Tiles, rows: usize) -> Configured {
        HELD.with(|held| {
            let (holders, configured) = held.get();
            assert!(
                holders == 0 || configured >= rows,
                "tiles of {configured} rows are in use, {rows} are needed"
            );
            if holders == 0 {
                let config = config(rows);
                // SAFETY: `Tiles` proves that the processor has the instruction and the process may use it. It reads the
                // 64 bytes of the configuration, and clears tile registers, of which nothing is alive: every loop is
                // one block of assembly.
                unsafe {
                    asm!(
                        "ldtilecfg [{config}]",
                        config = in(reg) &raw const config,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack, preserves_flags, readonly),
                    );
                }
            }
            held.set(match holders {
                0 => (1, rows),
                _ => (holders + 1, configured),
            });
        });
        Configured {
            on_its_thread: PhantomData,
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        HELD.with(|held| {
            let (holders, rows) = held.get();
            held.set((holders - 1, rows));
            if holders == 1 {
                // SAFETY: a `Configured` was made, so the process may use the instruction; this was the thread's last
                // one, so nothing on it uses the registers any more.
                unsafe {
                    asm!(
                        "tilerelease",
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack, preserves_flags, nomem),
                    );
                }
            }
        });
    }
}

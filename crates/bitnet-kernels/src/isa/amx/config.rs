//! The tile registers of a thread.
//!
//! A thread configures its eight registers before it multiplies and releases them afterwards, around a whole product: both
//! together take about 50 ns. Released, because a thread with tiles in use has 8 KiB more to save at each switch to another
//! thread, and a core that holds them does not sleep deeply. Products inside of products (a thread that helps out while
//! it waits) find the registers configured, and leave them so.

use std::{arch::asm, cell::Cell, marker::PhantomData};

use super::Tiles;

thread_local! {
    /// How many [`Configured`] this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread's tile registers, all eight with 16 rows of 64 bytes. Stays on its thread.
pub(crate) struct Configured {
    on_its_thread: PhantomData<*const ()>,
}

/// What `ldtilecfg` reads: palette 1, then 16-bit bytes per row from byte 16 and 8-bit rows from byte 48.
#[repr(C, align(64))]
struct Config([u8; 64]);

static FULL_TILES: Config = {
    let mut config = [0; 64];
    config[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        config[16 + 2 * tile] = 64;
        config[48 + tile] = 16;
        tile += 1;
    }
    Config(config)
};

impl Configured {
    pub(super) fn new(_: Tiles) -> Configured {
        HELD.with(|held| {
            if held.get() == 0 {
                // SAFETY: `Tiles` proves that the processor has the instruction and the process may use it. It reads the
                // 64 bytes of the configuration, and clears tile registers, of which nothing is alive: every loop is
                // one block of assembly.
                unsafe {
                    asm!(
                        "ldtilecfg [{config}]",
                        config = in(reg) &raw const FULL_TILES,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack, preserves_flags, readonly),
                    );
                }
            }
            held.set(held.get() + 1);
        });
        Configured {
            on_its_thread: PhantomData,
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        HELD.with(|held| {
            held.set(held.get() - 1);
            if held.get() == 0 {
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

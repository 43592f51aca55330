//! Whether this process may use tiles.
//!
//! Four can say no: the processor (CPUID); the hypervisor or operating system that does not switch their state on (XCR0);
//! Linux, which has to be asked before the first use because every thread that multiplies needs 8 KiB more of saved state;
//! and the result of a first product, for a machine that answers yes and computes something else.

use std::sync::LazyLock;

use super::{Block, Configured, Model, Pair, Start, Unit};

/// The proof that this process may use tiles: it comes from [`Tiles::get`] alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles(());

/// Who refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// CPUID does not report tiles with int8 and bf16 products.
    Processor,
    /// XCR0 lacks the bits of the tiles' state.
    State,
    /// Linux refused the request.
    System,
    /// The operating system is one that this crate does not know how to ask.
    #[cfg_attr(target_os = "linux", expect(dead_code))]
    Unknown,
    /// The tried product is wrong.
    Product,
}

impl Refusal {
    /// The same, for a reader.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Refusal::Processor => "the processor does not report AMX tiles with int8 and bf16",
            Refusal::State => {
                "the processor has AMX, but the hypervisor or the operating system does not enable the tiles' state"
            }
            Refusal::System => {
                "the processor has AMX, but Linux refused its use (arch_prctl ARCH_REQ_XCOMP_PERM; it needs 5.16 or later, \
                 and no sandbox that blocks the call)"
            }
            Refusal::Unknown => {
                "the processor may have AMX, but permission to use it is asked of Linux alone"
            }
            Refusal::Product => {
                "the processor reports AMX, but the product that was tried came out wrong"
            }
        }
    }
}

impl Tiles {
    /// Asks the processor and the system, tries a product, and keeps the answer for the process.
    ///
    /// # Errors
    ///
    /// If tiles cannot be used here.
    pub(crate) fn get() -> Result<Tiles, Refusal> {
        static ANSWER: LazyLock<Result<Tiles, Refusal>> = LazyLock::new(ask);
        *ANSWER
    }

    /// Gives the calling thread tile registers until the result is dropped.
    pub(crate) fn configure(self) -> Configured {
        self.configure_rows(2 * 16)
    }

    /// The calling thread's registers for the first `rows` of the 32 rows of A and C. What a product leaves in other rows of
    /// C is what was there.
    pub(crate) fn configure_rows(self, rows: usize) -> Configured {
        Configured::new(self, rows)
    }
}

fn ask() -> Result<Tiles, Refusal> {
    if !reported() {
        return Err(Refusal::Processor);
    }
    if !enabled() {
        return Err(Refusal::State);
    }
    permitted()?;
    let tiles = Tiles(());
    match tried(&tiles.configure()) {
        true => Ok(tiles),
        false => Err(Refusal::Product),
    }
}

/// CPUID leaf 7, EDX: bit 22 bf16, 24 tiles, 25 int8. Leaf 1, ECX bit 27: the system uses XSAVE, so XCR0 may be read.
fn reported() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let bit = |register: u32, bit: u32| register >> bit & 1 == 1;
    if __cpuid(0).eax < 7 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    [22, 24, 25].into_iter().all(|b| bit(features, b)) && bit(__cpuid(1).ecx, 27)
}

/// XCR0 bits 17 (configuration) and 18 (data).
fn enabled() -> bool {
    #[target_feature(enable = "xsave")]
    fn xcr0() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { std::arch::x86_64::_xgetbv(0) }
    }
    // SAFETY: `reported` has found the system using XSAVE, which makes the instruction legal.
    let state = unsafe { xcr0() };
    state >> 17 & 3 == 3
}

#[cfg(target_os = "linux")]
fn permitted() -> Result<(), Refusal> {
    /// `arch_prctl` that asks for a large part of the extended state, for all threads of the process.
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call reads two numbers and changes what threads may use, nothing of what they use now.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        )
    };
    match answer {
        0 => Ok(()),
        _ => Err(Refusal::System),
    }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> Result<(), Refusal> {
    Err(Refusal::Unknown)
}

/// Whether one product of each kind is what the model says.
fn tried(unit: &Configured) -> bool {
    let (mut a, mut b) = ([Pair::ZERO; 3], [Pair::ZERO; 3]);
    for (i, byte) in a.iter_mut().flat_map(Pair::bytes_mut).enumerate() {
        *byte = (i * 167 % 251) as u8;
    }
    for (i, byte) in b.iter_mut().flat_map(Pair::bytes_mut).enumerate() {
        *byte = (i * 101 % 241) as u8;
    }
    let (mut found, mut expected) = (Block::zero(), Block::zero());
    unit.int8(&a, &b, Start::Zero, &mut found);
    Model.int8(&a, &b, Start::Zero, &mut expected);
    if found != expected {
        return false;
    }
    // Bytes to floats near 1: as bf16 their upper byte is sign and exponent.
    for byte in a
        .iter_mut()
        .chain(&mut b)
        .flat_map(|pair| pair.bytes_mut().iter_mut().skip(1).step_by(2))
    {
        *byte = 0x3f | *byte & 0x80;
    }
    let (mut found, mut expected) = (Block::zero(), Block::zero());
    unit.bf16(&a, &b, Start::Zero, &mut found);
    Model.bf16(&a, &b, Start::Zero, &mut expected);
    found == expected
}

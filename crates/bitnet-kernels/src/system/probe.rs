//! What this machine can do at most, measured: the two limits that every product runs into.
//!
//! A product of one row reads each weight once, so it can be no faster than memory ([`read_bandwidth`]); a product of many
//! rows can be no faster than the dot-product instruction ([`dot_peak`]), unless it looks a part of its sums up. Benchmarks
//! print their results as fractions of these, which say more than a number of tokens a second: they hold for another machine
//! too.
//!
//! Both take the best of several passes, because whatever disturbs a pass only makes it slower.

use std::{
    hint::black_box,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::{Kernel, Line, system::pages::Lines};

/// Bytes that [`read_bandwidth`] streams: far more than any cache of a desktop or a slice of a server.
const STREAM_BYTES: usize = 512 << 20;

/// Passes of a measurement at least, and the time that it takes at least.
const PASSES: usize = 3;
const TIME: Duration = Duration::from_millis(300);

/// Bytes a second that `threads` threads read together, each its own part of one large buffer (on large
/// pages, like weights) from front to back.
///
/// # Panics
///
/// If `threads` is 0.
pub fn read_bandwidth(threads: usize) -> f64 {
    assert!(threads > 0, "no threads");
    let buffer = Lines::filled(Line::ZERO_WEIGHTS, STREAM_BYTES / size_of::<Line>());
    let part = buffer.len() / threads;
    let seconds = best(threads, |thread| read(&buffer[thread * part..][..part]));
    (threads * part * size_of::<Line>()) as f64 / seconds
}

/// Reads lines from front to back and does nothing with them: the least that a product of one row takes.
pub fn read(lines: &[Line]) {
    let mut all = Line::ZERO;
    for line in lines {
        for (all, lane) in all.0.iter_mut().zip(line.0) {
            *all |= lane;
        }
    }
    black_box(all);
}

/// Multiply-adds a second of the dot product that `kernel` is made of, on `threads` threads and registers alone; `None`
/// for a kernel without one. A kernel that decodes and adds besides stays below this;
/// [`Strategy::Lookup`](crate::Strategy) may pass it, for not all of its work is dot products.
///
/// # Panics
///
/// If `threads` is 0 or the processor lacks `kernel`.
pub fn dot_peak(kernel: Kernel, threads: usize) -> Option<f64> {
    assert!(threads > 0, "no threads");
    const ROUNDS: usize = 1 << 20;
    let isa = kernel.loops().isa();
    let peak = isa.peak?;
    // SAFETY: it needs what its descriptor's `detect` has found.
    let dots = |rounds| unsafe { peak(rounds) };
    let macs = dots(1);
    let seconds = best(threads, |_| {
        dots(ROUNDS);
    });
    Some((threads * ROUNDS * macs) as f64 / seconds)
}

/// Multiply-adds a second of the widest fused multiply-add of floats that this processor has, on `threads` threads and
/// registers alone; `None` where this crate knows of none. Training's float products stay below this.
///
/// # Panics
///
/// If `threads` is 0.
pub fn fma_peak(threads: usize) -> Option<f64> {
    assert!(threads > 0, "no threads");
    const ROUNDS: usize = 1 << 20;
    let macs = multiply_adds(1)?;
    let seconds = best(threads, |_| {
        multiply_adds(ROUNDS);
    });
    Some((threads * ROUNDS * macs) as f64 / seconds)
}

/// Runs `rounds` rounds of independent float multiply-adds and returns the number of one round.
fn multiply_adds(rounds: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: just detected.
            return Some(unsafe { x86::fma512(rounds) });
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            // SAFETY: just detected.
            return Some(unsafe { x86::fma256(rounds) });
        }
    }
    let _ = rounds;
    None
}

/// The shortest time in which all threads ran `pass`.
fn best(threads: usize, pass: impl Fn(usize) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    // Every thread runs the same number of passes: the first one decides when to stop, between two barriers.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let run = |thread: usize| {
        let (start, mut best) = (Instant::now(), f64::INFINITY);
        for count in 1.. {
            barrier.wait();
            let time = Instant::now();
            pass(thread);
            barrier.wait();
            best = best.min(time.elapsed().as_secs_f64());
            if thread == 0 && count >= PASSES && start.elapsed() >= TIME {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            barrier.wait();
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
        }
        best
    };
    thread::scope(|scope| {
        for thread in 1..threads {
            let run = &run;
            scope.spawn(move || run(thread));
        }
        run(0)
    })
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{arch::x86_64::*, hint::black_box};

    /// Defines a loop over 12 independent sums, which covers latencies of up to 6 cycles at two a cycle.
    macro_rules! dots {
        ($name:ident, $features:literal, $zero:expr, $dot:expr, $macs:literal) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(rounds: usize) -> usize {
                let mut sums = [$zero; 12];
                let codes = black_box($zero);
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = $dot(*sum, codes, codes);
                    }
                }
                black_box(sums);
                12 * $macs
            }
        };
    }

    dots!(fma512, "avx512f", _mm512_setzero_ps(), add_product512, 16);
    dots!(fma256, "avx2,fma", _mm256_setzero_ps(), add_product256, 8);

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add_product512(sum: __m512, a: __m512, b: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_product256(sum: __m256, a: __m256, b: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop that the compiler took away would end in no time, and one that is counted wrongly shows as well: a round of 12
    /// instructions (of 4 products of tiles) takes 3 cycles at least, at 7 GHz at most, and 10 µs even where a processor is
    /// emulated.
    #[test]
    fn limits_are_plausible() {
        let plausible = |rounds: f64| (1e5..7e9 / 3.0).contains(&rounds);
        // More than a disk's, less than that of a cache with a core each.
        let threads = if cfg!(target_family = "wasm") { 1 } else { 2 };
        let bandwidth = read_bandwidth(threads);
        assert!((2e8..1e12).contains(&bandwidth), "{bandwidth:e} B/s");
        if let (Some(peak), Some(macs)) = (fma_peak(1), multiply_adds(1)) {
            let rounds = peak / macs as f64;
            assert!(plausible(rounds), "{rounds:e} rounds a second of {macs}");
        }
        for kernel in Kernel::available() {
            let peak = dot_peak(kernel, 1);
            let dots = kernel.loops().isa().peak;
            assert_eq!(peak.is_some(), dots.is_some(), "{kernel}");
            if let (Some(peak), Some(dots)) = (peak, dots) {
                // SAFETY: it needs what its descriptor's `detect` has found, and the kernel is available.
                let macs = unsafe { dots(1) };
                let rounds = peak / macs as f64;
                assert!(
                    plausible(rounds),
                    "{kernel}: {rounds:e} rounds a second of {macs}"
                );
            }
        }
    }
}

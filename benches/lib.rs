//! What the benchmarks share: two things timed in turns, and reproducible noise.

use std::time::{Duration, Instant};

/// How long two things are measured in turns.
const TIME: Duration = Duration::from_millis(1500);

/// Seconds of `a` and of `b`, in turns; the medians, and the median of `b / a`.
pub fn in_turns(mut a: impl FnMut(), mut b: impl FnMut()) -> (f64, f64, f64) {
    let seconds = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    let (mut times, start) = (Vec::new(), Instant::now());
    a();
    b();
    while times.len() < 5 || start.elapsed() < TIME {
        times.push((seconds(&mut a), seconds(&mut b)));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = times.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (median(|t| t.0), median(|t| t.1), median(|t| t.1 / t.0))
}

/// Values in (−1, 1), the same on every machine.
pub fn noise(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

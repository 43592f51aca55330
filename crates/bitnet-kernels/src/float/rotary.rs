//! Rotary position embedding, rotate-half form: `(a, b) → (a·cos − b·sin, b·cos + a·sin)` for the halves of a head.

use super::multiversion;
use crate::system::fresh::{Slots, slots};
use crate::system::parallel::for_each_row;

/// Rotates `x[batch, time, heads, width]` into `y`; `cos` and `sin` are `[time, width]`. `inverse` turns back, which is
/// also the backward pass.
///
/// # Panics
/// If a length disagrees, `width` is odd, or `heads`, `time` or `width` is 0.
#[allow(clippy::too_many_arguments)]
pub fn rotary(
    x: &[f32],
    time: usize,
    heads: usize,
    cos: &[f32],
    sin: &[f32],
    inverse: bool,
    y: &mut [f32],
) {
    let width = cos.len() / time;
    assert!(width.is_multiple_of(2) && cos.len() == time * width && sin.len() == cos.len());
    assert!(x.len() == y.len() && x.len().is_multiple_of(time * heads * width));
    let sign = if inverse { -1.0 } else { 1.0 };
    for_each_row(x, heads * width, y, heads * width, |row, x, y| {
        let at = row % time * width;
        let (cos, sin) = (&cos[at..at + width], &sin[at..at + width]);
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            rotate(x, cos, sin, sign, y);
        }
    });
}

/// Rotates one head `x[width]` into `y` by the angles of its position, `[width / 2]` or more; `sign` −1 turns back. On the
/// calling thread.
///
/// # Panics
/// If `y` is shorter than `x`, or `cos` or `sin` than half of it.
pub fn rotate(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, y: &mut [f32]) {
    // SAFETY: `rotate_into` writes floats.
    rotate_into(x, cos, sin, sign, unsafe { slots(y) });
}

multiversion! {
    /// [`rotate`] into memory without a value; it writes the first `x.len()` elements of `y`, an even number.
    pub(super) fn rotate_into(x: &[f32], cos: &[f32], sin: &[f32], sign: f32, y: &mut Slots) {
        // Slices of one length that the compiler knows, or it would check every index and not vectorise.
        let half = x.len() / 2;
        let (a, b) = (&x[..half], &x[half..2 * half]);
        let (cos, sin) = (&cos[..half], &sin[..half]);
        let (c, d) = y[..2 * half].split_at_mut(half);
        for i in 0..half {
            let (cos, sin) = (cos[i], sin[i] * sign);
            c[i].write(a[i] * cos - b[i] * sin);
            d[i].write(b[i] * cos + a[i] * sin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_and_turns_back() {
        let (batch, time, heads, width) = (2, 3, 2, 4);
        let x: Vec<f32> = (0..batch * time * heads * width)
            .map(|i| i as f32 * 0.1 - 2.0)
            .collect();
        let angle = |i: usize| (i / width) as f32 * [1.0, 0.1][i % 2];
        let cos: Vec<f32> = (0..time * width).map(|i| angle(i).cos()).collect();
        let sin: Vec<f32> = (0..time * width).map(|i| angle(i).sin()).collect();
        let (mut y, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        rotary(&x, time, heads, &cos, &sin, false, &mut y);
        // Position 0 stays; position 1 turns (x0, x2) by 1 radian.
        assert_eq!(y[..8], x[..8]);
        let (a, b) = (x[8], x[10]);
        assert!((y[8] - (a * 1f32.cos() - b * 1f32.sin())).abs() < 1e-6);
        assert!((y[10] - (b * 1f32.cos() + a * 1f32.sin())).abs() < 1e-6);
        rotary(&y, time, heads, &cos, &sin, true, &mut back);
        assert!(back.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

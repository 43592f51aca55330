//! The gated activation of the feed-forward block: `y = act(gate) · up`, and its backward.

use rayon::prelude::*;

use super::exp::sigmoid;
use super::multiversion;
use crate::system::fresh::{Slots, written};
use crate::system::parallel::{MIN_ELEMENTS, TASK_ELEMENTS, worth_threads};

/// The activation of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `g · sigmoid(g)`: with the product, SwiGLU.
    Silu,
    /// `max(g, 0)²`.
    Relu2,
}

/// `act(gate) · up`, element by element.
///
/// # Panics
/// If the lengths differ.
pub fn gated(act: Gate, gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len());
    let write = |[y]: [&mut Slots; 1]| {
        // An exponential is several times the work of a plain pass.
        if worth_threads(y.len(), MIN_ELEMENTS / 4) {
            y.par_chunks_mut(TASK_ELEMENTS)
                .zip(gate.par_chunks(TASK_ELEMENTS))
                .zip(up.par_chunks(TASK_ELEMENTS))
                .for_each(|((y, gate), up)| part(act, gate, up, y));
        } else {
            part(act, gate, up, y);
        }
    };
    // SAFETY: `part` writes an element of `y` for each of `gate` and `up`, which are as many.
    let [y] = unsafe { written([gate.len()], write) };
    y
}

fn part(act: Gate, gate: &[f32], up: &[f32], y: &mut Slots) {
    match act {
        Gate::Silu => silu(gate, up, y),
        Gate::Relu2 => relu2(gate, up, y),
    }
}

/// [`gated`] in the place of `up` and on the calling thread, the same bits.
///
/// # Panics
/// If the lengths differ.
pub fn gated_row(act: Gate, gate: &[f32], up: &mut [f32]) {
    assert_eq!(gate.len(), up.len());
    match act {
        Gate::Silu => silu_in_place(gate, up),
        Gate::Relu2 => relu2_in_place(gate, up),
    }
}

/// `act(x)` in the place of `x` and on the calling thread.
pub fn activated_row(act: Gate, x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = activated(act, *x));
}

/// `act(g)`. NaN stays NaN.
#[inline(always)]
fn activated(act: Gate, g: f32) -> f32 {
    match act {
        Gate::Silu => g * sigmoid(g),
        Gate::Relu2 => {
            let positive = if g < 0.0 { 0.0 } else { g };
            positive * positive
        }
    }
}

/// `∂gate = ∂y · up · act'(gate)` and `∂up = ∂y · act(gate)`.
///
/// # Panics
/// If the lengths differ.
pub fn gated_backward(act: Gate, grad: &[f32], gate: &[f32], up: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let len = grad.len();
    assert!(gate.len() == len && up.len() == len);
    let run = |grad: &[f32], gate: &[f32], up: &[f32], dg: &mut Slots, du: &mut Slots| match act {
        Gate::Silu => silu_backward(grad, gate, up, dg, du),
        Gate::Relu2 => relu2_backward(grad, gate, up, dg, du),
    };
    let write = |[grad_gate, grad_up]: [&mut Slots; 2]| {
        if worth_threads(len, MIN_ELEMENTS / 4) {
            grad_gate
                .par_chunks_mut(TASK_ELEMENTS)
                .zip(grad_up.par_chunks_mut(TASK_ELEMENTS))
                .enumerate()
                .for_each(|(index, (dg, du))| {
                    let first = index * TASK_ELEMENTS;
                    let span = first..first + dg.len();
                    run(&grad[span.clone()], &gate[span.clone()], &up[span], dg, du);
                });
        } else {
            run(grad, gate, up, grad_gate, grad_up);
        }
    };
    // SAFETY: `run` writes an element of both for each of `grad`, `gate` and `up`, which are as many.
    let [grad_gate, grad_up] = unsafe { written([len; 2], write) };
    (grad_gate, grad_up)
}

multiversion! {
    fn silu(gate: &[f32], up: &[f32], y: &mut Slots) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            y.write(activated(Gate::Silu, *g) * u);
        }
    }
}

multiversion! {
    fn silu_in_place(gate: &[f32], y: &mut [f32]) {
        for (y, g) in y.iter_mut().zip(gate) {
            *y *= activated(Gate::Silu, *g);
        }
    }
}

multiversion! {
    fn relu2(gate: &[f32], up: &[f32], y: &mut Slots) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            y.write(activated(Gate::Relu2, *g) * u);
        }
    }
}

multiversion! {
    fn relu2_in_place(gate: &[f32], y: &mut [f32]) {
        for (y, g) in y.iter_mut().zip(gate) {
            *y *= activated(Gate::Relu2, *g);
        }
    }
}

multiversion! {
    fn silu_backward(grad: &[f32], gate: &[f32], up: &[f32], dg: &mut Slots, du: &mut Slots) {
        for ((((dg, du), grad), g), u) in dg.iter_mut().zip(du).zip(grad).zip(gate).zip(up) {
            let s = sigmoid(*g);
            du.write(grad * g * s);
            dg.write(grad * u * (s * (1.0 + g * (1.0 - s))));
        }
    }
}

multiversion! {
    fn relu2_backward(grad: &[f32], gate: &[f32], up: &[f32], dg: &mut Slots, du: &mut Slots) {
        for ((((dg, du), grad), g), u) in dg.iter_mut().zip(du).zip(grad).zip(gate).zip(up) {
            let positive = if *g < 0.0 { 0.0 } else { *g };
            du.write(grad * positive * positive);
            dg.write(grad * u * 2.0 * positive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::fresh::slots;

    #[test]
    fn values_and_slopes() {
        let gate = [-3.0f32, -0.5, 0.0, 0.5, 3.0];
        let up = [2.0f32; 5];
        for act in [Gate::Silu, Gate::Relu2] {
            let exact = |g: f64| match act {
                Gate::Silu => g / (1.0 + (-g).exp()),
                Gate::Relu2 => g.max(0.0).powi(2),
            };
            let y = gated(act, &gate, &up);
            let (dg, du) = gated_backward(act, &[1.0; 5], &gate, &up);
            for i in 0..5 {
                let g = f64::from(gate[i]);
                assert!((f64::from(y[i]) - 2.0 * exact(g)).abs() < 1e-5);
                assert!((f64::from(du[i]) - exact(g)).abs() < 1e-5);
                let slope = (exact(g + 1e-4) - exact(g - 1e-4)) / 2e-4;
                assert!((f64::from(dg[i]) - 2.0 * slope).abs() < 1e-3, "{act:?} {g}");
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let len = MIN_ELEMENTS / 2 + 13;
        let gate: Vec<f32> = (0..len).map(|i| (i % 997) as f32 / 100.0 - 5.0).collect();
        let up: Vec<f32> = (0..len).map(|i| (i % 89) as f32 / 40.0 - 1.0).collect();
        let mut whole = vec![0.0; len];
        // SAFETY: `silu` writes floats.
        silu(&gate, &up, unsafe { slots(&mut whole) });
        assert_eq!(whole, gated(Gate::Silu, &gate, &up));
    }

    #[test]
    fn in_place_changes_nothing() {
        let gate: Vec<f32> = (0..77).map(|i| i as f32 / 9.0 - 4.0).collect();
        let up: Vec<f32> = (0..77).map(|i| (i % 11) as f32 / 7.0 - 0.8).collect();
        for act in [Gate::Silu, Gate::Relu2] {
            let (apart, mut in_place) = (gated(act, &gate, &up), up.clone());
            gated_row(act, &gate, &mut in_place);
            assert_eq!(apart, in_place, "{act:?}");
        }
    }
}

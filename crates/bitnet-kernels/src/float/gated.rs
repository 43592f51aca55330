//! The gated activation of the feed-forward block: `y = act(gate) · up`, and its backward.

use rayon::prelude::*;

use super::exp::sigmoid;
use super::multiversion;
use crate::system::parallel::{MIN_ELEMENTS, TASK_ELEMENTS, worth_threads};

/// The activation of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `g · sigmoid(g)`: with the product, SwiGLU.
    Silu,
    /// `max(g, 0)²`.
    Relu2,
}

/// Writes `y = act(gate) · up`, element by element.
///
/// # Panics
/// If the lengths differ.
pub fn gated(act: Gate, gate: &[f32], up: &[f32], y: &mut [f32]) {
    assert!(gate.len() == y.len() && up.len() == y.len());
    // An exponential is several times the work of a plain pass.
    if worth_threads(y.len(), MIN_ELEMENTS / 4) {
        y.par_chunks_mut(TASK_ELEMENTS)
            .zip(gate.par_chunks(TASK_ELEMENTS))
            .zip(up.par_chunks(TASK_ELEMENTS))
            .for_each(|((y, gate), up)| part(act, gate, up, y));
    } else {
        part(act, gate, up, y);
    }
}

fn part(act: Gate, gate: &[f32], up: &[f32], y: &mut [f32]) {
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

/// Writes `∂gate = ∂y · up · act'(gate)` and `∂up = ∂y · act(gate)`.
///
/// # Panics
/// If the lengths differ.
pub fn gated_backward(
    act: Gate,
    grad: &[f32],
    gate: &[f32],
    up: &[f32],
    grad_gate: &mut [f32],
    grad_up: &mut [f32],
) {
    let len = grad.len();
    assert!(gate.len() == len && up.len() == len);
    assert!(grad_gate.len() == len && grad_up.len() == len);
    let run = |grad: &[f32], gate: &[f32], up: &[f32], dg: &mut [f32], du: &mut [f32]| match act {
        Gate::Silu => silu_backward(grad, gate, up, dg, du),
        Gate::Relu2 => relu2_backward(grad, gate, up, dg, du),
    };
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
}

multiversion! {
    fn silu(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            *y = activated(Gate::Silu, *g) * u;
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
    fn relu2(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            *y = activated(Gate::Relu2, *g) * u;
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
    fn silu_backward(grad: &[f32], gate: &[f32], up: &[f32], dg: &mut [f32], du: &mut [f32]) {
        for ((((dg, du), grad), g), u) in dg.iter_mut().zip(du).zip(grad).zip(gate).zip(up) {
            let s = sigmoid(*g);
            *du = grad * g * s;
            *dg = grad * u * (s * (1.0 + g * (1.0 - s)));
        }
    }
}

multiversion! {
    fn relu2_backward(grad: &[f32], gate: &[f32], up: &[f32], dg: &mut [f32], du: &mut [f32]) {
        for ((((dg, du), grad), g), u) in dg.iter_mut().zip(du).zip(grad).zip(gate).zip(up) {
            let positive = if *g < 0.0 { 0.0 } else { *g };
            *du = grad * positive * positive;
            *dg = grad * u * 2.0 * positive;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_slopes() {
        let gate = [-3.0f32, -0.5, 0.0, 0.5, 3.0];
        let up = [2.0f32; 5];
        for act in [Gate::Silu, Gate::Relu2] {
            let exact = |g: f64| match act {
                Gate::Silu => g / (1.0 + (-g).exp()),
                Gate::Relu2 => g.max(0.0).powi(2),
            };
            let mut y = [0.0; 5];
            gated(act, &gate, &up, &mut y);
            let (mut dg, mut du) = ([0.0; 5], [0.0; 5]);
            gated_backward(act, &[1.0; 5], &gate, &up, &mut dg, &mut du);
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
        let (mut whole, mut parts) = (vec![0.0; len], vec![0.0; len]);
        silu(&gate, &up, &mut whole);
        gated(Gate::Silu, &gate, &up, &mut parts);
        assert_eq!(whole, parts);
    }

    #[test]
    fn in_place_changes_nothing() {
        let gate: Vec<f32> = (0..77).map(|i| i as f32 / 9.0 - 4.0).collect();
        let up: Vec<f32> = (0..77).map(|i| (i % 11) as f32 / 7.0 - 0.8).collect();
        for act in [Gate::Silu, Gate::Relu2] {
            let (mut apart, mut in_place) = (vec![0.0; 77], up.clone());
            gated(act, &gate, &up, &mut apart);
            gated_row(act, &gate, &mut in_place);
            assert_eq!(apart, in_place, "{act:?}");
        }
    }
}

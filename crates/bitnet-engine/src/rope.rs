//! Rotary position embedding, rotate-half form: dimensions `i` and `i + d/2` of a head rotate by `p · f_i`.

use bitnet_kernels::float::{self, RopeScaling, rms_norm_row, rope_frequencies};

use crate::{forward::resize, linear::Norm};

/// Positions by which the tables grow at least.
const STEP: usize = 256;

/// Frequencies, and the cosines and sines of the positions that were met so far: `[positions, head_dim / 2]`. A model may
/// allow a hundred thousand positions, and a text has a few hundred.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    frequencies: Vec<f64>,
    amplitude: f64,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Without tables.
    pub(crate) fn new(theta: f64, head_dim: usize, scaling: Option<&RopeScaling>) -> Rope {
        let (frequencies, amplitude) = rope_frequencies(theta, head_dim, scaling);
        Rope {
            frequencies,
            amplitude,
            ..Rope::default()
        }
    }

    /// Makes tables for positions below `positions`. Angles are computed in f64.
    pub(crate) fn reach(&mut self, positions: usize) {
        let Rope {
            frequencies,
            amplitude,
            cos,
            sin,
        } = self;
        let known = cos.len() / frequencies.len();
        if positions <= known {
            return;
        }
        let angles = (known..positions.next_multiple_of(STEP))
            .flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        for angle in angles {
            cos.push((angle.cos() * *amplitude) as f32);
            sin.push((angle.sin() * *amplitude) as f32);
        }
    }

    /// Rotates one head at `position`, which the tables reach.
    pub(crate) fn rotate(&self, position: usize, x: &[f32], y: &mut [f32]) {
        let half = self.frequencies.len();
        let at = position * half..(position + 1) * half;
        float::rotate(x, &self.cos[at.clone()], &self.sin[at], 1.0, y);
    }
}

/// One head, normed if there is a norm, then turned by its position if there is one.
pub(crate) fn norm_and_rotate(
    x: &[f32],
    norm: Norm<'_>,
    turn: Option<(&Rope, usize)>,
    normed: &mut Vec<f32>,
    y: &mut [f32],
) {
    let x = match norm {
        Some((gamma, epsilon)) => {
            resize(normed, x.len());
            let normed = &mut normed[..x.len()];
            rms_norm_row(x, gamma, epsilon, normed);
            normed
        }
        None => x,
    };
    match turn {
        Some((rope, position)) => rope.rotate(position, x, y),
        None => y.copy_from_slice(x),
    }
}

//! Rotary position embedding, rotate-half form: dimensions `i` and `i + d/2` of a head rotate by `p · θ^(−2i/d)`.

use bitnet_kernels::float;

use crate::Shape;

/// Cosines and sines of every position, `[positions, head_dim]`; the second half of a row repeats the first.
#[derive(Debug)]
pub(crate) struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
    width: usize,
}

impl Rope {
    /// Angles are computed in f64.
    pub(crate) fn new(shape: &Shape) -> Rope {
        let width = shape.head_dim;
        let angles: Vec<f64> = (0..width)
            .map(|d| {
                let exponent = -2.0 * (d % (width / 2)) as f64 / width as f64;
                shape.rope_theta.powf(exponent)
            })
            .collect();
        let table = |f: fn(f64) -> f64| {
            (0..shape.max_position_embeddings)
                .flat_map(|p| angles.iter().map(move |angle| f(p as f64 * angle) as f32))
                .collect()
        };
        Rope {
            cos: table(f64::cos),
            sin: table(f64::sin),
            width,
        }
    }

    /// Rotates one head at `position`.
    pub(crate) fn rotate(&self, position: usize, x: &[f32], y: &mut [f32]) {
        let at = position * self.width..(position + 1) * self.width;
        float::rotate(x, &self.cos[at.clone()], &self.sin[at], 1.0, y);
    }
}

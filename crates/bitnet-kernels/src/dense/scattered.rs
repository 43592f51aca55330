//! Attention to positions that lie anywhere: those of an output that shares its beginning with others.

use super::softmax_row;
use crate::float::{dot, multiversion};

/// Keys and values of many positions, `[positions, heads, width]`, of which a query sees some.
#[derive(Clone, Copy, Debug)]
pub struct Scattered<'a> {
    /// Keys.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
    /// Key/value heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
}

/// Columns of values that are summed at once.
const COLUMNS: usize = 64;

impl Scattered<'_> {
    /// `y = Σ_p softmax(q · k[p]) · v[p]` of each head for the positions `seen`, in their order. `q` and `y` are `[heads ·
    /// sharing, width]`: heads of queries follow each other that share keys and values; `q` is scaled. What is computed does
    /// not depend on where positions lie. `scores` is a buffer.
    ///
    /// # Panics
    ///
    /// If a length disagrees or a position lies outside.
    pub fn attend(&self, q: &[f32], seen: &[u32], scores: &mut Vec<f32>, y: &mut [f32]) {
        let stride = self.heads * self.width;
        assert!(stride > 0 && q.len().is_multiple_of(stride) && q.len() == y.len());
        assert_eq!(self.keys.len(), self.values.len());
        let positions = self.keys.len() / stride;
        assert!(
            !seen.is_empty() && seen.iter().all(|at| (*at as usize) < positions),
            "{seen:?} of {positions} positions"
        );
        scores.resize(seen.len(), 0.0);
        attend(*self, q, seen, scores, y);
    }
}

multiversion! {
    fn attend(of: Scattered<'_>, q: &[f32], seen: &[u32], scores: &mut [f32], y: &mut [f32]) {
        let (width, stride) = (of.width, of.heads * of.width);
        let sharing = q.len() / stride;
        let heads = q.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate();
        for (head, (q, y)) in heads {
            let first = head / sharing * width;
            for (score, at) in scores.iter_mut().zip(seen) {
                let key = &of.keys[*at as usize * stride + first..][..width];
                *score = dot(q, key);
            }
            let sum = softmax_row(scores);
            let (blocks, tail) = y.as_chunks_mut::<COLUMNS>();
            let whole = COLUMNS * blocks.len();
            for (block, y) in blocks.iter_mut().enumerate() {
                let mut sums = [0f32; COLUMNS];
                for (weight, at) in scores.iter().zip(seen) {
                    let at = *at as usize * stride + first + COLUMNS * block;
                    if let Some(value) = of.values[at..].first_chunk::<COLUMNS>() {
                        for i in 0..COLUMNS {
                            sums[i] += weight * value[i];
                        }
                    }
                }
                for i in 0..COLUMNS {
                    y[i] = sums[i] / sum;
                }
            }
            tail.fill(0.0);
            for (weight, at) in scores.iter().zip(seen) {
                let value = &of.values[*at as usize * stride + first + whole..][..tail.len()];
                for (y, value) in tail.iter_mut().zip(value) {
                    *y += weight * value;
                }
            }
            for y in tail {
                *y /= sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_near_its_formula_wherever_positions_lie() {
        for (heads, sharing, width, count) in
            [(1, 1, 2, 1), (2, 3, 6, 5), (4, 1, 64, 33), (1, 2, 130, 17)]
        {
            let stride = heads * width;
            let value = |i: usize| ((i * 7919 % 1013) as f32 / 506.0 - 1.0) * 1.3;
            let positions = 2 * count + 3;
            let keys: Vec<f32> = (0..positions * stride).map(value).collect();
            let values: Vec<f32> = (0..positions * stride).map(|i| value(i + 77)).collect();
            let q: Vec<f32> = (0..sharing * stride)
                .map(|i| value(i + 5) / (width as f32).sqrt())
                .collect();
            let seen: Vec<u32> = (0..count as u32).map(|p| 2 * (count as u32 - p)).collect();
            let (mut y, mut scores) = (vec![f32::NAN; q.len()], Vec::new());
            let of = |keys, values| Scattered {
                keys,
                values,
                heads,
                width,
            };
            of(&keys, &values).attend(&q, &seen, &mut scores, &mut y);
            for head in 0..heads * sharing {
                let at = |p: u32| p as usize * stride + head / sharing * width;
                let q = &q[head * width..][..width];
                let score = |p: &u32| {
                    let terms = q.iter().zip(&keys[at(*p)..]);
                    terms
                        .map(|(q, k)| f64::from(*q) * f64::from(*k))
                        .sum::<f64>()
                };
                let weights: Vec<f64> = seen.iter().map(|p| score(p).exp()).collect();
                let total: f64 = weights.iter().sum();
                for column in 0..width {
                    let terms = weights.iter().zip(&seen);
                    let exact: f64 = terms
                        .map(|(w, p)| w * f64::from(values[at(*p) + column]))
                        .sum();
                    let found = f64::from(y[head * width + column]);
                    assert!(
                        (found - exact / total).abs() < 1e-5,
                        "{found} {}",
                        exact / total
                    );
                }
            }
            // The same positions one after the other.
            let gather = |from: &[f32]| -> Vec<f32> {
                let rows = seen.iter().map(|p| &from[*p as usize * stride..][..stride]);
                rows.flatten().copied().collect()
            };
            let (keys, values) = (gather(&keys), gather(&values));
            let mut together = vec![0.0; q.len()];
            let all: Vec<u32> = (0..count as u32).collect();
            of(&keys, &values).attend(&q, &all, &mut scores, &mut together);
            assert_eq!(together, y);
        }
    }

    #[test]
    #[should_panic(expected = "of 2 positions")]
    fn positions_outside_are_refused() {
        let of = Scattered {
            keys: &[0.0; 4],
            values: &[0.0; 4],
            heads: 1,
            width: 2,
        };
        of.attend(&[0.0; 2], &[2], &mut Vec::new(), &mut [0.0; 2]);
    }
}

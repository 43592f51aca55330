//! Outputs of one sequence that a search goes on with. They begin alike, so keys and values of what they have in common are
//! held once, and going on with some of them copies nothing but places.

use std::ops::Range;

use bitnet_kernels::Scattered;

use super::common::{Common, Seeing};
use crate::linear::Norm;

/// What a decoder has written as several outputs of one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Of each block the keys and the values of all tokens, `[tokens, kv width]`.
    blocks: Vec<[Vec<f32>; 2]>,
    /// Of each output its tokens, in order.
    paths: Vec<Vec<u32>>,
    /// Tokens held, those included that no output has any more.
    tokens: usize,
}

/// Tokens held from which those that no output has any more are given up, once they are the most.
const MANY: usize = 256;

impl Outputs {
    /// One output without tokens, of a decoder of so many blocks.
    pub(super) fn new(blocks: usize) -> Outputs {
        Outputs {
            blocks: vec![[Vec::new(), Vec::new()]; blocks],
            paths: vec![Vec::new()],
            tokens: 0,
        }
    }

    /// Number of outputs.
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// Tokens of each.
    pub fn len(&self) -> usize {
        self.paths.first().map_or(0, Vec::len)
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes on with these outputs, in this order; one may be repeated.
    ///
    /// # Panics
    ///
    /// If one is not there.
    pub fn choose(&mut self, outputs: &[usize]) {
        let paths = outputs.iter().map(|output| self.paths[*output].clone());
        self.paths = paths.collect();
        if self.tokens >= MANY {
            self.give_up();
        }
    }

    /// Gives up the tokens that no output has, if they are the most.
    fn give_up(&mut self) {
        let mut places = vec![u32::MAX; self.tokens];
        for token in self.paths.iter().flatten() {
            places[*token as usize] = 0;
        }
        let live = places.iter().filter(|place| **place == 0).count();
        if 2 * live > self.tokens {
            return;
        }
        let mut next = 0;
        for place in places.iter_mut().filter(|place| **place == 0) {
            (*place, next) = (next, next + 1);
        }
        let moves: Vec<usize> = (0..self.tokens)
            .filter(|at| places[*at] != u32::MAX)
            .collect();
        for rows in self.blocks.iter_mut().flatten() {
            let width = rows.len() / self.tokens;
            for (to, from) in moves.iter().enumerate() {
                rows.copy_within(from * width..(from + 1) * width, to * width);
            }
            rows.truncate(live * width);
        }
        for token in self.paths.iter_mut().flatten() {
            *token = places[*token as usize];
        }
        self.tokens = live;
    }

    /// Makes place for a token of each output.
    pub(super) fn extend(&mut self, common: &Common) {
        for path in &mut self.paths {
            path.push(self.tokens as u32);
            self.tokens += 1;
        }
        let len = self.tokens * common.shape.kv_width();
        let rows = self.blocks.iter_mut().flatten();
        rows.for_each(|rows| rows.resize(len, 0.0));
    }

    /// Writes keys and values of `rows`, the newest token of each output, to a block; queries become what they attended to.
    pub(super) fn attend(
        &mut self,
        common: &Common,
        block: usize,
        (q_norm, k_norm): (Norm<'_>, Norm<'_>),
        rows: Range<usize>,
        (q, k, v): (&mut [f32], &[f32], &[f32]),
        seeing: &mut Seeing,
    ) {
        let (width, position) = (common.shape.head_dim, self.len() - 1);
        let (stride, heads) = (common.shape.kv_width(), common.shape.num_key_value_heads);
        let [keys, values] = &mut self.blocks[block];
        for (row, path) in rows.clone().zip(&self.paths) {
            let at = path[position] as usize * stride;
            let (from, to) = (row * stride..(row + 1) * stride, at..at + stride);
            let each = k[from.clone()].chunks_exact(width);
            for (k, key) in each.zip(keys[to.clone()].chunks_exact_mut(width)) {
                common.turned(k, k_norm, Some(position), &mut seeing.head, key);
            }
            values[to].copy_from_slice(&v[from]);
        }
        let scattered = Scattered {
            keys,
            values,
            heads,
            width,
        };
        let (stride, scale) = (common.shape.query_width(), 1.0 / (width as f32).sqrt());
        let Seeing {
            queries,
            head,
            scores,
            ..
        } = seeing;
        queries.resize(queries.len().max(stride), 0.0);
        let queries = &mut queries[..stride];
        for (row, path) in rows.zip(&self.paths) {
            let q = &mut q[row * stride..(row + 1) * stride];
            for (q, query) in q.chunks_exact(width).zip(queries.chunks_exact_mut(width)) {
                common.turned(q, q_norm, Some(position), head, query);
                query.iter_mut().for_each(|q| *q *= scale);
            }
            scattered.attend(queries, path, scores, q);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_output_has_is_given_up_and_the_rest_stays() {
        let tokens = MANY + 44;
        let rows: Vec<f32> = (0..2 * tokens).map(|i| i as f32).collect();
        let path = |last: u32| vec![3, 200, last];
        let mut outputs = Outputs {
            blocks: vec![[rows.clone(), rows.clone()]; 2],
            paths: vec![path(7), path(290), (0..tokens as u32).collect()],
            tokens,
        };
        let of = |outputs: &Outputs| -> Vec<Vec<f32>> {
            let row = |token: &u32| outputs.blocks[1][1][2 * *token as usize..][..2].to_vec();
            let paths = outputs.paths.iter();
            paths
                .map(|path| path.iter().flat_map(row).collect())
                .collect()
        };
        let before = of(&outputs);
        // All that is held is used.
        outputs.choose(&[2, 1, 0]);
        assert_eq!(outputs.tokens, tokens);
        outputs.choose(&[2, 1, 1]);
        assert_eq!((outputs.tokens, outputs.count(), outputs.len()), (4, 3, 3));
        assert!(outputs.blocks.iter().flatten().all(|rows| rows.len() == 8));
        assert_eq!(
            of(&outputs),
            [&before[0], &before[1], &before[1]].map(Vec::clone)
        );
    }
}

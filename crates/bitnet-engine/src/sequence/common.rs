//! What all blocks know, and what they do alike: norms, rotated heads, attention to the caches of heads.

use std::ops::Range;

use bitnet_kernels::{Attention, Kernel, KeysValues, float::rms_norm_row};

use super::{Placement, Positions, SequenceShape};
use crate::{
    EngineError, LinearWeights, Options,
    engine::check_norm,
    forward::resize,
    linear::{Linear, Norm},
    rope::{Rope, norm_and_rotate},
    session::HeadCache,
};

/// What all blocks know.
#[derive(Debug)]
pub(crate) struct Common {
    pub shape: SequenceShape,
    pub options: Options,
    rope: Option<Rope>,
}

/// Buffers of attention.
#[derive(Debug, Default)]
pub(super) struct Seeing {
    pub queries: Vec<f32>,
    pub scores: Vec<f32>,
    /// One normed head or row.
    pub head: Vec<f32>,
    attention: Attention,
}

impl Common {
    pub(crate) fn new(shape: SequenceShape, options: Options) -> Result<Common, EngineError> {
        shape.validate()?;
        options.kernel.require()?;
        let rope = match &shape.positions {
            Positions::Rotary { theta, scaling } => {
                let mut rope = Rope::new(*theta, shape.head_dim, scaling.as_ref());
                rope.reach(shape.max_position_embeddings);
                Some(rope)
            }
            Positions::Sinusoidal => None,
        };
        Ok(Common {
            shape,
            options,
            rope,
        })
    }

    fn kernel(&self) -> Kernel {
        self.options.kernel
    }

    pub(super) fn norm<'a>(&self, gamma: &'a Option<Vec<f32>>) -> Norm<'a> {
        Some((gamma.as_deref()?, self.shape.rms_norm_eps))
    }

    /// The norm around a part, if it stands before it.
    pub(super) fn before<'a>(&self, gamma: &'a Option<Vec<f32>>) -> Norm<'a> {
        match self.shape.norms {
            Placement::Post => None,
            _ => self.norm(gamma),
        }
    }

    fn setting(&self) -> String {
        format!("the norm placement {:?}", self.shape.norms).to_lowercase()
    }

    pub(super) fn check_norm(
        &self,
        name: String,
        gamma: &Option<Vec<f32>>,
        wanted: bool,
        width: usize,
    ) -> Result<(), EngineError> {
        check_norm(&name, gamma.as_ref(), wanted, width, &self.setting())
    }

    pub(super) fn linear(
        &self,
        name: String,
        layer: LinearWeights,
        dims: [usize; 2],
    ) -> Result<Linear, EngineError> {
        let inside = self.shape.norms == Placement::Inside;
        self.check_norm(format!("{name}.norm"), &layer.norm, inside, dims[1])?;
        let name = || name.clone();
        Linear::new(&name, layer, dims, self.shape.activations, &self.options)
    }

    pub(super) fn cache(&self) -> HeadCache {
        HeadCache::new(self.shape.head_dim, self.options.cache)
    }

    /// One head, normed and, of a sequence's own, rotated.
    pub(super) fn turned(
        &self,
        x: &[f32],
        norm: Norm<'_>,
        position: Option<usize>,
        normed: &mut Vec<f32>,
        y: &mut [f32],
    ) {
        let turn = self.rope.as_ref().zip(position);
        norm_and_rotate(x, norm, turn, normed, y);
    }

    /// `x += y`, then the norm that stands after the sum.
    pub(super) fn leave(
        &self,
        x: &mut [f32],
        y: &[f32],
        gamma: &Option<Vec<f32>>,
        normed: &mut Vec<f32>,
    ) {
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        if self.shape.norms == Placement::Post {
            self.norm_rows(x, gamma, normed);
        }
    }

    pub(super) fn norm_rows(&self, x: &mut [f32], gamma: &Option<Vec<f32>>, normed: &mut Vec<f32>) {
        let Some((gamma, epsilon)) = self.norm(gamma) else {
            return;
        };
        resize(normed, gamma.len());
        let normed = &mut normed[..gamma.len()];
        for row in x.chunks_exact_mut(gamma.len()) {
            rms_norm_row(row, gamma, epsilon, normed);
            row.copy_from_slice(normed);
        }
    }

    /// Keys and values of `rows` to a head's cache; `position` of the first, if they are rotated.
    pub(super) fn remember(
        &self,
        head: usize,
        norm: Norm<'_>,
        (k, v): (&[f32], &[f32]),
        (rows, start, rotated): (Range<usize>, usize, bool),
        cache: &mut HeadCache,
        seeing: &mut Seeing,
    ) {
        let (width, stride) = (self.shape.head_dim, self.shape.kv_width());
        cache.reserve(start + rows.len());
        resize(&mut seeing.queries, width);
        let key = &mut seeing.queries[..width];
        for (index, row) in rows.enumerate() {
            let at = row * stride + head * width..row * stride + (head + 1) * width;
            let position = start + index;
            let angle = rotated.then_some(position);
            self.turned(&k[at.clone()], norm, angle, &mut seeing.head, key);
            cache.set_keys(self.kernel(), position, key);
            cache.set_value(self.kernel(), position, &v[at], &mut seeing.head);
        }
    }

    /// Queries of `rows` become what they attended to in the caches of the heads; row `i` of them sees `visible(i)`
    /// positions. `start` is the position of the first, if they are rotated.
    pub(super) fn attend(
        &self,
        norm: Norm<'_>,
        (rows, start): (Range<usize>, Option<usize>),
        heads: &[HeadCache],
        visible: impl Fn(usize) -> usize,
        q: &mut [f32],
        seeing: &mut Seeing,
    ) {
        let Seeing {
            queries,
            head,
            attention,
            scores: _,
        } = seeing;
        let (width, stride) = (self.shape.head_dim, self.shape.query_width());
        let (sharing, scale) = (self.shape.sharing(), 1.0 / (width as f32).sqrt());
        resize(queries, KeysValues::ROWS * width);
        for (g, cache) in heads.iter().enumerate() {
            let keys_values = cache.keys_values();
            let all = rows.len() * sharing;
            for first in (0..all).step_by(KeysValues::ROWS) {
                let count = KeysValues::ROWS.min(all - first);
                // Of a row and one of the heads that share the keys.
                let place = |index: usize| {
                    let (row, shared) = ((first + index) / sharing, (first + index) % sharing);
                    let at = (rows.start + row) * stride + (g * sharing + shared) * width;
                    (row, at..at + width)
                };
                for (index, y) in queries.chunks_exact_mut(width).take(count).enumerate() {
                    let (row, at) = place(index);
                    let position = start.map(|start| start + row);
                    self.turned(&q[at], norm, position, head, y);
                    y.iter_mut().for_each(|q| *q *= scale);
                }
                let sees = |index: usize| visible((first + index) / sharing);
                let (out, row) =
                    attention.attend(self.kernel(), keys_values, queries, count, sees, None);
                for (index, out) in out.chunks_exact(row).take(count).enumerate() {
                    q[place(index).1].copy_from_slice(&out[..width]);
                }
            }
        }
    }
}

//! Attention as tasks for the threads: heads, or heads and a few rows.

use bitnet_kernels::{KeysValues, float::rms_norm_row};

use crate::{
    engine::Layer,
    forward::{Chunk, Heads, Scratch, Workspace, resize},
    lent::{Grid, Lent},
    linear::Norm,
    rope::Rope,
    session::HeadCache,
};

impl Workspace {
    /// Keys and values of many tokens to the cache.
    pub(crate) fn remember(&mut self, chunk: &Chunk<'_>, layer: &Layer, heads: &mut [HeadCache]) {
        let (threads, count) = (chunk.threads(), heads.len());
        let (_, Heads { k, v, .. }) = self.rows.heads(chunk.count, &chunk.model.shape);
        let heads = Lent::new(heads);
        let rope = &self.rope;
        self.pool.run(threads, count, |scratch, tasks| {
            for head in tasks {
                // SAFETY: a task is done once, and no other has this head.
                let cache = unsafe { heads.one(head) };
                chunk.remember(head, (layer, rope), cache, (k, v), scratch);
            }
        });
    }

    /// Attention of one token: its queries become what they attended to.
    pub(crate) fn attend_one(&mut self, chunk: &Chunk<'_>, layer: &Layer, heads: &mut [HeadCache]) {
        let (threads, count) = (chunk.threads(), heads.len());
        let shape = &chunk.model.shape;
        let width = shape.head_dim;
        let sharing = shape.num_attention_heads / count;
        let (_, Heads { q, k, v }) = self.rows.heads(1, shape);
        let (heads, q) = (Lent::new(heads), Lent::new(q));
        let rope = &self.rope;
        self.pool.run(threads, count, |scratch, tasks| {
            for head in tasks {
                // SAFETY: a task is done once, and no other has this head.
                let cache = unsafe { heads.one(head) };
                chunk.remember(head, (layer, rope), cache, (k, v), scratch);
                let of_head = |query: usize| width * query..width * (query + 1);
                for first in (0..sharing).step_by(KeysValues::ROWS) {
                    let rows = KeysValues::ROWS.min(sharing - first);
                    let query = head * sharing + first;
                    chunk.queries(rows, (layer, rope), scratch, |r| {
                        // SAFETY: each query head belongs to one key/value head, and that to one task.
                        let q = unsafe { q.part(of_head(query + r)) };
                        (q, chunk.start)
                    });
                    let seen = chunk.start + 1;
                    let (out, stride) = scratch.attention.attend(
                        chunk.kernel,
                        cache.keys_values(),
                        &scratch.local,
                        rows,
                        |_| seen,
                    );
                    for (r, out) in out.chunks_exact(stride).enumerate() {
                        // SAFETY: as above, and the query has been rotated.
                        let y = unsafe { q.part(of_head(query + r)) };
                        y.copy_from_slice(&out[..width]);
                    }
                }
            }
        });
    }

    /// Attention of many tokens: a task is one head and a few rows; later rows see more, so tasks differ in length.
    pub(crate) fn attend_many(&mut self, chunk: &Chunk<'_>, layer: &Layer, heads: &[HeadCache]) {
        let shape = &chunk.model.shape;
        let (width, query_heads) = (shape.head_dim, shape.num_attention_heads);
        let (stride, sharing) = (shape.query_width(), query_heads / heads.len());
        let q = Grid::new(self.rows.heads(chunk.count, shape).1.q, stride);
        let blocks = chunk.count.div_ceil(KeysValues::ROWS);
        let count = query_heads * blocks;
        let rope = &self.rope;
        self.pool.run(chunk.threads(), count, |scratch, tasks| {
            for task in tasks {
                // A head's rows follow each other, so that its keys and values stay in the cache.
                let (head, first) = (task / blocks, task % blocks * KeysValues::ROWS);
                let count = KeysValues::ROWS.min(chunk.count - first);
                let columns = head * width..(head + 1) * width;
                chunk.queries(count, (layer, rope), scratch, |r| {
                    // SAFETY: a task is done once, and no other has this head and these rows.
                    let q = unsafe { q.segment(first + r, columns.clone()) };
                    (q, chunk.start + first + r)
                });
                let seen = |r: usize| chunk.start + first + r + 1;
                let cache = heads[head / sharing].keys_values();
                let (out, out_stride) =
                    scratch
                        .attention
                        .attend(chunk.kernel, cache, &scratch.local, count, seen);
                for (r, out) in out.chunks_exact(out_stride).enumerate() {
                    // SAFETY: as above, and the query has been rotated.
                    let y = unsafe { q.segment(first + r, columns.clone()) };
                    y.copy_from_slice(&out[..width]);
                }
            }
        });
    }
}

impl Chunk<'_> {
    /// Normed, rotated and scaled queries to `scratch.local`, `[rows, width]`, of the heads and positions that `query`
    /// tells.
    fn queries<'q>(
        &self,
        rows: usize,
        (layer, rope): (&Layer, &Rope),
        scratch: &mut Scratch,
        query: impl Fn(usize) -> (&'q [f32], usize),
    ) {
        let Scratch { local, head, .. } = scratch;
        let width = self.model.shape.head_dim;
        let scale = 1.0 / (width as f32).sqrt();
        resize(local, rows * width);
        for (r, y) in local.chunks_exact_mut(width).take(rows).enumerate() {
            let (q, position) = query(r);
            rotated(rope, q, self.norm(&layer.q_norm), position, head, y);
            y.iter_mut().for_each(|q| *q *= scale);
        }
    }

    /// The chunk's keys and values of one head to its cache.
    fn remember(
        &self,
        head: usize,
        (layer, rope): (&Layer, &Rope),
        cache: &mut HeadCache,
        (k, v): (&[f32], &[f32]),
        scratch: &mut Scratch,
    ) {
        let (keys, normed) = (&mut scratch.local, &mut scratch.head);
        let (width, stride) = (cache.width(), self.model.shape.kv_width());
        let of = |row: usize| row * stride + head * width..row * stride + (head + 1) * width;
        let norm = self.norm(&layer.k_norm);
        resize(keys, 16 * width);
        let mut row = 0;
        while row < self.count {
            let position = self.start + row;
            // Whole groups of positions at once, others one by one.
            let whole = position.is_multiple_of(16) && self.count - row >= 16;
            let rows = if whole { 16 } else { 1 };
            for (r, key) in keys.chunks_exact_mut(width).take(rows).enumerate() {
                rotated(rope, &k[of(row + r)], norm, position + r, normed, key);
                cache.set_value(position + r, &v[of(row + r)]);
            }
            if whole {
                cache.set_keys(position, &keys[..16 * width]);
            } else {
                cache.set_key(position, &keys[..width]);
            }
            row += rows;
        }
    }
}

/// `y = RoPE(norm(x))` of one head at a position.
fn rotated(
    rope: &Rope,
    x: &[f32],
    norm: Norm<'_>,
    position: usize,
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
    rope.rotate(position, x, y);
}

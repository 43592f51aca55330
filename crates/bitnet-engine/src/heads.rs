//! Attention as tasks for the threads: heads, or heads and a few rows.

use bitnet_kernels::KeysValues;

use crate::{
    forward::{Chunk, Heads, Workspace, resize},
    lent::{Grid, Lent},
    rope::Rope,
    session::HeadCache,
};

impl Workspace {
    /// Keys and values of many tokens to the cache.
    pub(crate) fn remember(&mut self, chunk: &Chunk<'_>, heads: &mut [HeadCache]) {
        let (threads, count) = (chunk.threads(), heads.len());
        let (_, Heads { k, v, .. }) = self.rows.heads(chunk.count, &chunk.model.shape);
        let heads = Lent::new(heads);
        self.pool.run(threads, count, |scratch, tasks| {
            for head in tasks {
                // SAFETY: a task is done once, and no other has this head.
                let cache = unsafe { heads.one(head) };
                chunk.remember(head, cache, k, v, &mut scratch.local);
            }
        });
    }

    /// Attention of one token: its queries become what they attended to.
    pub(crate) fn attend_one(&mut self, chunk: &Chunk<'_>, heads: &mut [HeadCache]) {
        let (threads, count) = (chunk.threads(), heads.len());
        let shape = &chunk.model.shape;
        let width = shape.head_dim;
        let sharing = shape.num_attention_heads / count;
        let (_, Heads { q, k, v }) = self.rows.heads(1, shape);
        let (heads, q) = (Lent::new(heads), Lent::new(q));
        self.pool.run(threads, count, |scratch, tasks| {
            for head in tasks {
                // SAFETY: a task is done once, and no other has this head.
                let cache = unsafe { heads.one(head) };
                chunk.remember(head, cache, k, v, &mut scratch.local);
                let of_head = |query: usize| width * query..width * (query + 1);
                for first in (0..sharing).step_by(KeysValues::ROWS) {
                    let rows = KeysValues::ROWS.min(sharing - first);
                    let query = head * sharing + first;
                    chunk.rotated(rows, &mut scratch.local, |r| {
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
    pub(crate) fn attend_many(&mut self, chunk: &Chunk<'_>, heads: &[HeadCache]) {
        let shape = &chunk.model.shape;
        let (width, query_heads) = (shape.head_dim, shape.num_attention_heads);
        let (stride, sharing) = (shape.query_width(), query_heads / heads.len());
        let q = Grid::new(self.rows.heads(chunk.count, shape).1.q, stride);
        let blocks = chunk.count.div_ceil(KeysValues::ROWS);
        let count = query_heads * blocks;
        self.pool.run(chunk.threads(), count, |scratch, tasks| {
            for task in tasks {
                // A head's rows follow each other, so that its keys and values stay in the cache.
                let (head, first) = (task / blocks, task % blocks * KeysValues::ROWS);
                let count = KeysValues::ROWS.min(chunk.count - first);
                let columns = head * width..(head + 1) * width;
                chunk.rotated(count, &mut scratch.local, |r| {
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

impl<'a> Chunk<'a> {
    /// Rotated and scaled queries, `[rows, width]`, of the heads and positions that `query` tells.
    fn rotated<'q>(
        &self,
        rows: usize,
        queries: &mut Vec<f32>,
        query: impl Fn(usize) -> (&'q [f32], usize),
    ) {
        let width = self.model.shape.head_dim;
        let scale = 1.0 / (width as f32).sqrt();
        resize(queries, rows * width);
        for (r, rotated) in queries.chunks_exact_mut(width).take(rows).enumerate() {
            let (q, position) = query(r);
            self.rope().rotate(position, q, rotated);
            rotated.iter_mut().for_each(|q| *q *= scale);
        }
    }

    /// The chunk's keys and values of one head to its cache.
    fn remember(
        &self,
        head: usize,
        cache: &mut HeadCache,
        k: &[f32],
        v: &[f32],
        keys: &mut Vec<f32>,
    ) {
        let (width, stride) = (cache.width(), self.model.shape.kv_width());
        let of = |row: usize| row * stride + head * width..row * stride + (head + 1) * width;
        resize(keys, 16 * width);
        let mut row = 0;
        while row < self.count {
            let position = self.start + row;
            // Whole groups of positions at once, others one by one.
            let whole = position.is_multiple_of(16) && self.count - row >= 16;
            let rows = if whole { 16 } else { 1 };
            for (r, key) in keys.chunks_exact_mut(width).take(rows).enumerate() {
                self.rope().rotate(position + r, &k[of(row + r)], key);
                cache.set_value(position + r, &v[of(row + r)]);
            }
            match whole {
                true => cache.set_keys(position, &keys[..16 * width]),
                false => cache.set_key(position, &keys[..width]),
            }
            row += rows;
        }
    }

    fn rope(&self) -> &'a Rope {
        &self.model.rope
    }
}

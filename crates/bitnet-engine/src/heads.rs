//! Attention as pieces of work for the team: heads go to threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use bitnet_kernels::KeysValues;

use crate::{
    forward::{Chunk, Heads, Workspace, resize},
    rope::Rope,
    session::HeadCache,
    share::{Grid, Lent, part_of},
};

impl Workspace {
    /// Keys and values of many tokens to the cache.
    pub(crate) fn remember(&mut self, chunk: &Chunk<'_>, heads: &mut [HeadCache]) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let (threads, count) = (chunk.threads(), heads.len());
        let (_, Heads { k, v, .. }) = rows.heads(chunk.count, &chunk.model.shape);
        let heads = Lent::new(heads);
        team.run(scratch, threads, |thread, scratch| {
            let mine = part_of(count, thread, threads);
            // SAFETY: each thread has its own part of the heads.
            let part = unsafe { heads.part(mine.clone()) };
            for (head, cache) in mine.zip(part) {
                chunk.remember(head, cache, k, v, &mut scratch.local);
            }
        });
    }

    /// Attention of one token: its queries become what they attended to.
    pub(crate) fn attend_one(&mut self, chunk: &Chunk<'_>, heads: &mut [HeadCache]) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let (threads, count) = (chunk.threads(), heads.len());
        let shape = &chunk.model.shape;
        let width = shape.head_dim;
        let sharing = shape.num_attention_heads / count;
        let (_, Heads { q, k, v }) = rows.heads(1, shape);
        let (heads, q) = (Lent::new(heads), Lent::new(q));
        team.run(scratch, threads, |thread, scratch| {
            let mine = part_of(count, thread, threads);
            // SAFETY: each thread has its own part of the heads, and of the output.
            let part = unsafe { heads.part(mine.clone()) };
            for (head, cache) in mine.zip(part) {
                chunk.remember(head, cache, k, v, &mut scratch.local);
                let of_head = |query: usize| width * query..width * (query + 1);
                for first in (0..sharing).step_by(KeysValues::ROWS) {
                    let rows = KeysValues::ROWS.min(sharing - first);
                    let query = head * sharing + first;
                    chunk.turn(rows, &mut scratch.local, |r| {
                        // SAFETY: each query head belongs to one key/value head, and that to one thread.
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
                        // SAFETY: as above, and the query has been turned.
                        let y = unsafe { q.part(of_head(query + r)) };
                        y.copy_from_slice(&out[..width]);
                    }
                }
            }
        });
    }

    /// Attention of many tokens: a task is one head and a few rows, handed out as threads become free, because later
    /// rows see more.
    pub(crate) fn attend_many(&mut self, chunk: &Chunk<'_>, heads: &[HeadCache]) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let shape = &chunk.model.shape;
        let (width, query_heads) = (shape.head_dim, shape.num_attention_heads);
        let (stride, sharing) = (shape.query_width(), query_heads / heads.len());
        let q = Grid::new(rows.heads(chunk.count, shape).1.q, stride);
        let blocks = chunk.count.div_ceil(KeysValues::ROWS);
        let next = AtomicUsize::new(0);
        team.run(scratch, chunk.threads(), |_, scratch| {
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= query_heads * blocks {
                    break;
                }
                // A head's rows follow each other, so that its keys and values stay in the cache.
                let (head, first) = (task / blocks, task % blocks * KeysValues::ROWS);
                let count = KeysValues::ROWS.min(chunk.count - first);
                let columns = head * width..(head + 1) * width;
                chunk.turn(count, &mut scratch.local, |r| {
                    // SAFETY: a task is handed out once, and no other has this head and these rows.
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
                    // SAFETY: as above, and the query has been turned.
                    let y = unsafe { q.segment(first + r, columns.clone()) };
                    y.copy_from_slice(&out[..width]);
                }
            }
        });
    }
}

impl<'a> Chunk<'a> {
    /// Turned and scaled queries, `[rows, width]`, of the heads and positions that `query` tells.
    fn turn<'q>(
        &self,
        rows: usize,
        queries: &mut Vec<f32>,
        query: impl Fn(usize) -> (&'q [f32], usize),
    ) {
        let width = self.model.shape.head_dim;
        let scale = 1.0 / (width as f32).sqrt();
        resize(queries, rows * width);
        for (r, turned) in queries.chunks_exact_mut(width).take(rows).enumerate() {
            let (q, position) = query(r);
            self.rope().turn(position, q, turned);
            turned.iter_mut().for_each(|q| *q *= scale);
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
                self.rope().turn(position + r, &k[of(row + r)], key);
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

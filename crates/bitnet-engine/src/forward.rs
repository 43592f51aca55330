//! The forward pass: five pieces of work a block, each shared out among the team.
//!
//! ```text
//! 1  q, k, v = W·norm(x)                       rows or columns (share.rs)
//! 2  turn k; write k and v to the cache        key/value heads
//! 3  attention                                 key/value heads (one token), or heads × rows
//! 4  x += W_o·[norm](attended)                 rows or columns
//! 5  inner = act(W_gate·norm(x)) · W_up·norm(x)
//! 6  x += W_down·[norm](inner)
//! ```
//!
//! For one token 2 and 3 are one piece: a thread writes and reads its own heads. Norms and quantisation are not shared
//! out when columns are: every thread does them for itself, which takes less time than waiting for another.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use bitnet_kernels::{Kernel, float::gated_row};

use crate::{
    Session,
    attention::{AttentionScratch, ROWS, attend, resize},
    engine::{Layer, Model},
    linear::{Input, Linear, Norm, each_of},
    rope::Rope,
    session::HeadCache,
    share::{Grid, Lent, Split, part_of},
    team::Team,
};

/// Tokens that go through all blocks together: enough to use every decoded weight often, few enough for the buffers
/// (20 MB at a width of 2,560) to stay small beside the weights.
const CHUNK: usize = 512;

/// Rows of logits at a time, when all are wanted.
const LOGIT_ROWS: usize = 32;

/// Passes over the weights when their bandwidth is measured.
const READ_PASSES: usize = 5;

/// The team, its buffers and the rows that go through the model.
#[derive(Debug)]
pub(crate) struct Workspace {
    team: Team,
    scratch: Vec<Scratch>,
    rows: Rows,
    logits: Vec<f32>,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Scratch {
    input: Input,
    first: Vec<f32>,
    second: Vec<f32>,
    attention: AttentionScratch,
}

/// Activations, `[rows, width]` each.
#[derive(Debug, Default)]
struct Rows {
    x: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
}

/// What all pieces of work of a chunk know.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    model: &'a Model,
    kernel: Kernel,
    split: Split,
    /// Position of the first row.
    start: usize,
    count: usize,
}

impl Workspace {
    pub(crate) fn new(team: Team) -> Workspace {
        Workspace {
            scratch: (0..team.threads()).map(|_| Scratch::default()).collect(),
            team,
            rows: Rows::default(),
            logits: Vec::new(),
        }
    }

    /// Reads tokens and returns the logits of the last one.
    pub(crate) fn last_logits(
        &mut self,
        model: &Model,
        session: &mut Session,
        tokens: &[u32],
        kernel: Kernel,
    ) -> &[f32] {
        for tokens in tokens.chunks(CHUNK) {
            self.blocks(model, session, tokens, kernel);
        }
        let last = (tokens.len() - 1) % CHUNK;
        self.head(model, last, 1);
        &self.logits[..model.shape.vocab_size]
    }

    /// Reads tokens and hands out the logits of each.
    pub(crate) fn all_logits(
        &mut self,
        model: &Model,
        session: &mut Session,
        tokens: &[u32],
        kernel: Kernel,
        mut each: impl FnMut(usize, &[f32]),
    ) {
        let vocab = model.shape.vocab_size;
        for (chunk, tokens) in tokens.chunks(CHUNK).enumerate() {
            self.blocks(model, session, tokens, kernel);
            for first in (0..tokens.len()).step_by(LOGIT_ROWS) {
                let count = LOGIT_ROWS.min(tokens.len() - first);
                self.head(model, first, count);
                for (row, logits) in self.logits.chunks_exact(vocab).take(count).enumerate() {
                    each(chunk * CHUNK + first + row, logits);
                }
            }
        }
    }

    /// Bytes a second at which the weights stream past, the best of a few passes.
    pub(crate) fn read_bandwidth(&mut self, model: &Model, bytes: usize) -> f64 {
        let split = Split::by_columns(1, self.team.threads());
        let mut best = f64::INFINITY;
        for _ in 0..READ_PASSES {
            let start = Instant::now();
            self.team.run(&mut self.scratch, |thread, _| {
                for share in split.shares(thread) {
                    for linear in model.layers.iter().flat_map(Layer::linears) {
                        linear.matrix.read(&share);
                    }
                    model.head.matrix.read(&share);
                }
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        bytes as f64 / best
    }

    /// `rows.x` of some tokens after all blocks; they are then part of the session.
    fn blocks(&mut self, model: &Model, session: &mut Session, tokens: &[u32], kernel: Kernel) {
        let (shape, count) = (&model.shape, tokens.len());
        let chunk = Chunk {
            model,
            kernel,
            split: Split::new(count, self.team.threads()),
            start: session.len,
            count,
        };
        let rows = &mut self.rows;
        resize(&mut rows.x, count * shape.hidden_size);
        resize(&mut rows.q, count * shape.query_width());
        resize(&mut rows.k, count * shape.kv_width());
        resize(&mut rows.v, count * shape.kv_width());
        resize(&mut rows.attended, count * shape.query_width());
        resize(&mut rows.inner, count * shape.intermediate_size);
        for (x, token) in rows.x.chunks_exact_mut(shape.hidden_size).zip(tokens) {
            model.embedding.row(*token as usize, x);
        }
        for (layer, heads) in model.layers.iter().zip(&mut session.layers) {
            self.project(&chunk, layer);
            if count == 1 {
                self.attend_one(&chunk, heads);
            } else {
                self.remember(&chunk, heads);
                self.attend_many(&chunk, heads);
            }
            let norm = chunk.norm(&layer.attn_sub_norm);
            let Workspace {
                team,
                scratch,
                rows,
                ..
            } = self;
            let (width, x) = (shape.query_width(), &mut rows.x);
            add_product(
                &chunk,
                team,
                scratch,
                &layer.o,
                norm,
                (&rows.attended, width),
                x,
            );
            self.feed_forward(&chunk, layer);
            let norm = chunk.norm(&layer.ffn_sub_norm);
            let Workspace {
                team,
                scratch,
                rows,
                ..
            } = self;
            let (width, x) = (shape.intermediate_size, &mut rows.x);
            add_product(
                &chunk,
                team,
                scratch,
                &layer.down,
                norm,
                (&rows.inner, width),
                x,
            );
        }
        session.len += count;
    }

    /// Queries, keys and values.
    fn project(&mut self, chunk: &Chunk<'_>, layer: &Layer) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let shape = &chunk.model.shape;
        let (hidden, keys) = (shape.hidden_size, shape.kv_width());
        let x = &rows.x;
        let out = [
            Grid::new(&mut rows.q, shape.query_width()),
            Grid::new(&mut rows.k, keys),
            Grid::new(&mut rows.v, keys),
        ];
        let (layers, norm) = (
            [&layer.q, &layer.k, &layer.v],
            chunk.norm(&layer.input_norm),
        );
        team.run(scratch, |thread, scratch| {
            let Scratch { input, first, .. } = scratch;
            for share in chunk.split.shares(thread) {
                let x = &x[share.rows.start * hidden..share.rows.end * hidden];
                each_of(layers, x, norm, shape.rms_norm_eps, input, |i, input| {
                    layers[i].store(input, &share, &out[i], first);
                });
            }
        });
    }

    /// Keys and values of many tokens to the cache.
    fn remember(&mut self, chunk: &Chunk<'_>, heads: &mut [HeadCache]) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let (threads, count) = (team.threads(), heads.len());
        let (k, v) = (&rows.k, &rows.v);
        let heads = Lent::new(heads);
        team.run(scratch, |thread, scratch| {
            let mine = part_of(count, thread, threads);
            // SAFETY: each thread has its own part of the heads.
            let part = unsafe { heads.part(mine.clone()) };
            for (head, cache) in mine.zip(part) {
                chunk.remember(head, cache, k, v, &mut scratch.first);
            }
        });
    }

    /// Attention of one token.
    fn attend_one(&mut self, chunk: &Chunk<'_>, heads: &mut [HeadCache]) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let (threads, count) = (team.threads(), heads.len());
        let width = chunk.model.shape.head_dim;
        let sharing = chunk.model.shape.num_attention_heads / count;
        let (q, k, v) = (&rows.q, &rows.k, &rows.v);
        let (heads, attended) = (Lent::new(heads), Lent::new(&mut rows.attended));
        team.run(scratch, |thread, scratch| {
            let mine = part_of(count, thread, threads);
            // SAFETY: each thread has its own part of the heads, and of the output.
            let part = unsafe { heads.part(mine.clone()) };
            for (head, cache) in mine.zip(part) {
                chunk.remember(head, cache, k, v, &mut scratch.first);
                let of_head = |query: usize| width * query..width * (query + 1);
                for first in (0..sharing).step_by(ROWS) {
                    let rows = ROWS.min(sharing - first);
                    let query = head * sharing + first;
                    let scratch = &mut scratch.attention;
                    chunk.turn(rows, &mut scratch.queries, |r| {
                        (&q[of_head(query + r)], chunk.start)
                    });
                    let seen = chunk.start + 1;
                    let (out, stride) = attend(chunk.kernel, cache, rows, |_| seen, scratch);
                    for (r, out) in out.chunks_exact(stride).enumerate() {
                        // SAFETY: each query head belongs to one key/value head, and that to one thread.
                        let y = unsafe { attended.part(of_head(query + r)) };
                        y.copy_from_slice(&out[..width]);
                    }
                }
            }
        });
    }

    /// Attention of many tokens: a task is one head and a few rows, handed out as threads become free, because later
    /// rows see more.
    fn attend_many(&mut self, chunk: &Chunk<'_>, heads: &[HeadCache]) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let shape = &chunk.model.shape;
        let (width, query_heads) = (shape.head_dim, shape.num_attention_heads);
        let (stride, sharing) = (shape.query_width(), query_heads / heads.len());
        let q = &rows.q;
        let attended = Grid::new(&mut rows.attended, stride);
        let blocks = chunk.count.div_ceil(ROWS);
        let next = AtomicUsize::new(0);
        team.run(scratch, |_, scratch| {
            let scratch = &mut scratch.attention;
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= query_heads * blocks {
                    break;
                }
                // A head's rows follow each other, so that its keys and values stay in the cache.
                let (head, first) = (task / blocks, task % blocks * ROWS);
                let count = ROWS.min(chunk.count - first);
                let columns = head * width..(head + 1) * width;
                chunk.turn(count, &mut scratch.queries, |r| {
                    let row = first + r;
                    (&q[row * stride..][columns.clone()], chunk.start + row)
                });
                let seen = |r: usize| chunk.start + first + r + 1;
                let (out, out_stride) =
                    attend(chunk.kernel, &heads[head / sharing], count, seen, scratch);
                for (r, out) in out.chunks_exact(out_stride).enumerate() {
                    // SAFETY: a task is handed out once, and no other has this head and these rows.
                    let y = unsafe { attended.segment(first + r, columns.clone()) };
                    y.copy_from_slice(&out[..width]);
                }
            }
        });
    }

    /// `inner = act(gate) · up`.
    fn feed_forward(&mut self, chunk: &Chunk<'_>, layer: &Layer) {
        let Workspace {
            team,
            scratch,
            rows,
            ..
        } = self;
        let shape = &chunk.model.shape;
        let hidden = shape.hidden_size;
        let (x, act) = (&rows.x, shape.gate);
        let out = Grid::new(&mut rows.inner, shape.intermediate_size);
        let (layers, norm) = ([&layer.gate, &layer.up], chunk.norm(&layer.post_norm));
        team.run(scratch, |thread, scratch| {
            let Scratch {
                input,
                first,
                second,
                ..
            } = scratch;
            for share in chunk.split.shares(thread) {
                let columns = layer.gate.columns(&share);
                if columns.is_empty() {
                    continue;
                }
                let x = &x[share.rows.start * hidden..share.rows.end * hidden];
                let mut buffers = [&mut *first, &mut *second];
                each_of(layers, x, norm, shape.rms_norm_eps, input, |i, input| {
                    layers[i].local(input, &share, buffers[i]);
                });
                let gate = first.chunks_exact(columns.len());
                let up = second.chunks_exact(columns.len());
                for ((row, gate), up) in share.rows.clone().zip(gate).zip(up) {
                    // SAFETY: the rectangle of this thread's share.
                    let y = unsafe { out.segment(row, columns.clone()) };
                    gated_row(act, gate, up, y);
                }
            }
        });
    }

    /// Logits of `count` rows from `first` on.
    fn head(&mut self, model: &Model, first: usize, count: usize) {
        let Workspace {
            team,
            scratch,
            rows,
            logits,
        } = self;
        let (hidden, vocab) = (model.shape.hidden_size, model.shape.vocab_size);
        resize(logits, count * vocab);
        let x = &rows.x[first * hidden..(first + count) * hidden];
        let split = Split::by_columns(count, team.threads());
        let out = Grid::new(&mut logits[..count * vocab], vocab);
        team.run(scratch, |thread, scratch| {
            let Scratch { input, first, .. } = scratch;
            for share in split.shares(thread) {
                let x = &x[share.rows.start * hidden..share.rows.end * hidden];
                each_of(
                    [&model.head],
                    x,
                    None,
                    model.shape.rms_norm_eps,
                    input,
                    |_, input| {
                        model.head.store(input, &share, &out, first);
                    },
                );
            }
        });
    }
}

/// `x += W · norm(input)`, for the input's width.
fn add_product(
    chunk: &Chunk<'_>,
    team: &mut Team,
    scratch: &mut [Scratch],
    layer: &Linear,
    norm: Norm<'_>,
    (from, width): (&[f32], usize),
    x: &mut [f32],
) {
    let shape = &chunk.model.shape;
    let out = Grid::new(x, shape.hidden_size);
    team.run(scratch, |thread, scratch| {
        let Scratch { input, first, .. } = scratch;
        for share in chunk.split.shares(thread) {
            let from = &from[share.rows.start * width..share.rows.end * width];
            each_of(
                [layer],
                from,
                norm,
                shape.rms_norm_eps,
                input,
                |_, input| {
                    layer.add(input, &share, &out, first);
                },
            );
        }
    });
}

impl<'a> Chunk<'a> {
    fn norm(&self, gamma: &'a Option<Vec<f32>>) -> Norm<'a> {
        let gamma = gamma.as_deref()?;
        Some((gamma, self.model.shape.rms_norm_eps))
    }

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

//! The forward pass: six steps a block, each partitioned among the threads; 2 and 3 are one for texts of few rows.
//!
//! ```text
//! 1  q, k, v = W·norm(x)                       rows or columns (partition.rs)
//! 2  rotate [norm](k); write k and v to the cache        texts × key/value heads
//! 3  attention                                 texts × key/value heads (few rows), or heads × rows
//! 4  x += W_o·[norm](attended)                 rows or columns
//! 5  inner = act(W_gate·norm(x)) · W_up·norm(x)
//! 6  x += W_down·[norm](inner)
//! ```
//!
//! The rows are those of one text or of several; only 2 and 3 tell them apart, and no row's result depends on the others.
//! For few rows of a text a thread writes and reads its own heads. Norms and quantisation are not partitioned when columns
//! are: every thread does them for itself, which takes less time than waiting for another.

use std::time::Instant;

use bitnet_kernels::{
    Attention, Kernel, Place,
    float::{gated_row, rms_norm_row},
};

use crate::{
    Session, Shape,
    attention::Text,
    engine::{Layer, Model},
    lent::{Grid, Lent},
    linear::{Inputs, Linear, Norm},
    partition::{Partition, threads_for},
    pool::SpinPool,
    rope::Rope,
};

/// Tokens that go through all blocks together: enough to use every decoded weight often, few enough for the buffers
/// (20 MB at a width of 2,560) to stay small beside the weights.
pub(crate) const CHUNK: usize = 512;

/// Values of the gate that wait for their product with the other branch at a time: a block of 128 rows by the 1,536 columns
/// that the kernel with lookups computes from one arrangement of its rows, so that pieces cost nothing.
const GATE_VALUES: usize = 128 * 1536;

/// Rows of logits at a time, when many are wanted.
pub(crate) const LOGIT_ROWS: usize = 32;

/// Passes over the weights when their bandwidth is measured.
const READ_PASSES: usize = 5;

/// The threads with their buffers, and the rows that go through the model.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) pool: SpinPool<Scratch>,
    pub(crate) rows: Rows,
    pub(crate) rope: Rope,
    /// Rows whose logits are wanted, side by side.
    wanted: Vec<f32>,
    logits: Vec<f32>,
}

/// Tokens of a text that go through all blocks together with those of others.
pub(crate) struct Span<'a> {
    pub session: &'a mut Session,
    pub tokens: &'a [u32],
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    inputs: Inputs,
    pub local: Vec<f32>,
    /// One normed head.
    pub head: Vec<f32>,
    pub attention: Attention,
}

/// Activations, `[rows, width]` each.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    x: Vec<f32>,
    /// What is needed within one half of a block alone: [`Rows::heads`], then [`Rows::inner`].
    wide: Vec<f32>,
}

/// Activations of attention, `[rows, width]` each.
pub(crate) struct Heads<'a> {
    /// Queries, and then in their place what they attended to.
    pub q: &'a mut [f32],
    pub k: &'a mut [f32],
    pub v: &'a mut [f32],
}

impl Rows {
    /// Makes room for some rows.
    fn resize(&mut self, count: usize, shape: &Shape) {
        let heads = shape.query_width() + 2 * shape.kv_width();
        resize(&mut self.x, count * shape.hidden_size);
        resize(&mut self.wide, count * heads.max(shape.intermediate_size));
    }

    /// `x`, and the activations between the projections and the output of attention.
    pub(crate) fn heads(&mut self, count: usize, shape: &Shape) -> (&mut [f32], Heads<'_>) {
        let keys = count * shape.kv_width();
        let (q, rest) = self.wide.split_at_mut(count * shape.query_width());
        let (k, rest) = rest.split_at_mut(keys);
        let v = &mut rest[..keys];
        (&mut self.x[..count * shape.hidden_size], Heads { q, k, v })
    }

    /// `x`, and the activations between the feed-forward's products.
    fn inner(&mut self, count: usize, shape: &Shape) -> (&mut [f32], &mut [f32]) {
        let inner = &mut self.wide[..count * shape.intermediate_size];
        (&mut self.x[..count * shape.hidden_size], inner)
    }
}

/// What all pieces of work of a chunk know.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub model: &'a Model,
    pub kernel: Kernel,
    threads: usize,
    /// Whose rows they are, one text after the other.
    pub texts: &'a [Text],
    /// Rows of all texts.
    pub count: usize,
}

impl Workspace {
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(crate) fn new(shape: &Shape, threads: usize) -> std::io::Result<Workspace> {
        Ok(Workspace {
            pool: SpinPool::new((0..threads).map(|_| Scratch::default()).collect())?,
            rows: Rows::default(),
            rope: Rope::new(
                shape.rope_theta,
                shape.head_dim,
                shape.rope_scaling.as_ref(),
            ),
            wanted: Vec::new(),
            logits: Vec::new(),
        })
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
            self.blocks(model, &mut [Span { session, tokens }], kernel);
        }
        self.head(model, &[(tokens.len() - 1) % CHUNK])
    }

    /// The state of a row of the last chunk, through the final norm.
    pub(crate) fn state(&mut self, model: &Model, row: usize) -> &[f32] {
        let hidden = model.shape.hidden_size;
        let state = &self.rows.x[row * hidden..][..hidden];
        match &model.head.norm {
            Some(gamma) => {
                resize(&mut self.wanted, hidden);
                let normed = &mut self.wanted[..hidden];
                rms_norm_row(state, gamma, model.shape.rms_norm_eps, normed);
                normed
            }
            None => state,
        }
    }

    /// Bytes a second at which the weights stream past, the best of a few passes.
    pub(crate) fn read_bandwidth(&mut self, model: &Model, bytes: usize) -> f64 {
        let partition = Partition::one_each(self.pool.threads());
        let mut best = f64::INFINITY;
        for _ in 0..READ_PASSES {
            let start = Instant::now();
            self.pool
                .run(partition.threads(), partition.tasks(), |_, tasks| {
                    for tile in tasks.map(|task| partition.tile(task)) {
                        for linear in model.layers.iter().flat_map(Layer::linears) {
                            linear.matrix.read(&tile);
                        }
                        model.head.matrix.read(&tile);
                    }
                });
            best = best.min(start.elapsed().as_secs_f64());
        }
        bytes as f64 / best
    }

    /// `rows.x` of some tokens after all blocks; they are then part of their sessions.
    pub(crate) fn blocks(&mut self, model: &Model, spans: &mut [Span<'_>], kernel: Kernel) {
        let shape = &model.shape;
        let texts = Text::all(spans, shape);
        let count = texts.last().map_or(0, |text| text.rows.end);
        let chunk = Chunk {
            model,
            kernel,
            threads: self.pool.threads(),
            texts: &texts,
            count,
        };
        self.rows.resize(count, shape);
        let positions = texts.iter().map(Text::end);
        self.rope.reach(positions.max().unwrap_or(0));
        let embedded = self.rows.x.chunks_exact_mut(shape.hidden_size);
        let tokens = spans.iter().flat_map(|span| span.tokens);
        for (x, token) in embedded.zip(tokens) {
            model.embedding.row(*token as usize, x);
        }
        let places = texts.iter().zip(&*spans);
        let places = places.map(|(text, span)| text.places(span.session));
        let places: Vec<Vec<Place>> = places.collect();
        let caches = spans.iter_mut().map(|span| &mut span.session.heads[..]);
        let caches: Vec<Lent<'_, _>> = caches.map(Lent::new).collect();
        for (index, layer) in model.layers.iter().enumerate() {
            self.project(&chunk, layer);
            self.attend(&chunk, (index, layer), &caches, &places);
            let (x, heads) = self.rows.heads(count, shape);
            let norm = chunk.norm(&layer.attn_sub_norm);
            add_product(&chunk, &mut self.pool, &layer.o, norm, heads.q, x);
            self.feed_forward(&chunk, layer);
            let (x, inner) = self.rows.inner(count, shape);
            let norm = chunk.norm(&layer.ffn_sub_norm);
            add_product(&chunk, &mut self.pool, &layer.down, norm, inner, x);
        }
        for (span, text) in spans.iter_mut().zip(&texts) {
            span.session.len = text.end();
        }
    }

    /// Queries, keys and values.
    fn project(&mut self, chunk: &Chunk<'_>, layer: &Layer) {
        let shape = &chunk.model.shape;
        let epsilon = shape.rms_norm_eps;
        let (x, heads) = self.rows.heads(chunk.count, shape);
        let out = [
            Grid::new(heads.q, shape.query_width()),
            Grid::new(heads.k, shape.kv_width()),
            Grid::new(heads.v, shape.kv_width()),
        ];
        let (layers, norm) = (
            [&layer.q, &layer.k, &layer.v],
            chunk.norm(&layer.input_norm),
        );
        let partition = chunk.partition(&layers);
        self.pool
            .run(partition.threads(), partition.tasks(), |scratch, tasks| {
                let Scratch { inputs, local, .. } = scratch;
                inputs.clear();
                for tile in tasks.map(|task| partition.tile(task)) {
                    inputs.each_of(layers, x, &tile.rows, (norm, epsilon), |i, input| {
                        layers[i].store(input, &tile, &out[i], local);
                    });
                }
            });
    }

    /// `inner = act(gate) · up`.
    fn feed_forward(&mut self, chunk: &Chunk<'_>, layer: &Layer) {
        let shape = &chunk.model.shape;
        let epsilon = shape.rms_norm_eps;
        let (x, inner) = self.rows.inner(chunk.count, shape);
        let out = Grid::new(inner, shape.intermediate_size);
        let (layers, norm) = ([&layer.up, &layer.gate], chunk.norm(&layer.post_norm));
        let partition = chunk.partition(&layers);
        self.pool
            .run(partition.threads(), partition.tasks(), |scratch, tasks| {
                let Scratch { inputs, local, .. } = scratch;
                inputs.clear();
                for tile in tasks.map(|task| partition.tile(task)) {
                    inputs.each_of(layers, x, &tile.rows, (norm, epsilon), |i, input| {
                        if i == 0 {
                            return layer.up.store(input, &tile, &out, local);
                        }
                        let most = GATE_VALUES / tile.rows.len();
                        for piece in tile.narrowed(shape.intermediate_size, most) {
                            let columns = layer.gate.columns(&piece);
                            if columns.is_empty() {
                                continue;
                            }
                            let gate = layer.gate.local(input, &piece, local);
                            let gates = gate.chunks_exact(columns.len());
                            for (row, gate) in piece.rows.clone().zip(gates) {
                                // SAFETY: the rectangle of this thread's task.
                                let up = unsafe { out.segment(row, columns.clone()) };
                                gated_row(shape.gate, gate, up);
                            }
                        }
                    });
                }
            });
    }

    /// Logits of some rows of the last chunk, `[rows, vocab_size]`.
    pub(crate) fn head(&mut self, model: &Model, rows: &[usize]) -> &[f32] {
        let (hidden, vocab, count) = (model.shape.hidden_size, model.shape.vocab_size, rows.len());
        resize(&mut self.logits, count * vocab);
        let x = match *rows {
            [row] => &self.rows.x[row * hidden..][..hidden],
            _ => {
                resize(&mut self.wanted, count * hidden);
                for (row, to) in rows.iter().zip(self.wanted.chunks_exact_mut(hidden)) {
                    to.copy_from_slice(&self.rows.x[row * hidden..][..hidden]);
                }
                &self.wanted[..count * hidden]
            }
        };
        let bytes = model.head.matrix.bytes();
        let partition = Partition::by_columns(count, bytes, self.pool.threads());
        let out = Grid::new(&mut self.logits[..count * vocab], vocab);
        let epsilon = model.shape.rms_norm_eps;
        self.pool
            .run(partition.threads(), partition.tasks(), |scratch, tasks| {
                let Scratch { inputs, local, .. } = scratch;
                inputs.clear();
                for tile in tasks.map(|task| partition.tile(task)) {
                    inputs.each_of([&model.head], x, &tile.rows, (None, epsilon), |_, input| {
                        model.head.store(input, &tile, &out, local);
                    });
                }
            });
        &self.logits[..count * vocab]
    }
}

/// `x += W · norm(from)`.
fn add_product(
    chunk: &Chunk<'_>,
    pool: &mut SpinPool<Scratch>,
    layer: &Linear,
    norm: Norm<'_>,
    from: &[f32],
    x: &mut [f32],
) {
    let shape = &chunk.model.shape;
    let out = Grid::new(x, shape.hidden_size);
    let partition = chunk.partition(&[layer]);
    let epsilon = shape.rms_norm_eps;
    pool.run(partition.threads(), partition.tasks(), |scratch, tasks| {
        let Scratch { inputs, local, .. } = scratch;
        inputs.clear();
        for tile in tasks.map(|task| partition.tile(task)) {
            inputs.each_of([layer], from, &tile.rows, (norm, epsilon), |_, input| {
                layer.add(input, &tile, &out, local);
            });
        }
    });
}

impl<'a> Chunk<'a> {
    /// The tasks of some products.
    fn partition(&self, layers: &[&Linear]) -> Partition {
        let bytes = layers.iter().map(|layer| layer.matrix.bytes()).sum();
        Partition::new(self.count, bytes, self.threads)
    }

    /// Threads for work on the keys and values of all heads, up to the last position of each text. Handing heads over
    /// moves their queries and results between cores as well, so sharing pays from four times as much as with weights, as
    /// measured on a model of 4 heads of 32 with keys and values in f32: 8 bytes a position and column count as 2.
    pub fn threads(&self) -> usize {
        let pairs = self.texts.iter().map(|text| text.rows.len() * text.end());
        let bytes = 2 * pairs.sum::<usize>() * self.model.shape.kv_width();
        threads_for(1, bytes, self.threads)
    }

    pub fn norm(&self, gamma: &'a Option<Vec<f32>>) -> Norm<'a> {
        let gamma = gamma.as_deref()?;
        Some((gamma, self.model.shape.rms_norm_eps))
    }
}

/// Makes room; what is read is written first.
pub(crate) fn resize(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}

//! Attention as tasks for the threads: texts and heads, or heads and a few rows.

use std::ops::Range;

use bitnet_kernels::{KeysValues, Place};

use crate::{
    Session, Shape,
    engine::Layer,
    forward::{Chunk, Heads, Scratch, Span, Workspace, resize},
    lent::{Grid, Lent},
    rope::{Rope, norm_and_rotate},
    session::HeadCache,
};

/// The rows of one text in a chunk.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// Which.
    pub rows: Range<usize>,
    /// Position of the first.
    pub start: usize,
    /// Its tasks of attention.
    tasks: Range<usize>,
    /// Whether a task is a key/value head with all rows and all queries that share it, which then writes the keys and
    /// values as well. Otherwise it is a query head and a few rows: later rows see more, so tasks differ in length.
    whole_heads: bool,
}

impl Text {
    /// Of some spans, one after the other.
    pub(crate) fn all(spans: &[Span<'_>], shape: &Shape) -> Vec<Text> {
        let sharing = shape.num_attention_heads / shape.num_key_value_heads;
        let (mut row, mut task) = (0, 0);
        let text = |span: &Span<'_>| {
            let count = span.tokens.len();
            let whole_heads = count == 1 || count * sharing <= KeysValues::ROWS;
            let tasks = match whole_heads {
                true => shape.num_key_value_heads,
                false => shape.num_attention_heads * count.div_ceil(KeysValues::ROWS),
            };
            (row, task) = (row + count, task + tasks);
            Text {
                rows: row - count..row,
                start: span.session.len,
                tasks: task - tasks..task,
                whole_heads,
            }
        };
        spans.iter().map(text).collect()
    }

    /// Where its heads lie, `[layers, heads]`, if they are read one after the other.
    pub(crate) fn places(&self, session: &Session) -> Vec<Place> {
        let heads = session.heads.iter().filter(|_| self.whole_heads);
        heads.map(|head| head.keys_values().place()).collect()
    }

    /// Position after the last row.
    pub(crate) fn end(&self) -> usize {
        self.start + self.rows.len()
    }
}

impl Workspace {
    /// Writes the rows' keys and values to the caches, `[texts]` of `[layers, heads]`, which lie at `places`; queries become
    /// what they attended to.
    pub(crate) fn attend(
        &mut self,
        chunk: &Chunk<'_>,
        (index, layer): (usize, &Layer),
        caches: &[Lent<'_, HeadCache>],
        places: &[Vec<Place>],
    ) {
        let (shape, threads, rope) = (&chunk.model.shape, chunk.threads(), &self.rope);
        let kv_heads = shape.num_key_value_heads;
        let sharing = shape.num_attention_heads / kv_heads;
        let first_head = index * kv_heads;
        let Heads { q, k, v } = self.rows.heads(chunk.count, shape).1;
        if chunk.texts.iter().any(|text| !text.whole_heads) {
            let tasks = kv_heads * chunk.texts.len();
            self.pool.run(threads, tasks, |scratch, tasks| {
                for task in tasks {
                    let (text, head) = (task / kv_heads, task % kv_heads);
                    if chunk.texts[text].whole_heads {
                        continue;
                    }
                    // SAFETY: a task is done once, and no other has this text and head.
                    let cache = unsafe { caches[text].one(first_head + head) };
                    let text = &chunk.texts[text];
                    chunk.remember(text, head, (layer, rope), cache, (k, v), scratch);
                }
            });
        }
        let q = Grid::new(q, shape.query_width());
        let tasks = chunk.texts.last().map_or(0, |text| text.tasks.end);
        self.pool.run(threads, tasks, |scratch, tasks| {
            // The task that was asked for while the one before was done.
            let mut expected = None;
            for task in tasks {
                let of = |task| chunk.texts.partition_point(|text| text.tasks.end <= task);
                let at = of(task);
                let (text, cache) = (&chunk.texts[at], &caches[at]);
                let next = chunk
                    .texts
                    .get(of(task + 1))
                    .filter(|next| next.whole_heads);
                let next = next.map(|next| {
                    let head = first_head + task + 1 - next.tasks.start;
                    places[of(task + 1)][head]
                });
                let is_expected = expected.replace(task + 1) == Some(task);
                let task = task - text.tasks.start;
                let queries = |head, queries, rows, scratch: &mut Scratch, cache: &HeadCache| {
                    let queries = Queries {
                        text,
                        head,
                        queries,
                        rows,
                        next,
                    };
                    // SAFETY: a task is done once, and no other has these heads and these rows.
                    unsafe { queries.attend(chunk, (layer, rope), cache, &q, scratch) };
                };
                if text.whole_heads {
                    // SAFETY: as above, with this text and head.
                    let cache = unsafe { cache.one(first_head + task) };
                    if !is_expected {
                        cache.keys_values().expect(text.end());
                    }
                    chunk.remember(text, task, (layer, rope), cache, (k, v), scratch);
                    let (first, rows) = (task * sharing, text.rows.clone());
                    let at_once = (KeysValues::ROWS / rows.len()).max(1);
                    for shared in (0..sharing).step_by(at_once) {
                        let count = at_once.min(sharing - shared);
                        queries(first + shared, count, rows.clone(), scratch, cache);
                    }
                } else {
                    // A head's rows follow each other, so that its keys and values stay in the cache.
                    let blocks = text.rows.len().div_ceil(KeysValues::ROWS);
                    let (head, block) = (task / blocks, task % blocks);
                    let first = text.rows.start + block * KeysValues::ROWS;
                    let rows = first..text.rows.end.min(first + KeysValues::ROWS);
                    // SAFETY: keys and values of this text were written in the round before, and are only read in this one.
                    let cache = unsafe { cache.shared(first_head + head / sharing) };
                    queries(head, 1, rows, scratch, cache);
                }
            }
        });
    }
}

/// Queries that attend together: some rows of a text, each of some heads that share keys and values.
struct Queries<'a> {
    text: &'a Text,
    /// The first head.
    head: usize,
    /// How many heads.
    queries: usize,
    rows: Range<usize>,
    /// What is attended to after this.
    next: Option<Place>,
}

impl Queries<'_> {
    /// Replaces queries by what they attended to.
    ///
    /// # Safety
    ///
    /// No other thread may hold these heads of these rows of `q`.
    unsafe fn attend(
        &self,
        chunk: &Chunk<'_>,
        (layer, rope): (&Layer, &Rope),
        cache: &HeadCache,
        q: &Grid<'_>,
        scratch: &mut Scratch,
    ) {
        let Scratch {
            local,
            head,
            attention,
            ..
        } = scratch;
        let (width, count) = (cache.width(), self.rows.len() * self.queries);
        let scale = 1.0 / (width as f32).sqrt();
        let norm = chunk.norm(&layer.q_norm);
        let position = self.text.start + self.rows.start - self.text.rows.start;
        let columns = |query: usize| width * query..width * (query + 1);
        let heads = self.head..self.head + self.queries;
        resize(local, count * width);
        let mut to = local.chunks_exact_mut(width);
        for (index, row) in self.rows.clone().enumerate() {
            for (query, y) in heads.clone().zip(&mut to) {
                // SAFETY: nobody else holds it, says the caller.
                let q = unsafe { q.segment(row, columns(query)) };
                norm_and_rotate(q, norm, Some((rope, position + index)), head, y);
                y.iter_mut().for_each(|q| *q *= scale);
            }
        }
        // A division takes longer than the rest of this.
        let visible = |index| match self.queries {
            1 => position + index + 1,
            queries => position + index / queries + 1,
        };
        let keys_values = cache.keys_values();
        let (out, stride) =
            attention.attend(chunk.kernel, keys_values, local, count, visible, self.next);
        let mut out = out.chunks_exact(stride);
        for row in self.rows.clone() {
            for (query, out) in heads.clone().zip(&mut out) {
                // SAFETY: as above, and the queries have been read.
                let y = unsafe { q.segment(row, columns(query)) };
                y.copy_from_slice(&out[..width]);
            }
        }
    }
}

impl Chunk<'_> {
    /// A text's keys and values of one head to its cache.
    fn remember(
        &self,
        text: &Text,
        head: usize,
        (layer, rope): (&Layer, &Rope),
        cache: &mut HeadCache,
        (k, v): (&[f32], &[f32]),
        scratch: &mut Scratch,
    ) {
        let (keys, normed) = (&mut scratch.local, &mut scratch.head);
        let (width, stride) = (cache.width(), self.model.shape.kv_width());
        let of = |row: usize| {
            let row = (text.rows.start + row) * stride;
            row + head * width..row + (head + 1) * width
        };
        let norm = self.norm(&layer.k_norm);
        resize(keys, 16 * width);
        let (mut row, count) = (0, text.rows.len());
        while row < count {
            let position = text.start + row;
            // Whole groups of positions at once, others one by one.
            let whole = position.is_multiple_of(16) && count - row >= 16;
            let rows = if whole { 16 } else { 1 };
            for (r, key) in keys.chunks_exact_mut(width).take(rows).enumerate() {
                norm_and_rotate(
                    &k[of(row + r)],
                    norm,
                    Some((rope, position + r)),
                    normed,
                    key,
                );
                cache.set_value(self.kernel, position + r, &v[of(row + r)], normed);
            }
            cache.set_keys(self.kernel, position, &mut keys[..rows * width]);
            row += rows;
        }
    }
}

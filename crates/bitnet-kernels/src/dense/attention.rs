//! Attention of queries to the keys and values of one head.
//!
//! ```text
//! y[r] = Σ_p e[r, p] · v[p] / Σ_p e[r, p]      e[r, p] = exp(q[r]·k[p] − max),  p = 0 .. positions that r sees
//! ```
//!
//! A query's result depends on the query, the positions that it sees, the format and the instruction set, and not on which
//! others are computed with it: sums run from position 0 up, and a position that is not seen adds `0 · v`.
//!
//! | keys and values | instruction set | how |
//! |---|---|---|
//! | any | any | two products of [`Panels`] in f32, one softmax over all positions |
//! | int8 | any | exact products with queries in int8, then their scales; values as above, `e[p]` times the scale of p |
//! | bf16, heads a multiple of 32 wide | `amx` | a running softmax between products of bf16 (`isa::amx::attention`) |
//!
//! The last sums in another order, from two pieces of bf16 of each query and weight; its error has a bound there.

use std::ops::Range;

use super::{FloatFormat, FloatOutput, Int8Output, Operands};
#[cfg(target_arch = "x86_64")]
use crate::isa::amx::{self, attention::Softmax};
use crate::{GROUP, Kernel, Line, Panels, int8_codes, softmax, system::shared_out::fetch_lines};

/// Keys and values of one head.
#[derive(Clone, Copy, Debug)]
pub struct KeysValues<'a> {
    /// Groups of 16 positions, `width` deep.
    pub keys: Panels<'a>,
    /// Groups of 16 columns, as deep as there are positions: a multiple of [`KeysValues::POSITIONS`]. What lies past the
    /// last position that is seen must be finite.
    pub values: Panels<'a>,
    /// Width of the head.
    pub width: usize,
    /// What the codes of each position's key are to be multiplied by, as many as the groups have positions, and those of its
    /// value: of [`FloatFormat::Int8`] alone.
    pub factors: [&'a [f32]; 2],
}

/// Where the keys and values of a head lie: what the attention to another one can ask the memory for meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    keys: usize,
    values: usize,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Attention {
    scores: Vec<f32>,
    out: Vec<f32>,
    queries: CodedQueries,
    #[cfg(target_arch = "x86_64")]
    tiles: amx::attention::Attention,
}

/// Queries in int8.
#[derive(Debug, Default)]
struct CodedQueries {
    row: Vec<f32>,
    /// `[rows, lanes]`, zero past the width.
    codes: Vec<[i8; 4]>,
    factors: Vec<f32>,
    sums: Vec<i32>,
}

impl KeysValues<'_> {
    /// Keys and values are read in blocks of so many positions.
    pub const POSITIONS: usize = 32;

    /// Query rows at a time at most.
    pub const ROWS: usize = 32;

    /// Bytes of keys, and of values, that are asked for ahead: what two pages hold. Longer ones are a stream that the
    /// processor sees by itself.
    const AHEAD: usize = 8 << 10;

    /// Where they lie.
    pub fn place(&self) -> Place {
        Place {
            keys: self.keys.lines.as_ptr().addr(),
            values: self.values.lines.as_ptr().addr(),
        }
    }

    /// Whether the processor does not see by itself where so many positions go on.
    pub fn is_short(&self, positions: usize) -> bool {
        positions.div_ceil(GROUP) * self.keys.stride * size_of::<Line>() <= KeysValues::AHEAD
    }

    /// Asks the memory for the keys and values of the first `positions`, some hundred nanoseconds before they are read. A
    /// head of a short text is a few pages, over before the processor knows where it goes on.
    pub fn expect(&self, positions: usize) {
        let lines = |panels: &Panels<'_>, count: usize| {
            let most = KeysValues::AHEAD / size_of::<Line>();
            fetch_lines(&panels.lines[..count.min(most).min(panels.lines.len())]);
        };
        lines(&self.keys, positions.div_ceil(GROUP) * self.keys.stride);
        let per_lane = self.values.format.per_lane();
        lines(
            &self.values,
            positions.div_ceil(per_lane) * self.values.step,
        );
    }

    /// Groups of keys that a single query reads side by side.
    const SIDE_BY_SIDE: usize = 4;

    /// Bytes of values that are asked for ahead in a longer text.
    const VALUES_AHEAD: usize = 4 << 10;

    /// Query rows at a time in f32: two tiles of the float kernels. The scores of a block at 4,096 positions take 400 KiB.
    const FLOAT_ROWS: usize = 24;
}

impl Attention {
    /// The results for some of `queries[rows, width]`, scaled already, up to [`KeysValues::ROWS`] of them: `[rows,
    /// stride]`, and the stride. Query `r` sees the first `visible(r)` positions, at least one. What a single query reads of
    /// a short text asks for what lies as far from `next`.
    ///
    /// # Panics
    ///
    /// If the processor lacks `kernel`, a query sees no position, or a slice is too short.
    pub fn attend(
        &mut self,
        kernel: Kernel,
        head: KeysValues<'_>,
        queries: &[f32],
        rows: usize,
        visible: impl Fn(usize) -> usize,
        next: Option<Place>,
    ) -> (&[f32], usize) {
        assert!(rows <= KeysValues::ROWS, "{rows} rows");
        let stride = head.width.next_multiple_of(GROUP);
        grow(&mut self.out, rows * stride);
        #[cfg(target_arch = "x86_64")]
        if amx::attention::takes(kernel, &head)
            && let Ok(tiles) = amx::Tiles::get()
        {
            let (unit, softmax) = (tiles.configure_rows(rows), Softmax::detect());
            let out = &mut self.out[..rows * stride];
            self.tiles
                .attend(&unit, softmax, head, queries, visible, out);
            return (&self.out[..rows * stride], stride);
        }
        // Equal parts, each of whole tiles but the last.
        for first in (0..rows).step_by(KeysValues::FLOAT_ROWS) {
            let part = first..(first + KeysValues::FLOAT_ROWS).min(rows);
            self.float(kernel, head, queries, part, &visible, stride, next);
        }
        (&self.out[..rows * stride], stride)
    }

    #[allow(clippy::too_many_arguments)]
    fn float(
        &mut self,
        kernel: Kernel,
        head: KeysValues<'_>,
        queries: &[f32],
        rows: Range<usize>,
        visible: &impl Fn(usize) -> usize,
        out_stride: usize,
        next: Option<Place>,
    ) {
        let width = head.width;
        let longest = rows.clone().map(visible).max().unwrap_or(0);
        let (groups, columns) = (longest.div_ceil(GROUP), width.div_ceil(GROUP));
        let stride = GROUP * groups;
        grow(&mut self.scores, rows.len() * stride);
        let queries = &queries[rows.start * width..];
        let scores = &mut self.scores[..rows.len() * stride];
        let (here, line) = (head.place(), size_of::<Line>());
        // Of a longer text what comes next of itself: groups side by side are too many streams to be seen.
        let [keys_ahead, values_ahead] = match next {
            _ if !head.is_short(longest) => [
                KeysValues::SIDE_BY_SIDE * head.keys.stride * line,
                KeysValues::VALUES_AHEAD,
            ],
            Some(next) => [
                next.keys.wrapping_sub(here.keys),
                next.values.wrapping_sub(here.values),
            ],
            None => [0, 0],
        };
        match head.keys.format {
            FloatFormat::Int8 => {
                let loops = kernel.loops();
                self.queries.set(kernel, queries, rows.len(), width);
                let operands = Operands {
                    lines: head.keys.lines,
                    depth: head.keys.depth,
                    stride: head.keys.stride,
                    step: head.keys.step,
                    x: &self.queries.codes,
                    x_stride: head.keys.depth,
                    rows: rows.len(),
                    ahead: keys_ahead as isize,
                };
                let to = FloatOutput {
                    out: &mut *scores,
                    stride,
                    width: stride,
                    first_group: 0,
                };
                let out = Int8Output {
                    to,
                    w_scales: head.factors[0],
                    x_scales: &self.queries.factors,
                    factors: true,
                    x_sums: &self.queries.sums,
                    excess: 0,
                };
                loops.dense_int8(operands, 0..groups, out);
            }
            FloatFormat::F32 | FloatFormat::Bf16 => head.keys.product_asking(
                kernel,
                keys_ahead as isize,
                queries,
                width,
                rows.len(),
                0..groups,
                scores,
                stride,
            ),
        }
        let mut sums = [0.0; KeysValues::FLOAT_ROWS];
        for ((row, scores), sum) in rows
            .clone()
            .zip(scores.chunks_exact_mut(stride))
            .zip(&mut sums)
        {
            let (seen, hidden) = scores.split_at_mut(visible(row));
            *sum = softmax(kernel, seen);
            hidden.fill(0.0);
            if head.values.format == FloatFormat::Int8 {
                let factors = seen.iter_mut().zip(head.factors[1]);
                factors.for_each(|(weight, factor)| *weight *= factor);
            }
        }
        let values = Panels {
            depth: longest.div_ceil(head.values.format.per_lane()),
            ..head.values
        };
        let out = &mut self.out[rows.start * out_stride..rows.end * out_stride];
        values.product_asking(
            kernel,
            values_ahead as isize,
            scores,
            stride,
            rows.len(),
            0..columns,
            out,
            out_stride,
        );
        for (row, sum) in out.chunks_exact_mut(out_stride).zip(sums) {
            row.iter_mut().for_each(|y| *y /= sum);
        }
    }
}

impl CodedQueries {
    fn set(&mut self, kernel: Kernel, queries: &[f32], rows: usize, width: usize) {
        let lanes = width.div_ceil(FloatFormat::Int8.per_lane());
        self.codes.clear();
        self.codes.resize(rows * lanes, [0; 4]);
        self.factors.clear();
        self.sums.clear();
        let queries = queries.chunks_exact(width);
        for (codes, query) in self.codes.chunks_exact_mut(lanes).zip(queries) {
            self.row.clear();
            self.row.extend_from_slice(query);
            self.factors.push(int8_codes(kernel, &mut self.row));
            let codes = codes.as_flattened_mut();
            for (code, value) in codes.iter_mut().zip(&self.row) {
                *code = *value as i8;
            }
            self.sums
                .push(codes.iter().map(|code| i32::from(*code)).sum());
        }
    }
}

/// Makes room; what is read is written first.
fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in [-1, 1) without a pattern that a wrong index would keep.
    fn values(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(next).collect()
    }

    /// Keys and values as a cache holds them.
    struct Head {
        format: FloatFormat,
        width: usize,
        keys: Vec<Line>,
        values: Vec<Line>,
        factors: [Vec<f32>; 2],
        /// What they stand for, `[positions, width]`.
        exact: [Vec<f64>; 2],
    }

    impl Head {
        fn new(format: FloatFormat, width: usize, positions: usize, seed: u32) -> Head {
            let (room, per_lane) = (positions.next_multiple_of(32), format.per_lane());
            let (depth, columns) = (width.div_ceil(per_lane), width.div_ceil(GROUP));
            let mut head = Head {
                format,
                width,
                keys: vec![Line::ZERO; room / GROUP * depth],
                values: vec![Line::ZERO; columns * room / per_lane],
                factors: [vec![0.0; room], vec![0.0; room]],
                exact: [Vec::new(), Vec::new()],
            };
            for p in 0..positions {
                // Sizes from position to position that one scale for all would not hold.
                let size = 2f32.powi(p as i32 % 7 - 3);
                let mut rows = [0, 1].map(|which| values(width, 2 * (seed + p as u32) + which));
                rows.iter_mut().flatten().for_each(|x| *x *= size);
                for (which, row) in rows.iter_mut().enumerate() {
                    let factor = match format {
                        FloatFormat::Int8 => int8_codes(Kernel::SCALAR, row),
                        _ => 1.0,
                    };
                    head.factors[which][p] = factor;
                    let bf16 = |x: f32| f64::from(f32::from_bits(x.to_bits() & 0xffff_0000));
                    if format == FloatFormat::Bf16 {
                        // Numbers that bf16 holds, so that what they stand for needs no rounding.
                        row.iter_mut().for_each(|x| *x = bf16(*x) as f32);
                    }
                    let exact = row.iter().map(|x| f64::from(*x) * f64::from(factor));
                    head.exact[which].extend(exact);
                }
                let group = &mut head.keys[p / GROUP * depth..][..depth];
                for (k, value) in rows[0].iter().enumerate() {
                    format.set(group, p % GROUP, k, *value);
                }
                let lines = &mut head.values[p / per_lane * columns..][..columns];
                for (line, row) in lines.iter_mut().zip(rows[1].chunks(GROUP)) {
                    let mut lanes = [0.0; GROUP];
                    lanes[..row.len()].copy_from_slice(row);
                    format.set_all(line, p % per_lane, lanes);
                }
            }
            head
        }

        fn panels(&self) -> KeysValues<'_> {
            let (format, columns) = (self.format, self.width.div_ceil(GROUP));
            let depth = self.width.div_ceil(format.per_lane());
            let panels = |lines, depth, stride, step| Panels {
                format,
                lines,
                depth,
                stride,
                step,
            };
            KeysValues {
                keys: panels(&self.keys, depth, depth, 1),
                values: panels(&self.values, self.values.len() / columns, 1, columns),
                width: self.width,
                factors: self.factors.each_ref().map(Vec::as_slice),
            }
        }
    }

    /// A query's result in f64, its own rounding to int8 included.
    fn exact(head: &Head, query: &[f32], visible: usize) -> Vec<f64> {
        let (mut query, mut factor) = (query.to_vec(), 1.0);
        if head.format == FloatFormat::Int8 {
            factor = f64::from(int8_codes(Kernel::SCALAR, &mut query));
        }
        let row = |which: usize, p: usize| &head.exact[which][p * head.width..][..head.width];
        let score = |p| {
            let terms = row(0, p).iter().zip(&query);
            factor * terms.map(|(k, q)| k * f64::from(*q)).sum::<f64>()
        };
        let scores: Vec<f64> = (0..visible).map(score).collect();
        let max = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
        let total: f64 = weights.iter().sum();
        let column = |c: usize| {
            let terms = weights.iter().enumerate();
            terms.map(|(p, w)| w * row(1, p)[c]).sum::<f64>() / total
        };
        (0..head.width).map(column).collect()
    }

    #[test]
    fn every_format_is_near_its_formula_and_the_same_on_every_kernel_and_in_every_company() {
        for format in FloatFormat::ALL {
            for (width, positions) in [(2, 1), (6, 40), (64, 33), (72, 200), (34, 530)] {
                let head = Head::new(format, width, positions, 7);
                let rows = KeysValues::ROWS.min(positions);
                let mut queries = values(rows * width, 3);
                queries.iter_mut().for_each(|q| *q *= 0.4);
                let visible = |row: usize| positions - rows + row + 1;
                let mut attention = Attention::default();
                let (out, stride) =
                    attention.attend(Kernel::SCALAR, head.panels(), &queries, rows, visible, None);
                let out = out.to_vec();
                for row in 0..rows {
                    let query = &queries[row * width..][..width];
                    let expected = exact(&head, query, visible(row));
                    let largest = head.exact[1].iter().fold(0f64, |a, b| a.max(b.abs()));
                    for (y, e) in out[row * stride..].iter().zip(&expected) {
                        let error = (f64::from(*y) - e).abs();
                        assert!(
                            error < 1e-5 * largest,
                            "{format} {width} {positions}: {error:e}"
                        );
                    }
                }
                let of_bits = |kernel: &Kernel| kernel.name() != "amx";
                for kernel in Kernel::available().into_iter().filter(of_bits) {
                    let all = attention
                        .attend(kernel, head.panels(), &queries, rows, visible, None)
                        .0;
                    assert_eq!(all, out, "{kernel} {format} {width} {positions}");
                    for row in 0..rows {
                        let query = &queries[row * width..][..width];
                        let place = Some(head.panels().place());
                        let alone = attention
                            .attend(kernel, head.panels(), query, 1, |_| visible(row), place)
                            .0;
                        assert_eq!(
                            alone,
                            &out[row * stride..][..stride],
                            "{kernel} {format} row {row}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_shows() {
        for (what, extreme) in [("NaN", f32::NAN), ("infinity", f32::INFINITY)] {
            let mut row = [1.0, extreme, 2.0];
            let factor = int8_codes(Kernel::SCALAR, &mut row);
            assert!(
                (row[1] * factor).is_nan() && (row[0] * factor).is_nan(),
                "{what}"
            );
        }
        let mut row = [0.0; 5];
        assert!(int8_codes(Kernel::SCALAR, &mut row).is_finite());
        assert_eq!(row, [0.0; 5]);
    }
}

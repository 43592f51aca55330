use super::*;
use crate::{
    GROUP, Panels,
    dense::Line,
    isa::amx::{Model, Tiles},
    skipped::skipped,
};

fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Keys and values of one head, in the layout of the cache.
struct Head {
    width: usize,
    keys: Vec<Line>,
    values: Vec<Line>,
}

impl Head {
    fn new(width: usize, positions: usize, size: f32, seed: u64) -> Head {
        let mut random = random(seed);
        let room = positions.next_multiple_of(SIDE);
        let mut head = Head {
            width,
            keys: vec![Line::ZERO; room / GROUP * width / 2],
            values: vec![Line::ZERO; width / GROUP * room / 2],
        };
        for p in 0..positions {
            let depth = width / 2;
            for k in 0..width {
                let group = &mut head.keys[p / GROUP * depth..][..depth];
                FloatFormat::Bf16.set(group, p % GROUP, k, size * random());
            }
            for (column, line) in head.values[p / 2 * width / GROUP..][..width / GROUP]
                .iter_mut()
                .enumerate()
            {
                let values = std::array::from_fn(|lane| random() + (column + lane) as f32 / 50.0);
                FloatFormat::Bf16.set_all(line, p % 2, values);
            }
        }
        head
    }

    fn panels(&self) -> KeysValues<'_> {
        let (format, columns) = (FloatFormat::Bf16, self.width / GROUP);
        let depth = self.width / 2;
        let keys = Panels {
            format,
            lines: &self.keys,
            depth,
            stride: depth,
            step: 1,
        };
        let depth = self.values.len() / columns;
        let values = Panels {
            format,
            lines: &self.values,
            depth,
            stride: 1,
            step: columns,
        };
        KeysValues {
            keys,
            values,
            width: self.width,
            factors: [&[]; 2],
        }
    }

    fn key(&self, p: usize, k: usize) -> f64 {
        f64::from(self.keys[p / GROUP * self.width / 2 + k / 2].bf16(p % GROUP, k % 2))
    }

    fn value(&self, p: usize, k: usize) -> f64 {
        f64::from(self.values[p / 2 * self.width / GROUP + k / GROUP].bf16(k % GROUP, p % 2))
    }

    /// The formula in f64, and the bound of `attention` of the difference to it.
    fn exact(&self, q: &[f32], seen: usize) -> (Vec<f64>, f64) {
        let q: Vec<f64> = q.iter().map(|q| f64::from(*q)).collect();
        let score = |p: usize, f: fn(f64) -> f64| {
            (0..self.width)
                .map(|k| f(q[k] * self.key(p, k)))
                .sum::<f64>()
        };
        let scores: Vec<f64> = (0..seen).map(|p| score(p, |x| x)).collect();
        let size = (0..seen).map(|p| score(p, f64::abs)).fold(0.0, f64::max);
        let top = scores.iter().copied().fold(f64::MIN, f64::max);
        let e: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let total: f64 = e.iter().sum();
        let y = (0..self.width)
            .map(|k| (0..seen).map(|p| e[p] * self.value(p, k)).sum::<f64>() / total);
        let largest = (0..seen)
            .flat_map(|p| (0..self.width).map(move |k| self.value(p, k).abs()))
            .fold(0.0, f64::max);
        let (u, piece) = (0.5f64.powi(24), 0.5f64.powi(16));
        let score = (piece + (self.width as f64 / 16.0 + 18.0) * u) * size;
        let bound =
            2.0 * ((2.0 * score).exp() - 1.0) + piece + 2.0 * (seen as f64 / 16.0 + 40.0) * u;
        (y.collect(), bound * largest)
    }
}

fn attend(
    unit: &impl Unit,
    softmax: Softmax,
    head: &Head,
    queries: &[f32],
    seen: &[usize],
) -> Vec<f32> {
    let mut out = vec![f32::NAN; queries.len()];
    let visible = |r: usize| seen[r];
    Attention::default().attend(unit, softmax, head.panels(), queries, visible, &mut out);
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn within_the_bound_of_the_formula_and_each_row_for_itself() {
    for (width, positions, size) in [(32, 1, 1.0), (64, 40, 1.0), (32, 300, 4.0), (128, 131, 0.3)] {
        let head = Head::new(width, positions, size, 7);
        let mut random = random(5);
        let rows = 5.min(positions);
        let queries: Vec<f32> = (0..rows * width).map(|_| random()).collect();
        let seen: Vec<usize> = (0..rows).map(|r| positions - rows + r + 1).collect();
        let out = attend(&Model, Softmax::Portable, &head, &queries, &seen);
        for (r, (out, q)) in out.chunks(width).zip(queries.chunks(width)).enumerate() {
            let (exact, bound) = head.exact(q, seen[r]);
            for (y, exact) in out.iter().zip(&exact) {
                assert!(
                    (f64::from(*y) - exact).abs() <= bound,
                    "{width} x {positions} row {r}: {y} {exact} {bound:e}"
                );
            }
            let alone = attend(&Model, Softmax::Portable, &head, q, &seen[r..=r]);
            assert_eq!(bits(&alone), bits(out), "{width} x {positions} row {r}");
        }
    }
}

#[test]
fn a_nan_shows_in_its_row_alone() {
    let head = Head::new(32, 50, 1.0, 3);
    let mut random = random(5);
    let mut queries: Vec<f32> = (0..3 * 32).map(|_| random()).collect();
    let clean = attend(&Model, Softmax::Portable, &head, &queries, &[30, 40, 50]);
    queries[40] = f32::NAN;
    let out = attend(&Model, Softmax::Portable, &head, &queries, &[30, 40, 50]);
    assert!(out[32..64].iter().all(|y| y.is_nan()));
    assert_eq!((&out[..32], &out[64..]), (&clean[..32], &clean[64..]));
}

#[test]
fn the_instructions_agree_bit_for_bit() {
    let vectors = Softmax::detect();
    if let Softmax::Portable = vectors {
        skipped("no AVX-512 here");
    }
    let tiles = Tiles::get()
        .inspect_err(|refusal| skipped(refusal.reason()));
    for (width, positions, rows) in [(32, 32, 32), (64, 300, 31), (96, 129, 1), (128, 260, 17)] {
        let head = Head::new(width, positions, 2.0, 11);
        let mut random = random(13);
        let queries: Vec<f32> = (0..rows * width).map(|_| random()).collect();
        let seen: Vec<usize> = (0..rows)
            .map(|r| positions - (rows - 1 - r).min(positions - 1))
            .collect();
        let expected = attend(&Model, Softmax::Portable, &head, &queries, &seen);
        assert_eq!(
            bits(&attend(&Model, vectors, &head, &queries, &seen)),
            bits(&expected)
        );
        if let Ok(tiles) = tiles {
            let out = attend(&tiles.configure(), vectors, &head, &queries, &seen);
            assert_eq!(
                bits(&out),
                bits(&expected),
                "{width} x {positions}, {rows} rows"
            );
        }
    }
}

//! Products in blocks against the formula, bit for bit: shapes, kernels, cuts, extremes.

use super::*;
use crate::reference::{linear_blocks, quantize_block};

/// Numbers without a pattern that a wrong index would keep.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 >> 8
    }

    /// In [-1, 1).
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Codes, scales and minimums of a matrix, row by row.
struct Source {
    format: BlockFormat,
    rows: usize,
    cols: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
    minimums: Vec<f32>,
}

impl Source {
    fn random(format: BlockFormat, rows: usize, cols: usize, random: &mut Random) -> Source {
        let (lowest, highest) = format.codes();
        let span = highest as u32 - lowest as u32 + 1;
        let float = |random: &mut Random| match format {
            BlockFormat::Int8Halves => random.float(),
            _ => f16::from_f32(random.float()).to_f32(),
        };
        let blocks = rows * cols / BLOCK;
        Source {
            format,
            rows,
            cols,
            codes: (0..rows * cols)
                .map(|_| (i32::from(lowest) + (random.next() % span) as i32) as i8)
                .collect(),
            scales: (0..rows * cols / format.per_scale())
                .map(|_| float(random))
                .collect(),
            minimums: (0..if format.has_minimums() { blocks } else { 0 })
                .map(|_| float(random))
                .collect(),
        }
    }

    fn matrix(&self) -> Result<BlockMatrix, Error> {
        let (rows, cols) = (self.rows, self.cols);
        BlockMatrix::from_rows(rows, cols, self.format, Kernel::SCALAR, |row, to| {
            let (scales, minimums) = (to.scales.len(), to.minimums.len());
            to.codes.copy_from_slice(&self.codes[row * cols..][..cols]);
            to.scales
                .copy_from_slice(&self.scales[row * scales..][..scales]);
            to.minimums
                .copy_from_slice(&self.minimums[row * minimums..][..minimums]);
        })
    }

    fn formula(&self, x: &[f32]) -> Vec<f32> {
        let per_scale = self.format.per_scale();
        let (scales, minimums) = (&self.scales, &self.minimums);
        linear_blocks(x, self.cols, &self.codes, scales, per_scale, minimums)
    }
}

fn bits(y: &[f32]) -> Vec<u32> {
    // One NaN of all payloads.
    let bits = |y: &f32| if y.is_nan() { u32::MAX } else { y.to_bits() };
    y.iter().map(bits).collect()
}

/// The product on every kernel, whole and cut, is the formula.
fn check_product(source: &Source, x: &[f32], what: &str) {
    let (n, k, m) = (source.rows, source.cols, x.len() / source.cols);
    let matrix = source.matrix().unwrap();
    let expected = bits(&source.formula(x));
    for kernel in Kernel::available() {
        let what = format!("{kernel} {} {m}x{n}x{k} {what}", source.format);
        let mut rows = BlockRows::default();
        rows.set(kernel, x, k);
        let mut y = vec![9.0; m * n];
        matrix.product_at(kernel.loops(), &rows, 0..m, 0..matrix.groups(), &mut y, n);
        assert_eq!(bits(&y), expected, "{what}");
        y.fill(9.0);
        for i in 0..m {
            for group in 0..matrix.groups() {
                let out = &mut y[i * n + GROUP * group..(i + 1) * n];
                let (i, group) = (i..i + 1, group..group + 1);
                matrix.product_at(kernel.loops(), &rows, i, group, out, n);
            }
        }
        assert_eq!(bits(&y), expected, "{what} in parts");
    }
    #[cfg(target_arch = "x86_64")]
    if "avx512-vnni".parse::<Kernel>().is_ok() {
        let mut rows = BlockRows::default();
        rows.set(Kernel::SCALAR, x, k);
        let mut y = vec![9.0; m * n];
        let operands = BlockOperands {
            lines: &matrix.lines,
            depth: matrix.format.lines(k / BLOCK),
            blocks: k / BLOCK,
            x: &rows.blocks,
            rows: m,
        };
        let out = FloatOutput {
            out: &mut y,
            stride: n,
            width: n,
            first_group: 0,
        };
        // SAFETY: `avx512-vnni` includes AVX-512 VNNI and VL, and is available.
        unsafe {
            crate::isa::avx_vnni::blocks::evex::blocks(
                matrix.format,
                operands,
                0..matrix.groups(),
                out,
            );
        }
        assert_eq!(bits(&y), expected, "AVX-VNNI, {m}x{n}x{k} {what}");
    }
}

#[test]
fn every_kernel_and_every_cut_is_the_formula() {
    let mut random = Random(77);
    for (m, n, blocks) in [(1, 1, 1), (1, 100, 2), (2, 35, 3), (7, 67, 4), (23, 161, 5)] {
        for format in BlockFormat::ALL {
            let source = Source::random(format, n, BLOCK * blocks, &mut random);
            let x: Vec<f32> = (0..m * source.cols).map(|_| random.float()).collect();
            check_product(&source, &x, "random");
        }
    }
}

#[test]
fn extremes_zeros_and_what_is_not_finite() {
    let mut random = Random(5);
    for format in BlockFormat::ALL {
        let (lowest, highest) = format.codes();
        for codes in [[lowest; 2], [highest; 2], [lowest, highest], [0; 2]] {
            let mut source = Source::random(format, 17, 3 * BLOCK, &mut random);
            for (code, value) in source.codes.iter_mut().zip(codes.into_iter().cycle()) {
                *code = value;
            }
            source.scales[0] = 65504.0;
            source.scales[1] = 0.0;
            source.scales[2] = 0.5f32.powi(24);
            let full = vec![1.0; source.cols];
            let signs = [-1.0, 1.0].repeat(source.cols / 2);
            let large = vec![-f32::MAX; source.cols];
            for (what, x) in [("ones", &full), ("signs", &signs), ("large", &large)] {
                check_product(&source, x, what);
            }
            let mut rows = [full.clone(), signs, vec![0.0; source.cols], full].concat();
            rows[3 * source.cols + 40] = f32::NAN;
            rows[source.cols + 2] = 1e-39;
            check_product(&source, &rows, "a NaN in the last row");
            let mut y = vec![0.0; 4 * 17];
            let (matrix, mut x) = (source.matrix().unwrap(), BlockRows::default());
            x.set(matrix.kernel(), &rows, source.cols);
            matrix.product(&x, 0..4, 0..2, &mut y, 17);
            assert!(y[..3 * 17].iter().all(|y| y.is_finite()));
            assert!(y[2 * 17..3 * 17].iter().all(|y| *y == 0.0));
            assert!(y[3 * 17..].iter().all(|y| y.is_nan()));
        }
    }
}

#[test]
fn the_error_is_that_of_the_roundings() {
    let mut random = Random(9);
    for format in BlockFormat::ALL {
        let source = Source::random(format, 20, 64 * BLOCK, &mut random);
        let x: Vec<f32> = (0..source.cols).map(|_| random.float()).collect();
        let y = source.formula(&x);
        let mut w = vec![0.0; source.cols];
        let matrix = source.matrix().unwrap();
        for (n, y) in y.into_iter().enumerate() {
            matrix.row(n, &mut w);
            let (mut exact, mut size) = (0.0, 0.0);
            for (x, w) in x.chunks(BLOCK).zip(w.chunks(BLOCK)) {
                let (codes, d) = quantize_block(x);
                for (q, w) in codes.into_iter().zip(w) {
                    let term = f64::from(q) * f64::from(d) * f64::from(*w);
                    (exact, size) = (exact + term, size + term.abs());
                }
            }
            // Two operations a block, each of them rounded, and twice that with minimums or halves; two for a weight as
            // `row` writes it, and `d · Σq`. Weights of codes and minimum cancel: their terms are at most 17 times the sum.
            let cancelled = if format.has_minimums() { 40.0 } else { 1.0 };
            let bound = (4 * 64 + 4) as f64 * 0.5f64.powi(24) * size * cancelled;
            let error = (f64::from(y) - exact).abs();
            assert!(error <= bound, "{format}: {error:e} > {bound:e}");
        }
    }
}

#[test]
fn rows_come_back_as_they_were() {
    let mut random = Random(3);
    for format in BlockFormat::ALL {
        let source = Source::random(format, 37, 5 * BLOCK, &mut random);
        let matrix = source.matrix().unwrap();
        let mut row = vec![0.0; source.cols];
        for n in 0..source.rows {
            matrix.row(n, &mut row);
            for (k, value) in row.iter().enumerate() {
                let at = n * source.cols + k;
                let d = source.scales[at / format.per_scale()];
                let expected = d * f32::from(source.codes[at]);
                let m = source.minimums.get(at / BLOCK);
                assert_eq!(
                    *value,
                    m.map_or(expected, |m| expected + m),
                    "{format} {n} {k}"
                );
            }
        }
    }
}

#[test]
fn what_a_format_cannot_hold_is_refused() {
    let mut random = Random(1);
    let mut source = Source::random(BlockFormat::Int4, 20, BLOCK, &mut random);
    source.codes[19 * BLOCK + 3] = 8;
    assert_eq!(
        source.matrix().unwrap_err().to_string(),
        "code 8 at row 19, column 3: format `int4` holds -8 to 7"
    );
    source.codes[19 * BLOCK + 3] = 7;
    for value in [0.1, f32::INFINITY, 1e6, f32::NAN] {
        source.scales[2] = value;
        let error = source.matrix().unwrap_err().to_string();
        let expected = format!(
            "scale or minimum {value} of a block of row 2: format `int4` needs a finite 16-bit float"
        );
        assert_eq!(error, expected);
    }
    let refused = |rows, cols| {
        BlockMatrix::from_rows(rows, cols, BlockFormat::Int8, Kernel::SCALAR, |_, _| {})
    };
    for cols in [0, 33] {
        let error = refused(2, cols).unwrap_err();
        assert_eq!(error, Error::BlockCols { cols });
    }
    let (rows, cols) = (1 << (usize::BITS - 4), 32);
    assert_eq!(
        refused(rows, cols).unwrap_err(),
        Error::TooLarge { rows, cols }
    );
}

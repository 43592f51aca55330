//! The CPU kernels of `bitnet-kernels` against what this machine allows.
//!
//! `cargo bench --workspace --bench kernels [-- THREADS]`. A time alone says little, least of all on a machine that
//! others use too: its memory bandwidth may double from one second to the next. Every line is therefore a ratio of two
//! things measured in turns, a few dozen times each, and shows the median of those ratios: a product against reading
//! its weights, against the peak of the dot product, which only lookups can pass, or against another product. (divan
//! and criterion time one function at a time.)

use std::{hint::black_box, ops::Range};

use bitnet_benches::{in_turns, noise};
use bitnet_kernels::{
    BLOCK, BlockFormat, BlockMatrix, BlockRows, DenseFormat, DenseMatrix, DenseRows, Granularity,
    Kernel, Layout, PackedTernary, PrepackedTernary, QuantizedRows, Strategy, WeightQuantizer,
    float::{self, Matrix},
    pack_weights, probe, quantize_activations, weight_scales, words_per_row,
};

/// A layer of the 0.7 B shape, and as many as make a model that no cache holds.
const LAYER: (usize, usize) = (4096, 1536);
const LAYERS: usize = 100;

/// The wide product of the 2 B shape.
const WIDE: (usize, usize, usize) = (512, 6912, 2560);

fn main() {
    let threads = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(2);
    // The f32 products run on rayon's threads.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
    pool.expect("nothing has used the pool yet");
    println!("{} on {threads} threads", Kernel::detect());
    gemv_from_memory(threads);
    gemv_from_cache();
    strategies();
    heads(threads);
    blocks_from_memory(threads);
    gemm(threads);
    blocks_of_many_rows(threads);
    quantisers();
}

fn each_thread(threads: usize, work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for thread in 1..threads {
            let work = &work;
            scope.spawn(move || work(thread));
        }
        work(0);
    });
}

fn part(len: usize, index: usize, parts: usize) -> Range<usize> {
    len * index / parts..len * (index + 1) / parts
}

fn packed(rows: usize, cols: usize) -> PackedTernary {
    let w = noise(rows * cols);
    PackedTernary::from_latent(
        &w,
        rows,
        cols,
        WeightQuantizer::AbsMean,
        Granularity::Tensor,
    )
    .expect("finite weights")
}

fn prepacked(packed: &PackedTernary, layout: Layout, kernel: Kernel) -> PrepackedTernary {
    by(packed, layout, kernel, Strategy::Dot)
}

fn by(
    packed: &PackedTernary,
    layout: Layout,
    kernel: Kernel,
    strategy: Strategy,
) -> PrepackedTernary {
    PrepackedTernary::new(packed.view(), layout, kernel, strategy).expect("an available kernel")
}

fn gemv(w: &PrepackedTernary, x: &QuantizedRows, groups: Range<usize>, out: &mut [f32]) {
    let columns = w.group_rows(&groups).len();
    w.product(x, 0..1, groups, &mut out[..columns], columns);
}

fn gemv_from_memory(threads: usize) {
    let (rows, cols) = LAYER;
    println!("\nGEMV of {LAYERS} matrices {rows} x {cols}, from memory");
    let source = packed(rows, cols);
    let x = noise(cols);
    for layout in Layout::ALL {
        for kernel in Kernel::available() {
            if kernel == Kernel::SCALAR {
                continue;
            }
            let model: Vec<_> = (0..LAYERS)
                .map(|_| prepacked(&source, layout, kernel))
                .collect();
            let mut codes = QuantizedRows::new();
            codes.quantize(kernel, layout, &x, cols);
            let groups = model[0].groups();
            let (read, product, ratio) = in_turns(
                || {
                    each_thread(threads, |t| {
                        model
                            .iter()
                            .for_each(|w| probe::read(w.stored(part(groups, t, threads))));
                    });
                },
                || {
                    each_thread(threads, |t| {
                        let mut out = vec![0.0; rows];
                        for w in &model {
                            gemv(w, &codes, part(groups, t, threads), &mut out);
                        }
                        black_box(&out);
                    });
                },
            );
            let bytes = (LAYERS * model[0].bytes()) as f64;
            println!(
                "  {:<12} {:<13} {:5.1} GB/s of {:5.1}: {:3.0} %  {:6.1} Gweight/s",
                layout.name(),
                kernel.name(),
                bytes / product / 1e9,
                bytes / read / 1e9,
                100.0 / ratio,
                (LAYERS * rows * cols) as f64 / product / 1e9
            );
        }
    }
    let kernel = Kernel::detect();
    let models = Layout::ALL.map(|layout| {
        let model: Vec<_> = (0..LAYERS)
            .map(|_| prepacked(&source, layout, kernel))
            .collect();
        let mut codes = QuantizedRows::new();
        codes.quantize(kernel, layout, &x, cols);
        (model, codes)
    });
    let pass = |(model, codes): &(Vec<PrepackedTernary>, QuantizedRows)| {
        each_thread(threads, |t| {
            let mut out = vec![0.0; rows];
            for w in model {
                gemv(w, codes, part(w.groups(), t, threads), &mut out);
            }
            black_box(&out);
        });
    };
    let (.., ratio) = in_turns(|| pass(&models[0]), || pass(&models[1]));
    println!("  base-three takes {ratio:.2}x the time of two-bit");
}

fn gemv_from_cache() {
    let (rows, cols) = LAYER;
    println!("\nGEMV {rows} x {cols}, from the cache, one thread, against the dot-product peak");
    let source = packed(rows, cols);
    for kernel in Kernel::available() {
        let Some(peak) = probe::dot_peak(kernel, 1) else {
            continue;
        };
        // One row meets no tiles.
        if kernel.name() == "amx" {
            continue;
        }
        for layout in Layout::ALL {
            let w = prepacked(&source, layout, kernel);
            let mut codes = QuantizedRows::new();
            codes.quantize(kernel, layout, &noise(cols), cols);
            let mut out = vec![0.0; rows];
            let mut again = out.clone();
            let (seconds, ..) = in_turns(
                || gemv(&w, &codes, 0..w.groups(), &mut out),
                || gemv(&w, &codes, 0..w.groups(), &mut again),
            );
            let rate = (rows * cols) as f64 / seconds;
            println!(
                "  {:<12} {:<13} {:6.1} Gweight/s, {:3.0} % of {:.0}",
                layout.name(),
                kernel.name(),
                rate / 1e9,
                100.0 * rate / peak,
                peak / 1e9
            );
        }
    }
}

/// Dot products, tables beside them, and additions and subtractions alone: the same sums.
fn strategies() {
    let ((rows, cols), many) = (LAYER, 64);
    println!("\nStrategies, {rows} x {cols}, from the cache, one thread, against dot products");
    let (source, x) = (packed(rows, cols), noise(many * cols));
    let kernel = Kernel::detect();
    for layout in Layout::ALL {
        let dot = prepacked(&source, layout, kernel);
        let mut codes = QuantizedRows::new();
        codes.quantize(kernel, layout, &x, cols);
        for strategy in Strategy::ALL {
            if let Err(error) = strategy.require(kernel) {
                println!("  {layout:<12} {error}");
                continue;
            }
            let w = by(&source, layout, kernel, strategy);
            for m in [1, many] {
                let (mut a, mut b) = (vec![0; m * rows], vec![0; m * rows]);
                let (_, seconds, ratio) = in_turns(
                    || dot.sums(&codes, 0..m, 0..w.groups(), &mut a, rows),
                    || w.sums(&codes, 0..m, 0..w.groups(), &mut b, rows),
                );
                assert_eq!(a, b);
                println!(
                    "  {layout:<12} {strategy:<8} {m:3} rows  {:6.1} GMAC/s, {ratio:.2}x the time",
                    (m * rows * cols) as f64 / seconds / 1e9
                );
            }
        }
    }
}

fn heads(threads: usize) {
    let (rows, cols) = (32_000, 1536);
    println!("\nHead {rows} x {cols}, one token");
    let (w, x) = (noise(rows * cols), noise(cols));
    for format in DenseFormat::ALL {
        let w = DenseMatrix::new(&w, rows, cols, format, Kernel::detect());
        let mut input = DenseRows::default();
        input.set(format, &x, cols);
        let groups = w.groups();
        let (read, product, ratio) = in_turns(
            || each_thread(threads, |t| probe::read(w.stored(part(groups, t, threads)))),
            || {
                each_thread(threads, |t| {
                    let groups = part(groups, t, threads);
                    let mut out = vec![0.0; 16 * groups.len()];
                    let stride = out.len();
                    w.product(&input, 0..1, groups, &mut out, stride);
                    black_box(&out);
                });
            },
        );
        let bytes = w.bytes() as f64;
        println!(
            "  {:<12} {:6.0} µs  {:5.1} GB/s of {:5.1}: {:3.0} %",
            format.name(),
            1e6 * product,
            bytes / product / 1e9,
            bytes / read / 1e9,
            100.0 / ratio
        );
    }
}

/// Blocks of codes that are no pattern, with scales of which products stay small.
fn in_blocks(rows: usize, cols: usize, format: BlockFormat, kernel: Kernel) -> BlockMatrix {
    let (lowest, highest) = format.codes();
    let span = i32::from(highest) - i32::from(lowest) + 1;
    let matrix = BlockMatrix::from_rows(rows, cols, format, kernel, |row, to| {
        for (col, code) in to.codes.iter_mut().enumerate() {
            let mixed = ((row * cols + col) as u32).wrapping_mul(0x9e37_79b9) >> 8;
            *code = (i32::from(lowest) + mixed as i32 % span) as i8;
        }
        to.scales.fill(1.0 / 1024.0);
        to.minimums.fill(-1.0 / 128.0);
    });
    matrix.expect("codes of the format")
}

fn blocks_from_memory(threads: usize) {
    let (rows, cols) = LAYER;
    let matrices = LAYERS / 4;
    println!("\nBlocks of {BLOCK}, GEMV of {matrices} matrices {rows} x {cols}, from memory");
    let x = noise(cols);
    for format in BlockFormat::ALL {
        for kernel in Kernel::available() {
            if kernel == Kernel::SCALAR {
                continue;
            }
            let model: Vec<_> = (0..matrices)
                .map(|_| in_blocks(rows, cols, format, kernel))
                .collect();
            let mut input = BlockRows::default();
            input.set(kernel, &x, cols);
            let groups = model[0].groups();
            let (read, product, ratio) = in_turns(
                || {
                    each_thread(threads, |t| {
                        model
                            .iter()
                            .for_each(|w| probe::read(w.stored(part(groups, t, threads))));
                    });
                },
                || {
                    each_thread(threads, |t| {
                        let groups = part(groups, t, threads);
                        let mut out = vec![0.0; 16 * groups.len()];
                        let stride = out.len();
                        for w in &model {
                            w.product(&input, 0..1, groups.clone(), &mut out, stride);
                        }
                        black_box(&out);
                    });
                },
            );
            let bytes = (matrices * model[0].bytes()) as f64;
            println!(
                "  {:<12} {:<13} {:5.1} GB/s of {:5.1}: {:3.0} %  {:6.1} Gweight/s",
                format.name(),
                kernel.name(),
                bytes / product / 1e9,
                bytes / read / 1e9,
                100.0 / ratio,
                (matrices * rows * cols) as f64 / product / 1e9
            );
        }
    }
}

/// Calls `product(rows, out)` on threads, each with its part of `m` rows.
fn by_rows(
    threads: usize,
    (m, n): (usize, usize),
    out: &mut [f32],
    product: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    std::thread::scope(|scope| {
        let mut rest = out;
        for thread in 0..threads {
            let rows = part(m, thread, threads);
            let (mine, others) = rest.split_at_mut(rows.len() * n);
            rest = others;
            let product = &product;
            scope.spawn(move || product(rows, mine));
        }
    });
}

/// As the engine does it: blocks of 128 rows of a prompt, quantised and multiplied by one thread.
fn blocks_of_many_rows(threads: usize) {
    let ((n, k), m) = (LAYER, 256);
    println!(
        "\nBlocks of {BLOCK}, {m} x {n} x {k}, with the quantiser, against the dense product in f32"
    );
    let (x, w, macs) = (noise(m * k), noise(n * k), (m * n * k) as f64);
    for kernel in Kernel::available() {
        if kernel == Kernel::SCALAR {
            continue;
        }
        let dense = DenseMatrix::new(&w, n, k, DenseFormat::F32, kernel);
        for format in BlockFormat::ALL {
            let blocks = in_blocks(n, k, format, kernel);
            let (mut a, mut b) = (vec![0.0; m * n], vec![0.0; m * n]);
            let (seconds, _, ratio) = in_turns(
                || {
                    by_rows(threads, (m, n), &mut a, |rows, out| {
                        let mut input = BlockRows::default();
                        input.set(kernel, &x[rows.start * k..rows.end * k], k);
                        blocks.product(&input, 0..rows.len(), 0..blocks.groups(), out, n);
                    });
                },
                || {
                    by_rows(threads, (m, n), &mut b, |rows, out| {
                        let mut input = DenseRows::default();
                        input.set(DenseFormat::F32, &x[rows.start * k..rows.end * k], k);
                        dense.product(&input, 0..rows.len(), 0..dense.groups(), out, n);
                    });
                },
            );
            black_box((&a, &b));
            println!(
                "  {:<12} {:<13} {:6.1} GMAC/s, {ratio:.2}x f32",
                format.name(),
                kernel.name(),
                macs / seconds / 1e9
            );
        }
    }
}

fn gemm(threads: usize) {
    let (m, n, k) = WIDE;
    println!("\nGEMM {m} x {n} x {k}; f32 is the `gemm` crate on the same threads");
    let (wide, w, x) = (packed(n, k), noise(n * k), noise(m * k));
    let macs = (m * n * k) as f64;
    if let Some(peak) = probe::fma_peak(threads) {
        let mut kept = Vec::new();
        let (seconds, ..) = in_turns(|| kept = f32_product(&x, m, &w, n, k), || ());
        let rate = macs / seconds;
        println!(
            "  f32                      {:6.1} GMAC/s, {:3.0} % of {:.0}",
            rate / 1e9,
            100.0 * rate / peak,
            peak / 1e9
        );
    }
    for kernel in Kernel::available() {
        let Some(peak) = probe::dot_peak(kernel, threads) else {
            continue;
        };
        for (layout, strategy) in Layout::ALL
            .into_iter()
            .flat_map(|l| [(l, Strategy::Dot), (l, Strategy::Lookup)])
        {
            if strategy.require(kernel).is_err() {
                continue;
            }
            let prepacked = by(&wide, layout, kernel, strategy);
            let mut codes = QuantizedRows::new();
            codes.quantize(kernel, layout, &x, k);
            let (mut out, mut kept) = (vec![0.0; m * n], Vec::new());
            let (seconds, _, ratio) = in_turns(
                || {
                    by_rows(threads, (m, n), &mut out, |rows, out| {
                        prepacked.product(&codes, rows, 0..prepacked.groups(), out, n);
                    });
                },
                || kept = f32_product(&x, m, &w, n, k),
            );
            black_box((&out, &kept));
            let rate = macs / seconds;
            println!(
                "  {:<12} {:<13} {:<7} {:6.1} GMAC/s, {:3.0} % of {:.0}, {ratio:.1}x f32",
                layout.name(),
                kernel.name(),
                strategy.name(),
                rate / 1e9,
                100.0 * rate / peak,
                peak / 1e9
            );
        }
    }
}

fn f32_product(x: &[f32], m: usize, w: &[f32], n: usize, k: usize) -> Vec<f32> {
    float::matmul(Matrix::new(x, m, k), Matrix::new(w, n, k).t())
}

fn quantisers() {
    let (n, k) = LAYER;
    println!("\nQuantisers");
    let w = noise(n * k);
    let mut scales = [0.0];
    let mut words = vec![0; n * words_per_row(k)];
    let (scale, pack, _) = in_turns(
        || {
            scales.copy_from_slice(&weight_scales(
                &w,
                n,
                k,
                WeightQuantizer::AbsMean,
                Granularity::Tensor,
            ))
        },
        || pack_weights(&w, n, k, &[2.0], Granularity::Tensor, &mut words),
    );
    black_box((&scales, &words));
    println!(
        "  weights {n} x {k}: absmean {:.0} µs, codes {:.0} µs",
        1e6 * scale,
        1e6 * pack
    );
    for k in [1536, 6912] {
        let (x, gamma) = (noise(k), vec![1.0; k]);
        let (kernel, layout) = (
            Kernel::detect(),
            Layout::suited_to(Kernel::detect(), Granularity::Tensor),
        );
        let (mut fused, mut apart) = (QuantizedRows::new(), QuantizedRows::new());
        let (one, two, ratio) = in_turns(
            || fused.norm_quantize(kernel, layout, &x, &gamma, 1e-5),
            || {
                let (normed, _) = float::rms_norm(&x, &gamma, 1e-5);
                apart.quantize(kernel, layout, &normed, k);
            },
        );
        println!(
            "  RMSNorm and activation codes of {k}: {:.2} µs in one, {:.2} µs apart ({ratio:.2}x)",
            1e6 * one,
            1e6 * two
        );
    }
    let (rows, k) = (512, 2560);
    let x = noise(rows * k);
    let (mut codes, mut scales) = (vec![0; rows * k], vec![0.0; rows]);
    let (seconds, ..) = in_turns(
        || quantize_activations(&x, k, &mut codes, &mut scales),
        || (),
    );
    println!(
        "  activations {rows} x {k}: {:.0} µs, {:.1} elements/ns",
        1e6 * seconds,
        (rows * k) as f64 / seconds / 1e9
    );
}

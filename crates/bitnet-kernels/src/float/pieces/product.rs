//! The loop nest of a product: panels, strips, chunks.

use std::{cell::Cell, mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{
    avx512,
    operand::{Along, Operand},
};
use crate::{
    isa::amx::{Block, Configured, Pair, Passes, SIDE, Start, Tiles, Unit},
    system::parallel::worth_threads,
    system::shared_out::SharedOut,
};

/// Elements of k in a step.
const STEP: usize = 32;

/// Pairs of A in a chunk: 48 KiB, the level-one cache of every processor with tiles.
const CHUNK: usize = 24;

/// Blocks of columns at most that a task multiplies: a chunk of B for them is 512 KiB, a quarter of a level-two cache.
const MOST_COLUMNS: usize = 32;

/// Blocks of results at most that wait in the level-two cache while chunks pass: 512 KiB.
const MOST_BLOCKS: usize = 128;

/// Multiply-adds below which a product stays on the calling thread: some 40 µs of three passes.
const MIN_MACS: usize = 1 << 24;

/// The shortest side of a product on tiles.
const MIN_SIDE: usize = 16;

/// Bytes of packed B that a thread keeps between calls.
const KEEP_SCRATCH: usize = 16 << 20;

/// Whether tiles pay for `[m, k] · [k, n]`: below, most of each tile would be padding.
pub(in crate::float) fn worth_tiles(m: usize, k: usize, n: usize) -> bool {
    m.min(k).min(n) >= MIN_SIDE
}

/// What packs operands and multiplies panels: the processor's tiles, or their model in tests.
pub(in crate::float) trait Machine: Copy + Sync {
    /// Multiplies panels on one thread.
    type Unit: Unit;

    /// A unit for the calling thread.
    fn unit(self) -> Self::Unit;

    /// Packs 32 outer indices from `outer` on and the given steps into `panel`, in the form of A ([`Along::Depth`]) or of B.
    fn pack(
        self,
        x: &impl Operand,
        form: Along,
        outer: usize,
        steps: Range<usize>,
        panel: &mut [Pair],
    );
}

/// The proof that the processor has tiles, and AVX-512 F, BW and VL to pack them.
#[derive(Clone, Copy, Debug)]
pub(in crate::float) struct Tiled(Tiles);

impl Tiled {
    /// The processor's tiles, if this process may use them, or why not.
    pub fn get() -> Result<Tiled, &'static str> {
        let tiles = Tiles::get().map_err(|refusal| refusal.reason())?;
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        if avx512 {
            Ok(Tiled(tiles))
        } else {
            Err("the processor reports AMX without AVX-512")
        }
    }
}

impl Machine for Tiled {
    type Unit = Configured;

    fn unit(self) -> Configured {
        self.0.configure()
    }

    fn pack(
        self,
        x: &impl Operand,
        form: Along,
        outer: usize,
        steps: Range<usize>,
        panel: &mut [Pair],
    ) {
        for (step, pairs) in steps.zip(panel.chunks_exact_mut(x.pieces())) {
            for half in 0..2 {
                x.fill(self, outer + 16 * half, STEP * step, half, pairs);
                if x.along() != form {
                    for Pair(tiles) in &mut *pairs {
                        // SAFETY: `Tiled` proves AVX-512 F.
                        unsafe { avx512::transpose(&mut tiles[half]) };
                    }
                }
            }
        }
    }
}

/// What a task needs: the chunk of A and the results of its strip.
#[derive(Default)]
struct Workspace {
    chunk: Vec<Pair>,
    sums: Vec<Block<f32>>,
}

thread_local! {
    /// Packed B of the thread that asked for the product.
    static PANELS: Cell<Vec<Pair>> = const { Cell::new(Vec::new()) };
    /// Of each thread that takes tasks.
    static WORKSPACE: Cell<Workspace> = const { Cell::new(Workspace { chunk: Vec::new(), sums: Vec::new() }) };
}

/// `out[i, j] = scale · Σ_k a[i, k] · b[k, j]`, row-major, on rayon's threads if it is large.
///
/// # Panics
///
/// If the depths differ, or the pieces are not those of `passes`.
pub(in crate::float) fn product(
    machine: impl Machine,
    passes: Passes,
    a: &impl Operand,
    b: &impl Operand,
    scale: f32,
) -> Vec<f32> {
    let (rows, cols, depth) = (a.outer(), b.outer(), a.depth());
    assert_eq!(depth, b.depth(), "the inner dimensions differ");
    assert_eq!(
        passes.pieces(),
        (a.pieces(), b.pieces()),
        "pieces of {passes:?}"
    );
    a.check();
    b.check();
    let len = rows * cols;
    if depth == 0 {
        return vec![0.0; len];
    }
    let mut out: Vec<f32> = Vec::with_capacity(len);
    let threads = worth_threads(len.saturating_mul(depth), MIN_MACS);
    let mut packed = PANELS.take();
    let panels = pack_columns(machine, b, threads, &mut packed);
    let job = Job {
        machine,
        passes,
        a,
        panels,
        cols,
        scale,
    };
    let (strips, blocks) = (rows.div_ceil(SIDE), cols.div_ceil(SIDE));
    // Several strips a task, so that they share B on its way through the caches; but two tasks a thread.
    let tasks = if threads {
        2 * rayon::current_num_threads()
    } else {
        1
    };
    let wide = blocks
        .div_ceil(tasks.div_ceil(strips.max(1)))
        .clamp(1, MOST_COLUMNS);
    let tall = (strips * blocks.div_ceil(wide) / tasks).clamp(1, MOST_BLOCKS / wide);
    let shared = SharedOut::new(&mut out.spare_capacity_mut()[..len], rows, cols);
    let across = blocks.div_ceil(wide);
    let run = |task: usize| {
        let (strip, block) = (task / across * tall, task % across * wide);
        let strips = strip..(strip + tall).min(strips);
        job.run(strips, block..(block + wide).min(blocks), &shared);
    };
    let tasks = strips.div_ceil(tall) * across;
    if threads {
        (0..tasks).into_par_iter().for_each(run);
    } else {
        (0..tasks).for_each(run);
    }
    if packed.capacity() * size_of::<Pair>() <= KEEP_SCRATCH {
        PANELS.set(packed);
    }
    // SAFETY: the tasks cover all strips and blocks, and `Job::run` writes all elements of its own.
    unsafe { out.set_len(len) };
    out
}

/// B as panels of 32 columns.
fn pack_columns<'a>(
    machine: impl Machine,
    b: &impl Operand,
    threads: bool,
    pairs: &'a mut Vec<Pair>,
) -> &'a [Pair] {
    let (blocks, steps) = (b.outer().div_ceil(SIDE), b.depth().div_ceil(STEP));
    let each = steps * b.pieces();
    if pairs.len() < blocks * each {
        pairs.resize(blocks * each, Pair::ZERO);
    }
    let pairs = &mut pairs[..blocks * each];
    let pack = |(block, panel): (usize, &mut [Pair])| {
        machine.pack(b, Along::Outer, SIDE * block, 0..steps, panel);
    };
    match threads {
        true => pairs.par_chunks_exact_mut(each).enumerate().for_each(pack),
        false => pairs.chunks_exact_mut(each).enumerate().for_each(pack),
    }
    pairs
}

/// What the tasks of a product share.
struct Job<'a, M, A> {
    machine: M,
    passes: Passes,
    a: &'a A,
    panels: &'a [Pair],
    cols: usize,
    scale: f32,
}

impl<M: Machine, A: Operand> Job<'_, M, A> {
    /// Computes strips of 32 rows by blocks of 32 columns.
    fn run(
        &self,
        strips: Range<usize>,
        blocks: Range<usize>,
        out: &SharedOut<'_, MaybeUninit<f32>>,
    ) {
        let mut workspace = WORKSPACE.take();
        let count = strips.len() * blocks.len();
        if workspace.sums.len() < count {
            workspace.sums.resize(count, Block::zero());
        }
        workspace.chunk.resize(CHUNK, Pair::ZERO);
        let sums = &mut workspace.sums[..count];
        self.sum(strips.clone(), blocks.clone(), &mut workspace.chunk, sums);
        let places = strips.flat_map(|strip| blocks.clone().map(move |block| (strip, block)));
        for ((strip, block), Block(sums)) in places.zip(sums) {
            let rows = SIDE * strip..(SIDE * (strip + 1)).min(self.a.outer());
            let columns = SIDE * block..(SIDE * (block + 1)).min(self.cols);
            // SAFETY: this task alone has the strip's rows and the block's columns.
            let mut out = unsafe { out.rectangle(rows, columns) };
            for (row, sums) in (0..out.rows()).zip(sums) {
                for (out, sum) in out.row(row).iter_mut().zip(sums) {
                    out.write(*sum * self.scale);
                }
            }
        }
        WORKSPACE.set(workspace);
    }

    /// The sums of all blocks, strip after strip, chunk by chunk of k.
    fn sum(
        &self,
        strips: Range<usize>,
        blocks: Range<usize>,
        chunk: &mut [Pair],
        sums: &mut [Block<f32>],
    ) {
        let (of_a, of_b) = self.passes.pieces();
        let (steps, most) = (self.a.depth().div_ceil(STEP), CHUNK / of_a);
        let unit = self.machine.unit();
        for first in (0..steps).step_by(most) {
            let span = first..(first + most).min(steps);
            let start = if first == 0 { Start::Zero } else { Start::Add };
            let a = &mut chunk[..span.len() * of_a];
            for (strip, sums) in strips.clone().zip(sums.chunks_exact_mut(blocks.len())) {
                let machine = self.machine;
                machine.pack(self.a, Along::Depth, SIDE * strip, span.clone(), a);
                for (block, sums) in blocks.clone().zip(sums) {
                    let panel = &self.panels[block * steps * of_b..][..steps * of_b];
                    let b = &panel[span.start * of_b..span.end * of_b];
                    unit.bf16_pieces(self.passes, a, b, start, sums);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

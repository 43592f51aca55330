//! Activations in the order in which the products read them.
//!
//! Byte `b` of a packed row holds the elements `4b .. 4b+4`. `(bytes >> 2i) & 3` therefore yields, for 32 bytes at
//! once, the elements `4b + i`: every fourth one. Instead of shuffling the weights (read N times) back in order, the
//! activations are split once, O(K) work per row against O(N·K) for the product: chunk `c` of a row covers the
//! elements `128c .. 128c+128`, and its plane `i` holds `x[128c + 4b + i]` for `b` in `0..32`.
//!
//! Past the end of a row the planes hold 0, so padding contributes 0 whatever the words store there. Stored weights are
//! `w + 1`, so the sum over stored values is too large by exactly `Σ x`, which is kept for each row.

use rayon::prelude::*;

use crate::{
    Kernel,
    isa::dispatch,
    system::parallel::{MIN_ELEMENTS, TASK_ELEMENTS, worth_threads},
};

/// 128 activations in four planes; a plane is one 256-bit register.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Chunk(pub(crate) [[i8; 32]; 4]);

impl Chunk {
    /// Elements of a chunk.
    pub(crate) const LEN: usize = 128;
    /// A chunk of zeros.
    pub(crate) const ZERO: Chunk = Chunk([[0; 32]; 4]);
}

/// The codes `x_q[m, k]` split in planes, and `Σ_k x_q` of each row.
#[derive(Default)]
pub(crate) struct Planes {
    chunks: Vec<Chunk>,
    sums: Vec<i32>,
    chunks_per_row: usize,
}

impl Planes {
    /// Splits `codes[m, k]`, reusing the memory of the last call.
    pub(crate) fn fill(&mut self, kernel: Kernel, codes: &[i8], m: usize, k: usize) {
        self.chunks_per_row = k.div_ceil(Chunk::LEN);
        self.chunks.resize(m * self.chunks_per_row, Chunk::ZERO);
        self.sums.resize(m, 0);
        if k == 0 {
            self.sums.fill(0);
            return;
        }
        let per_row = self.chunks_per_row;
        let run = |codes: &[i8], chunks: &mut [Chunk], sums: &mut [i32]| {
            for ((codes, chunks), sum) in codes
                .chunks_exact(k)
                .zip(chunks.chunks_exact_mut(per_row))
                .zip(sums)
            {
                *sum = dispatch!(kernel, split_row(codes, chunks));
            }
        };
        if worth_threads(codes.len(), MIN_ELEMENTS) {
            let group = (TASK_ELEMENTS / k).max(1);
            codes
                .par_chunks(group * k)
                .zip(self.chunks.par_chunks_mut(group * per_row))
                .zip(self.sums.par_chunks_mut(group))
                .for_each(|((codes, chunks), sums)| run(codes, chunks, sums));
        } else {
            run(codes, &mut self.chunks, &mut self.sums);
        }
    }

    /// Rows of `x`.
    pub(crate) fn rows(&self) -> usize {
        self.sums.len()
    }

    /// The chunks of row `m`.
    #[inline]
    pub(crate) fn row(&self, m: usize) -> &[Chunk] {
        &self.chunks[m * self.chunks_per_row..][..self.chunks_per_row]
    }

    /// `Σ_k x_q[m, k]`.
    #[inline]
    pub(crate) fn sum(&self, m: usize) -> i32 {
        self.sums[m]
    }

    /// Bytes held.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>() + self.sums.capacity() * size_of::<i32>()
    }
}

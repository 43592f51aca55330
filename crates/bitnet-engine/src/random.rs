//! Random weights of any shape, for measurements: speed does not depend on what the weights are.

use bitnet_kernels::{Granularity, PackedTernary, TernaryWord, words_per_row};

use crate::{LayerWeights, LinearWeights, Shape, Source, SourceError, Table, Weights};

/// A [`Source`] of random weights; the same seed gives the same ones.
///
/// Ternary codes are drawn as packed words (half of them 0, the rest evenly −1 and 1) and never exist as floats, so a
/// model takes no more memory than it needs. Scales and floats are such that activations keep their size.
#[derive(Clone, Debug)]
pub struct RandomWeights {
    /// The shape.
    pub shape: Shape,
    /// Ternary linear layers, with scales of this granularity, or float ones.
    pub ternary: Option<Granularity>,
    /// Seed.
    pub seed: u64,
}

/// Steps of Weyl's sequence through a good mixer (splitmix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Even over (−`size`, `size`).
    fn float(&mut self, size: f32) -> f32 {
        ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0) * size
    }

    fn fill(&mut self, out: &mut [f32], size: f32) {
        out.iter_mut().for_each(|value| *value = self.float(size));
    }
}

impl RandomWeights {
    fn rng(&self, stream: usize) -> Rng {
        Rng(self.seed ^ (stream as u64).wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    fn linear(&self, rng: &mut Rng, rows: usize, cols: usize) -> LinearWeights {
        let norm = (self.shape.norms.inside).then(|| vec![1.0; cols]);
        let size = (3.0 / cols as f32).sqrt();
        let Some(granularity) = self.ternary else {
            let mut values = vec![0.0; rows * cols];
            rng.fill(&mut values, size);
            let weights = Weights::Float { values, rows, cols };
            return LinearWeights { weights, norm };
        };
        let words = words_per_row(cols);
        let mut codes = vec![0; rows * words];
        for row in codes.chunks_exact_mut(words.max(1)) {
            for (index, word) in row.iter_mut().enumerate() {
                let used = cols - TernaryWord::WEIGHTS * index;
                *word = TernaryWord::random(rng.next()).padded(used).0;
            }
        }
        let scale = (cols as f32 / 2.0).sqrt();
        let count = granularity.scales(rows, cols);
        // The matrix's own scale, and between that and twice it those of rows and groups.
        let scales = (0..count)
            .map(|index| scale * (1.0 + index as f32 / count as f32))
            .collect();
        let packed = PackedTernary::from_words(codes, scales, granularity, rows, cols)
            .expect("random words are legal and padded");
        LinearWeights {
            weights: Weights::Ternary(packed),
            norm,
        }
    }
}

impl Source for RandomWeights {
    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        let (stream, size) = match table {
            Table::Embedding => (2 * token, 1.0),
            Table::Head => (2 * token + 1, (3.0 / out.len() as f32).sqrt()),
        };
        self.rng(stream).fill(out, size);
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        let shape = &self.shape;
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let (queries, keys) = (shape.query_width(), shape.kv_width());
        let mut rng = self.rng(2 * shape.vocab_size + index);
        let ones = |width: usize| vec![1.0; width];
        let before = shape.norms.block;
        let sub = shape.norms.sub;
        let mut linear = |rows, cols| self.linear(&mut rng, rows, cols);
        Ok(LayerWeights {
            input_layernorm: before.then(|| ones(hidden)),
            q_proj: linear(queries, hidden),
            k_proj: linear(keys, hidden),
            v_proj: linear(keys, hidden),
            q_norm: shape.qk_norm.then(|| ones(shape.head_dim)),
            k_norm: shape.qk_norm.then(|| ones(shape.head_dim)),
            attn_sub_norm: sub.then(|| ones(queries)),
            o_proj: linear(hidden, queries),
            post_attention_layernorm: before.then(|| ones(hidden)),
            gate_proj: linear(inner, hidden),
            up_proj: linear(inner, hidden),
            ffn_sub_norm: sub.then(|| ones(inner)),
            down_proj: linear(hidden, inner),
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        Ok(vec![1.0; self.shape.hidden_size])
    }
}

//! The frequencies of rotary position embedding, and how they are changed for longer contexts.
//!
//! Columns `i` and `i + d/2` of a head turn by `p · f_i` at position `p`, with `f_i = θ^(−2i/d)` (arXiv 2104.09864). A
//! scaling replaces the frequencies, and YaRN multiplies cosines and sines by a factor besides. The formulas are those of
//! transformers' `modeling_rope_utils.py`, computed in f64.

use std::f64::consts::TAU;

/// A change of RoPE's frequencies, in the keys of transformers' `rope_parameters`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(tag = "rope_type", rename_all = "lowercase", deny_unknown_fields)
)]
pub enum RopeScaling {
    /// Positions divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between them.
    Llama3 {
        /// The factor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context of the first training.
        original_max_position_embeddings: usize,
    },
    /// YaRN (arXiv 2309.00071).
    Yarn {
        /// The factor of low frequencies.
        factor: f64,
        /// The context of the first training.
        original_max_position_embeddings: usize,
        /// What cosines and sines are multiplied by, `0.1 ln(factor) + 1` if the file does not say it.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        attention_factor: Option<f64>,
        /// Rotations above which frequencies are kept.
        beta_fast: f64,
        /// Rotations below which they are divided.
        beta_slow: f64,
    },
    /// Each frequency divided by a number of its own (GGUF's `rope_freqs`), one for each pair of a head.
    Factors {
        /// `[head_dim / 2]`.
        factors: Vec<f32>,
    },
}

/// Frequencies `[head_dim / 2]` in radians a position, and what cosines and sines are multiplied by.
///
/// # Panics
/// If [`RopeScaling::Factors`] holds fewer numbers than there are frequencies.
pub fn rope_frequencies(
    theta: f64,
    head_dim: usize,
    scaling: Option<&RopeScaling>,
) -> (Vec<f64>, f64) {
    let mut frequencies: Vec<f64> = (0..head_dim / 2)
        .map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64))
        .collect();
    let mut amplitude = 1.0;
    match scaling {
        None => {}
        Some(RopeScaling::Linear { factor }) => {
            frequencies.iter_mut().for_each(|f| *f /= factor);
        }
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings: original,
        }) => {
            for f in &mut frequencies {
                // How often the pair turns within the first context.
                let turns = *original as f64 * *f / TAU;
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = if turns > *high_freq_factor {
                    1.0
                } else if turns < *low_freq_factor {
                    0.0
                } else {
                    kept
                };
                *f = (1.0 - kept) * *f / factor + kept * *f;
            }
        }
        Some(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings: original,
            attention_factor,
            beta_fast,
            beta_slow,
        }) => {
            // The column that turns so often within the first context.
            let column = |turns: f64| {
                head_dim as f64 * (*original as f64 / (turns * TAU)).ln() / (2.0 * theta.ln())
            };
            let low = column(*beta_fast).floor().max(0.0);
            let high = column(*beta_slow).ceil().min(head_dim as f64 - 1.0);
            let width = if low == high { 0.001 } else { high - low };
            for (i, f) in frequencies.iter_mut().enumerate() {
                let divided = ((i as f64 - low) / width).clamp(0.0, 1.0);
                *f = divided * *f / factor + (1.0 - divided) * *f;
            }
            amplitude = attention_factor.unwrap_or(0.1 * factor.max(1.0).ln() + 1.0);
        }
        Some(RopeScaling::Factors { factors }) => {
            assert!(factors.len() >= frequencies.len(), "a factor for each pair");
            for (f, factor) in frequencies.iter_mut().zip(factors) {
                *f /= f64::from(*factor);
            }
        }
    }
    (frequencies, amplitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of transformers 5.24.0, `ROPE_INIT_FUNCTIONS[rope_type]` for heads of 8 and θ = 10,000.
    #[test]
    fn scalings_are_those_of_transformers() {
        let close = |scaling, expected: [f64; 4], amplitude: f64| {
            let (found, factor) = rope_frequencies(1e4, 8, Some(&scaling));
            for (a, b) in found.iter().zip(expected) {
                assert!((a / b - 1.0).abs() < 1e-6, "{scaling:?}: {found:?}");
            }
            assert!((factor - amplitude).abs() < 1e-12, "{factor}");
        };
        close(
            RopeScaling::Linear { factor: 4.0 },
            [0.25, 0.025, 0.0025, 0.00025],
            1.0,
        );
        let factors = vec![1.0, 2.0, 4.0, 8.0];
        let expected = [1.0, 0.05, 0.0025, 0.000125];
        close(RopeScaling::Factors { factors }, expected, 1.0);
        // 64 positions: wavelengths 6.28 (kept), 62.8 (ramp), 628 and 6,283 (divided).
        let llama3 = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        let ramp = (64.0 / (TAU / 0.1) - 1.0) / 3.0;
        let expected = [1.0, (1.0 - ramp) * 0.0125 + ramp * 0.1, 0.00125, 0.000125];
        close(llama3, expected, 1.0);
        // Column of 32 turns: 0.51, rounded down; of 1 turn: 2.01, rounded up.
        let yarn = RopeScaling::Yarn {
            factor: 4.0,
            original_max_position_embeddings: 650,
            attention_factor: None,
            beta_fast: 32.0,
            beta_slow: 1.0,
        };
        let at = |divided: f64, f: f64| divided * f / 4.0 + (1.0 - divided) * f;
        let expected = [1.0, at(1.0 / 3.0, 0.1), at(2.0 / 3.0, 0.01), 0.00025];
        close(yarn, expected, 0.1 * 4f64.ln() + 1.0);
    }

    #[test]
    fn without_a_scaling_frequencies_are_powers_of_theta() {
        let (frequencies, amplitude) = rope_frequencies(1e4, 4, None);
        assert_eq!((frequencies, amplitude), (vec![1.0, 0.01], 1.0));
    }
}

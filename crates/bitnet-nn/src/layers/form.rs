//! How a layer computes while it trains, beside the plain straight-through form, and the stand-ins that carry gradients.
//!
//! Every form ends in the plain one, [`TrainingForm::default`], which a packed layer computes exactly. In formulas, with the
//! scale `α = 1/s`, the codes `q` and `ŵ = α·q`:
//!
//! | field | forward | backward |
//! |---|---|---|
//! | `lambda` | `w + λ(ŵ − w)`, `x` alike | straight through |
//! | `trust` | – | `∂w = ∂ŵ` where `|ŵ − w| ≤ trust · α`, else 0 (QuEST, arXiv 2502.05003, equation 6: ½ of a step) |
//! | `residual` | `y + ε · w x` | of both paths (Arenas: Sherry, arXiv 2601.07892) |
//! | `temperature` | `ŵ = α · Σ_c c · softmax_c(−(w/α − c)² / τ)`, c = −1, 0, 1 | exact, not straight-through (Hestia, arXiv 2601.20745) |

use burn::tensor::{Int, Tensor};

use crate::ternary::dequantize_weights;

/// How the weights of a layer stand in training. The form is none of its parameters: whoever trains sets it before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingForm {
    /// Share of the quantised operands, 0 (a float layer) to 1.
    pub lambda: f32,
    /// Half-width of the band around its code in which a weight takes its gradient, in scales; infinity is everywhere.
    pub trust: f32,
    /// Factor of a float product with the latent weights beside the quantised one.
    pub residual: f32,
    /// Temperature of soft codes; 0 rounds.
    pub temperature: f32,
}

impl Default for TrainingForm {
    /// Fully quantised, straight through, nothing beside: what a packed layer computes.
    fn default() -> Self {
        Self {
            lambda: 1.0,
            trust: f32::INFINITY,
            residual: 0.0,
            temperature: 0.0,
        }
    }
}

impl TrainingForm {
    /// Whether the quantised product is one of integers.
    pub(super) fn is_integer(&self) -> bool {
        self.lambda >= 1.0 && self.temperature <= 0.0
    }
}

/// A group of weights with its codes and scales.
pub(super) struct Coded {
    pub start: usize,
    pub len: usize,
    pub words: Tensor<2, Int>,
    pub scales: Tensor<1>,
    /// What is learned of the scales: `α = multiple · α of the estimator`.
    pub multiple: Option<Tensor<1>>,
}

/// `[1]` or `[N]` as a column.
fn column(of: Tensor<1>) -> Tensor<2> {
    of.unsqueeze_dim(1)
}

impl Coded {
    /// `α`, a column; not differentiable.
    fn alpha(&self) -> Tensor<2> {
        column(self.scales.clone()).recip().detach()
    }

    /// `ŵ`; not differentiable.
    pub fn dequantized(&self) -> Tensor<2> {
        dequantize_weights(self.words.clone(), self.scales.clone(), self.len)
    }

    /// `α` as a function of what is learned of it, if anything is.
    fn learned_alpha(&self) -> Tensor<2> {
        match &self.multiple {
            None => self.alpha(),
            Some(multiple) => {
                let estimated = self.alpha() / column(multiple.clone().detach());
                column(multiple.clone()) * estimated
            }
        }
    }

    /// What takes the gradient of `ŵ` in the place of `w`, the group's latent weights; its value means nothing.
    ///
    /// With a learned scale it hands on `∂α = Σ ∂ŵ · (q − w/α)` of the weights within ±α and `Σ ∂ŵ · q` of those beyond,
    /// over the root of their number (LSQ, arXiv 1902.08153, equations 3 and 6), times λ.
    pub fn stand_in(&self, w: Tensor<2>, form: TrainingForm) -> Tensor<2> {
        let TrainingForm { lambda, trust, .. } = form;
        if trust.is_infinite() && self.multiple.is_none() {
            return w;
        }
        let (fixed, alpha, w_hat) = (w.clone().detach(), self.alpha(), self.dequantized());
        let mut stand_in = w;
        if trust.is_finite() {
            let beyond = (w_hat.clone() - fixed.clone()).abs() - alpha.clone() * trust;
            stand_in = stand_in * beyond.lower_equal_elem(0.0).float();
        }
        if self.multiple.is_some() {
            let unit = fixed / alpha.clone();
            let inside = unit.clone().abs().lower_elem(1.0).float();
            let [rows, cols] = w_hat.dims();
            let sharing = rows * cols / self.scales.dims()[0].max(1);
            let share = f64::from(lambda) / (sharing.max(1) as f64).sqrt();
            let slope = (w_hat / alpha - unit * inside).mul_scalar(share);
            stand_in = stand_in + self.learned_alpha() * slope;
        }
        stand_in
    }

    /// Soft codes times the scale, differentiable in the latent weights `w` and in what is learned of the scale.
    pub fn soft(&self, w: Tensor<2>, temperature: f32) -> Tensor<2> {
        let alpha = self.learned_alpha();
        let twice = w / alpha.clone() * 2.0;
        // Relative to the weight of code 0, whose exponent is −v²/τ. e⁴⁰ is all there is beside 1.
        let of = |twice: Tensor<2>| ((twice - 1.0) / temperature).clamp_max(40.0).exp();
        let (plus, minus) = (of(twice.clone()), of(-twice));
        alpha * (plus.clone() - minus.clone()) / (plus + minus + 1.0)
    }
}

//! The float operations around the ternary products, as a second backend extension: RMSNorm, the gated activation,
//! rotary embedding and AdamW.
//!
//! Composed from tensor operations each of them is many passes over memory; on the CPU backends, which fuse nothing and
//! run elementwise operations on one thread, that costs more than the matrix products beside them. Flex and NdArray run
//! the one-pass kernels of [`bitnet_kernels::float`]; every other backend runs the default bodies, which Burn's own
//! fusion compiles into a kernel where it can.

mod autodiff;
mod cpu;
mod tensor;

pub use bitnet_kernels::float::{AdamWStep, Gate};
pub use tensor::{adamw, gated, rms_norm, rotary};

// The extension names NdArray, which Burn deprecates in favour of Flex.
#[allow(deprecated)]
mod ops {
    use bitnet_kernels::float::{AdamWStep, Gate};
    use burn::backend::{Backend, TensorMetadata, backend_extension, tensor::FloatTensor};
    use burn::tensor::{Scalar, Shape, Slice};

    use crate::ops::last;

    /// The float operations of a Transformer block and of its optimiser, on a Burn backend.
    #[backend_extension(
        Flex: cfg(feature = "flex"),
        NdArray: cfg(feature = "ndarray"),
        Cube: cfg(feature = "cube"),
        Autodiff: cfg(feature = "autodiff"),
        Fusion: cfg(feature = "fusion"),
    )]
    pub trait FusedBackend: Backend {
        /// `y = x / √(mean(x²) + ε) · γ` over the last dimension: `x` `[..., K]`, `γ` `[K]`. Differentiable.
        #[fusion(default)]
        fn rms_norm(
            x: FloatTensor<Self>,
            gamma: FloatTensor<Self>,
            epsilon: f32,
        ) -> FloatTensor<Self> {
            Self::rms_norm_forward(x, gamma, epsilon).0
        }

        /// [`rms_norm`](Self::rms_norm) and the inverse root mean squares `[..., 1]`. Not differentiable.
        #[fusion(default)]
        fn rms_norm_forward(
            x: FloatTensor<Self>,
            gamma: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let dim = x.rank() - 1;
            let mean = Self::float_mean_dim(Self::float_mul(x.clone(), x.clone()), dim);
            let r = Self::float_recip(Self::float_sqrt(Self::float_add_scalar(
                mean,
                Scalar::from(epsilon),
            )));
            let gamma = broadcast::<Self>(gamma, x.rank());
            let y = Self::float_mul(Self::float_mul(x, r.clone()), gamma);
            (y, r)
        }

        /// `∂x = r·h − x·r³·mean(h·x)` with `h = ∂y·γ`, and `∂γ = Σ ∂y·x·r`. Not differentiable.
        #[fusion(default)]
        fn rms_norm_backward(
            grad: FloatTensor<Self>,
            x: FloatTensor<Self>,
            gamma: FloatTensor<Self>,
            r: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let (rank, features) = (x.rank(), last(&x.shape()));
            let h = Self::float_mul(grad.clone(), broadcast::<Self>(gamma, rank));
            let pull = Self::float_mean_dim(Self::float_mul(h.clone(), x.clone()), rank - 1);
            let cube = Self::float_mul(Self::float_mul(r.clone(), r.clone()), r.clone());
            let normed = Self::float_mul(x.clone(), r.clone());
            let grad_x = Self::float_sub(
                Self::float_mul(h, r),
                Self::float_mul(x, Self::float_mul(pull, cube)),
            );
            let products = Self::float_mul(grad, normed);
            let rows = products.shape().num_elements() / features.max(1);
            let products = Self::float_reshape(products, Shape::new([rows, features]));
            let sum = Self::float_sum_dim(products, 0);
            (grad_x, Self::float_reshape(sum, Shape::new([features])))
        }

        /// `y = act(gate) · up`, element by element. Differentiable.
        #[fusion(default)]
        fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Gate) -> FloatTensor<Self> {
            Self::float_mul(activated::<Self>(gate, act), up)
        }

        /// `∂gate = ∂y · up · act'(gate)` and `∂up = ∂y · act(gate)`. Not differentiable.
        #[fusion(default)]
        fn gated_backward(
            grad: FloatTensor<Self>,
            gate: FloatTensor<Self>,
            up: FloatTensor<Self>,
            act: Gate,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let grad_up = Self::float_mul(grad.clone(), activated::<Self>(gate.clone(), act));
            let slope = match act {
                // s · (1 + g · (1 − s))
                Gate::Silu => {
                    let s = Self::sigmoid(gate.clone());
                    let rest =
                        Self::float_add_scalar(Self::float_neg(s.clone()), Scalar::from(1f32));
                    let bend =
                        Self::float_add_scalar(Self::float_mul(gate, rest), Scalar::from(1f32));
                    Self::float_mul(s, bend)
                }
                Gate::Relu2 => Self::float_mul_scalar(Self::relu(gate), Scalar::from(2f32)),
            };
            let grad_gate = Self::float_mul(Self::float_mul(grad, up), slope);
            (grad_gate, grad_up)
        }

        /// Rotary embedding, rotate-half: `x` `[batch, time, heads, width]`, `cos` and `sin` `[time, width]`.
        /// `inverse` turns back. Differentiable in `x`.
        #[fusion(default)]
        fn rotary(
            x: FloatTensor<Self>,
            cos: FloatTensor<Self>,
            sin: FloatTensor<Self>,
            inverse: bool,
        ) -> FloatTensor<Self> {
            let shape = x.shape();
            let (time, width) = (shape[1], shape[3]);
            let table = |t| Self::float_reshape(t, Shape::new([1, time, 1, width]));
            let part = |range: core::ops::Range<usize>| {
                let all = |i: usize| Slice::from(0..shape[i]);
                Self::float_slice(x.clone(), &[all(0), all(1), all(2), Slice::from(range)])
            };
            let (first, second) = (part(0..width / 2), part(width / 2..width));
            let turned = if inverse {
                Self::float_cat(vec![second, Self::float_neg(first)], 3)
            } else {
                Self::float_cat(vec![Self::float_neg(second), first], 3)
            };
            Self::float_add(
                Self::float_mul(x, table(cos)),
                Self::float_mul(turned, table(sin)),
            )
        }

        /// One AdamW step: parameter, gradient and both moments in, parameter and moments out. Not differentiable.
        #[fusion(default)]
        fn adamw(
            param: FloatTensor<Self>,
            grad: FloatTensor<Self>,
            moment_1: FloatTensor<Self>,
            moment_2: FloatTensor<Self>,
            step: AdamWStep,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let blend = |old, new, beta: f32| {
                Self::float_add(
                    Self::float_mul_scalar(old, Scalar::from(beta)),
                    Self::float_mul_scalar(new, Scalar::from(1.0 - beta)),
                )
            };
            let m = blend(moment_1, grad.clone(), step.beta1);
            let v = blend(moment_2, Self::float_mul(grad.clone(), grad), step.beta2);
            let rate = step.learning_rate / (1.0 - step.beta1.powi(step.time));
            let correct = 1.0 / (1.0 - step.beta2.powi(step.time));
            let root = Self::float_add_scalar(
                Self::float_sqrt(Self::float_mul_scalar(v.clone(), Scalar::from(correct))),
                Scalar::from(step.epsilon),
            );
            let update =
                Self::float_mul_scalar(Self::float_div(m.clone(), root), Scalar::from(rate));
            let keep = 1.0 - step.learning_rate * step.weight_decay;
            let kept = Self::float_mul_scalar(param, Scalar::from(keep));
            (Self::float_sub(kept, update), m, v)
        }
    }

    fn activated<B: Backend>(gate: FloatTensor<B>, act: Gate) -> FloatTensor<B> {
        match act {
            Gate::Silu => B::float_mul(gate.clone(), B::sigmoid(gate)),
            Gate::Relu2 => {
                let positive = B::relu(gate);
                B::float_mul(positive.clone(), positive)
            }
        }
    }

    /// `[K]` → `[1, ..., K]`.
    fn broadcast<B: Backend>(gamma: FloatTensor<B>, rank: usize) -> FloatTensor<B> {
        let mut shape = Shape::new([1]);
        let features = gamma.shape()[0];
        shape = (1..rank).fold(shape, |mut shape, _| {
            shape.push(1);
            shape
        });
        shape[rank - 1] = features;
        B::float_reshape(gamma, shape)
    }
}
pub use ops::FusedBackend;

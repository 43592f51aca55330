//! Flex and NdArray: the one-pass kernels on their slices. CubeCL runtimes keep the default bodies.
#![cfg_attr(not(any(feature = "flex", feature = "ndarray")), allow(unused_imports))]

use super::FusedBackend;

#[cfg(feature = "cube")]
impl FusedBackend for burn_cubecl::CubeBackend {}

#[cfg(any(feature = "flex", feature = "ndarray"))]
mod slices {
    use bitnet_kernels::float::{self, AdamWStep, Gate};
    use burn::backend::{TensorMetadata, tensor::FloatTensor};

    use super::FusedBackend;
    use crate::backends::cpu::{Slices, as_f32};
    use crate::ops::last;

    impl<B: Slices> FusedBackend for B {
        fn rms_norm_forward(
            x: FloatTensor<Self>,
            gamma: FloatTensor<Self>,
            epsilon: f32,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let shape = x.shape();
            let mut statistics = shape.clone();
            let rank = shape.num_dims();
            statistics[rank - 1] = 1;
            let mut y = vec![0f32; shape.num_elements()];
            let mut r = vec![0f32; statistics.num_elements()];
            B::with_f32(as_f32::<B>(x), |x| {
                B::with_f32(as_f32::<B>(gamma), |gamma| {
                    float::rms_norm(x, gamma, epsilon, &mut y, &mut r);
                });
            });
            (B::own_f32(y, shape), B::own_f32(r, statistics))
        }

        fn rms_norm_backward(
            grad: FloatTensor<Self>,
            x: FloatTensor<Self>,
            gamma: FloatTensor<Self>,
            r: FloatTensor<Self>,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let (shape, gamma_shape) = (x.shape(), gamma.shape());
            let mut grad_x = vec![0f32; shape.num_elements()];
            let mut grad_gamma = vec![0f32; last(&shape)];
            B::with_f32(as_f32::<B>(grad), |grad| {
                B::with_f32(as_f32::<B>(x), |x| {
                    B::with_f32(as_f32::<B>(gamma), |gamma| {
                        B::with_f32(r, |r| {
                            float::rms_norm_backward(
                                grad,
                                x,
                                gamma,
                                r,
                                &mut grad_x,
                                &mut grad_gamma,
                            );
                        });
                    });
                });
            });
            (
                B::own_f32(grad_x, shape),
                B::own_f32(grad_gamma, gamma_shape),
            )
        }

        fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Gate) -> FloatTensor<Self> {
            let shape = gate.shape();
            let mut y = vec![0f32; shape.num_elements()];
            B::with_f32(as_f32::<B>(gate), |gate| {
                B::with_f32(as_f32::<B>(up), |up| float::gated(act, gate, up, &mut y));
            });
            B::own_f32(y, shape)
        }

        fn gated_backward(
            grad: FloatTensor<Self>,
            gate: FloatTensor<Self>,
            up: FloatTensor<Self>,
            act: Gate,
        ) -> (FloatTensor<Self>, FloatTensor<Self>) {
            let shape = gate.shape();
            let mut grad_gate = vec![0f32; shape.num_elements()];
            let mut grad_up = vec![0f32; shape.num_elements()];
            B::with_f32(as_f32::<B>(grad), |grad| {
                B::with_f32(as_f32::<B>(gate), |gate| {
                    B::with_f32(as_f32::<B>(up), |up| {
                        float::gated_backward(act, grad, gate, up, &mut grad_gate, &mut grad_up);
                    });
                });
            });
            (
                B::own_f32(grad_gate, shape.clone()),
                B::own_f32(grad_up, shape),
            )
        }

        fn rotary(
            x: FloatTensor<Self>,
            cos: FloatTensor<Self>,
            sin: FloatTensor<Self>,
            inverse: bool,
        ) -> FloatTensor<Self> {
            let shape = x.shape();
            let mut y = vec![0f32; shape.num_elements()];
            if y.is_empty() {
                return x;
            }
            B::with_f32(as_f32::<B>(x), |x| {
                B::with_f32(as_f32::<B>(cos), |cos| {
                    B::with_f32(as_f32::<B>(sin), |sin| {
                        float::rotary(x, shape[1], shape[2], cos, sin, inverse, &mut y);
                    });
                });
            });
            B::own_f32(y, shape)
        }

        fn adamw(
            param: FloatTensor<Self>,
            grad: FloatTensor<Self>,
            moment_1: FloatTensor<Self>,
            moment_2: FloatTensor<Self>,
            step: AdamWStep,
        ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
            let (mut param, mut m, mut v) = (
                B::exclusive(as_f32::<B>(param)),
                B::exclusive(as_f32::<B>(moment_1)),
                B::exclusive(as_f32::<B>(moment_2)),
            );
            B::with_f32(as_f32::<B>(grad), |grad| {
                float::adamw(
                    step,
                    B::as_mut_f32(&mut param),
                    grad,
                    B::as_mut_f32(&mut m),
                    B::as_mut_f32(&mut v),
                );
            });
            (param, m, v)
        }
    }
}

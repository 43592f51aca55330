//! The float operations against the same formulas composed from Burn's, values and gradients, on every device.
//!
//! Bound: both sides compute in f32 and differ in the order of sums of at most K terms and in one exponential, so by
//! some K·ε of the largest term; values here are of order 1, K ≤ 64: 64 · 1.2e-7 · a small factor < 5e-5.

use crate::common;
use bitnet_nn::float::{
    AdamWStep, Gate, adamw, cached_attention, causal_attention, cross_entropy, divergence,
    embedding, gated, linear, rms_norm, rope, sum_of_squares,
};
use burn::nn::RmsNormConfig;
use burn::tensor::{Bool, DType, Device, FloatDType, Int, Tensor, TensorData, activation};

const BOUND: f32 = 5e-5;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn assert_close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let scale = 1f32.max(a.abs()).max(b.abs());
        assert!((a - b).abs() <= BOUND * scale, "{what} [{i}]: {a} {b}");
    }
}

fn noise<const D: usize>(shape: [usize; D], seed: u32, device: &Device) -> Tensor<D> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let data: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

#[test]
fn rms_norm_is_burns() {
    for target in common::targets() {
        let device = target.device.clone().autodiff();
        for shape in [[1, 1, 1], [2, 3, 17], [3, 25, 64]] {
            let norm = RmsNormConfig::new(shape[2]).init(&device);
            let x = noise(shape, 1, &device).require_grad();
            let weights = noise(shape, 2, &device);
            let run = |y: Tensor<3>| {
                let grads = (y.clone() * weights.clone()).sum().backward();
                (
                    values(y.inner()),
                    values(x.grad(&grads).unwrap()),
                    values(norm.gamma.val().grad(&grads).unwrap()),
                )
            };
            let ours = run(rms_norm(&norm, x.clone()));
            let burns = run(norm.forward(x.clone()));
            assert_close(&ours.0, &burns.0, target.name);
            assert_close(&ours.1, &burns.1, target.name);
            assert_close(&ours.2, &burns.2, target.name);
        }
    }
}

#[test]
fn the_gate_is_activation_times_up() {
    for target in common::targets() {
        let device = target.device.clone().autodiff();
        for act in [Gate::Silu, Gate::Relu2] {
            let gate = noise([5, 37], 3, &device).require_grad();
            let up = noise([5, 37], 4, &device).require_grad();
            let weights = noise([5, 37], 5, &device);
            let run = |y: Tensor<2>| {
                let grads = (y.clone() * weights.clone()).sum().backward();
                (
                    values(y.inner()),
                    values(gate.grad(&grads).unwrap()),
                    values(up.grad(&grads).unwrap()),
                )
            };
            let ours = run(gated(gate.clone(), up.clone(), act));
            let activated = match act {
                Gate::Silu => activation::silu(gate.clone()),
                Gate::Relu2 => activation::relu(gate.clone()).powi_scalar(2),
            };
            let burns = run(activated * up.clone());
            assert_close(&ours.0, &burns.0, target.name);
            assert_close(&ours.1, &burns.1, target.name);
            assert_close(&ours.2, &burns.2, target.name);
        }
    }
}

#[test]
fn rope_rotates_the_halves() {
    for target in common::targets() {
        let device = target.device.clone().autodiff();
        let [batch, time, heads, width] = [2, 5, 3, 8];
        let x = noise([batch, time, heads, width], 6, &device).require_grad();
        let weights = noise([batch, time, heads, width], 7, &device);
        // Any tables will do, as long as both halves share them, as in the real ones.
        let half = |seed| noise([time, width / 2], seed, &device);
        let twice = |t: Tensor<2>| Tensor::cat(vec![t.clone(), t], 1);
        let (cos, sin) = (twice(half(8)), twice(half(9)));
        let run = |y: Tensor<4>| {
            let grads = (y.clone() * weights.clone()).sum().backward();
            (values(y.inner()), values(x.grad(&grads).unwrap()))
        };
        let ours = run(rope(x.clone(), cos.clone(), sin.clone()));
        let table = |t: &Tensor<2>| t.clone().reshape([1, time, 1, width]);
        let first = x.clone().narrow(3, 0, width / 2);
        let second = x.clone().narrow(3, width / 2, width / 2);
        let turned = Tensor::cat(vec![-second, first], 3);
        let burns = run(x.clone() * table(&cos) + turned * table(&sin));
        assert_close(&ours.0, &burns.0, target.name);
        assert_close(&ours.1, &burns.1, target.name);
    }
}

#[test]
fn linear_is_a_product_with_the_transpose() {
    for target in common::targets() {
        let device = target.device.clone().autodiff();
        let x = noise([2, 7, 17], 20, &device).require_grad();
        let w = noise([5, 17], 21, &device).require_grad();
        let weights = noise([2, 7, 5], 22, &device);
        let run = |y: Tensor<3>| {
            let grads = (y.clone() * weights.clone()).sum().backward();
            (
                values(y.inner()),
                values(x.grad(&grads).unwrap()),
                values(w.grad(&grads).unwrap()),
            )
        };
        let ours = run(linear(x.clone(), w.clone()));
        let burns = run(x.clone().matmul(w.clone().transpose().unsqueeze()));
        assert_close(&ours.0, &burns.0, target.name);
        assert_close(&ours.1, &burns.1, target.name);
        assert_close(&ours.2, &burns.2, target.name);
    }
}

#[test]
fn attention_is_a_masked_softmax() {
    for target in common::targets() {
        let device = target.device.clone().autodiff();
        let [batch, time, heads, groups, width] = [2, 9, 4, 2, 8];
        let q = noise([batch, time, heads, width], 23, &device).require_grad();
        let k = noise([batch, time, groups, width], 24, &device).require_grad();
        let v = noise([batch, time, groups, width], 25, &device).require_grad();
        let weights = noise([batch, time, heads, width], 26, &device);
        let half = |seed| noise([time, width / 2], seed, &device);
        let twice = |t: Tensor<2>| Tensor::cat(vec![t.clone(), t], 1);
        let (cos, sin) = (twice(half(27)) * 0.5, twice(half(28)) * 0.5);
        let run = |y: Tensor<4>| {
            let grads = (y.clone() * weights.clone()).sum().backward();
            [
                values(y.inner()),
                values(q.grad(&grads).unwrap()),
                values(k.grad(&grads).unwrap()),
                values(v.grad(&grads).unwrap()),
            ]
        };
        let ours = run(causal_attention(
            q.clone(),
            k.clone(),
            v.clone(),
            cos.clone(),
            sin.clone(),
        ));
        let share = |x: Tensor<4>| {
            x.swap_dims(1, 2)
                .unsqueeze_dim::<5>(2)
                .expand([batch, groups, heads / groups, time, width])
                .reshape([batch, heads, time, width])
        };
        let queries = rope(q.clone(), cos.clone(), sin.clone()).swap_dims(1, 2);
        let keys = share(rope(k.clone(), cos.clone(), sin.clone()));
        let scores = queries.matmul(keys.transpose()) / (width as f64).sqrt();
        let hidden = Tensor::<2, Bool>::tril_mask([time, time], 0, &target.device);
        let scores = scores.mask_fill(hidden.unsqueeze::<4>(), f32::NEG_INFINITY);
        let y = activation::softmax(scores, 3).matmul(share(v.clone()));
        let burns = run(y.swap_dims(1, 2));
        for (ours, burns) in ours.iter().zip(&burns) {
            assert_close(ours, burns, target.name);
        }
    }
}

#[test]
fn cross_entropy_is_the_log_softmax_of_the_target() {
    for target in common::targets() {
        let device = target.device.clone().autodiff();
        let logits = (noise([6, 11], 29, &device) * 4.0).require_grad();
        let targets = Tensor::<1, Int>::from_data([0, 10, 3, 3, 7, 1], &target.device);
        let weights = noise([6], 30, &device);
        let run = |losses: Tensor<1>| {
            let grads = (losses.clone() * weights.clone()).sum().backward();
            (values(losses.inner()), values(logits.grad(&grads).unwrap()))
        };
        let ours = run(cross_entropy(logits.clone(), targets.clone()));
        let burns = run(activation::log_softmax(logits.clone(), 1)
            .gather(1, targets.reshape([6, 1]))
            .neg()
            .reshape([6]));
        assert_close(&ours.0, &burns.0, target.name);
        assert_close(&ours.1, &burns.1, target.name);
    }
}

#[test]
fn divergence_is_that_of_two_softmaxes() {
    for target in common::targets() {
        let device = target.device.clone().autodiff();
        let x = (noise([6, 37], 34, &device) * 4.0).require_grad();
        let taught = noise([6, 37], 35, &device) * 4.0;
        let weights = noise([6], 36, &device);
        for temperature in [0.5, 1.0, 2.0] {
            let run = |distances: Tensor<1>| {
                let grads = (distances.clone() * weights.clone()).sum().backward();
                (values(distances.inner()), values(x.grad(&grads).unwrap()))
            };
            let ours = run(divergence(x.clone(), taught.clone(), temperature));
            let soft = |x: Tensor<2>| activation::log_softmax(x / f64::from(temperature), 1);
            let (log_p, log_q) = (soft(taught.clone()), soft(x.clone()));
            let parts = log_p.clone().exp() * (log_p - log_q);
            let square = f64::from(temperature * temperature);
            let burns = run(parts.sum_dim(1).reshape([6]) * square);
            assert_close(&ours.0, &burns.0, target.name);
            assert_close(&ours.1, &burns.1, target.name);
        }
    }
}

#[test]
fn squares_add_up_on_every_device() {
    for target in common::targets() {
        let x = noise([13, 7], 31, &target.device);
        let ours = values(sum_of_squares(x.clone()));
        assert_close(&ours, &values(x.square().sum()), target.name);
    }
}

#[test]
fn adamw_is_the_same_on_every_device() {
    let step = |time| AdamWStep {
        learning_rate: 1e-2,
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        time,
    };
    let run = |device: &Device| {
        let mut param = noise([7, 9], 10, device);
        let mut moments = (param.zeros_like(), param.zeros_like());
        for time in 1..=3 {
            let grad = noise([7, 9], 10 + time as u32, device);
            let half = grad.clone() * 2.0;
            let factor = Tensor::from_data([0.5], device);
            let (p, m, v) = adamw(param, half, factor, moments, step(time));
            (param, moments) = (p, (m, v));
        }
        values(param)
    };
    let results: Vec<_> = common::targets()
        .iter()
        .map(|target| (target.name, run(&target.device)))
        .collect();
    for (name, result) in &results {
        assert_close(result, &results[0].1, name);
    }
    // An update must not write into a tensor that somebody else still holds.
    let device = &common::targets()[0].device;
    let param = noise([7, 9], 10, device);
    let before = values(param.clone());
    let zeros = param.zeros_like();
    let _ = adamw(
        param.clone(),
        param.clone(),
        Tensor::ones([1], device),
        (zeros.clone(), zeros),
        step(1),
    );
    assert_eq!(before, values(param));
}

/// One to four rows take another kernel than more do.
#[test]
fn linear_is_a_product_with_the_rows() {
    for target in common::targets() {
        let device = &target.device;
        for rows in [1, 2, 3, 4, 5, 9] {
            for (n, k) in [(1, 1), (5, 33), (70, 64)] {
                let (x, w) = (noise([rows, k], 1, device), noise([n, k], 2, device));
                let found = values(linear(x.clone(), w.clone()));
                assert_close(&found, &values(x.matmul(w.transpose())), target.name);
            }
        }
    }
}

#[test]
fn embedding_picks_rows() {
    for target in common::targets() {
        let device = &target.device;
        let table = noise([19, 6], 3, device);
        let ids = [[0, 18, 7], [7, 1, 0]];
        let found = values(embedding(
            table.clone(),
            Tensor::<2, Int>::from_data(TensorData::from(ids), device),
        ));
        let table = values(table);
        let expected: Vec<f32> = (ids.as_flattened().iter())
            .flat_map(|&id| table[id as usize * 6..][..6].to_vec())
            .collect();
        assert_eq!(found, expected, "{}", target.name);
    }
}

/// A table beyond what an adapter binds at once, read in blocks. Its rows tell their number.
#[test]
#[cfg(feature = "wgpu")]
fn tables_may_be_larger_than_a_binding() {
    let Some(device) = common::wgpu() else { return };
    let limit = bitnet_nn::device_limits(&device).unwrap().binding_bytes;
    const WIDTH: usize = 1000;
    if limit > 1 << 30 {
        // A table of gigabytes is too much for a test. The project's own checks run on an adapter of the common limit.
        let message = format!("the WGPU adapter binds {limit} bytes at once, too many for a test");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{message}");
        common::skipped(&message);
        return;
    }
    let halves = device.supports_dtype(FloatDType::F16);
    for dtype in [FloatDType::F32, FloatDType::F16] {
        if dtype == FloatDType::F16 && !halves {
            continue;
        }
        let size = DType::from(dtype).size() as u64;
        let rows = (limit / (size * WIDTH as u64)) as usize + 1000;
        let data: Vec<f32> = (0..rows * WIDTH)
            .map(|i| (i / WIDTH % 1021) as f32 + (i % WIDTH % 3) as f32)
            .collect();
        let data = TensorData::new(data, [rows, WIDTH]).convert_dtype(dtype.into());
        // Persistent, as a parameter is: the device's pools for other tensors may have smaller pages.
        let table = device.memory_persistent_allocations(data, |data| {
            Tensor::<2>::from_data(data, (&device, DType::from(dtype)))
        });
        let ids = [0, 1, rows / 2, rows - 2, rows - 1].map(|id| id as i32);
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids.to_vec(), [1, 5]), &device);
        let found = embedding(table.clone(), ids).cast(FloatDType::F32);
        let found = values(found);
        for (row, id) in [0, 1, rows / 2, rows - 2, rows - 1].into_iter().enumerate() {
            assert_eq!(found[row * WIDTH], (id % 1021) as f32);
            assert_eq!(found[row * WIDTH + 2], (id % 1021) as f32 + 2.0);
        }
        // The sum of two features of a row, for few tokens and for many.
        for tokens in [2, 5] {
            let mut x = vec![0.0; tokens * WIDTH];
            for token in 0..tokens {
                x[token * WIDTH] = 1.0;
                x[token * WIDTH + 1] = token as f32;
            }
            let x = Tensor::<2>::from_data(TensorData::new(x, [tokens, WIDTH]), &device);
            let y = values(linear(x, table.clone()));
            for token in 0..tokens {
                for n in [0, 5, rows / 2, rows - 1] {
                    let row = (n % 1021) as f32;
                    let expected = row + token as f32 * (row + 1.0);
                    assert_eq!(
                        y[token * rows + n],
                        expected,
                        "{dtype:?}, token {token}, row {n}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_few_queries_see_the_cache_up_to_their_own_place() {
    for target in common::targets() {
        let device = &target.device;
        // Heads of their own and shared; widths below, at and above the units of a cube; chunks that end early, exactly
        // and late.
        for ([batch, time, heads, kv_heads], width, offset, spare) in [
            ([1, 1, 1, 1], 2, 0, 0),
            ([1, 1, 4, 2], 48, 126, 5),
            ([2, 3, 4, 1], 64, 126, 63),
            ([1, 4, 2, 2], 128, 253, 0),
            ([2, 2, 6, 3], 160, 299, 19),
        ] {
            let positions = offset + time + spare;
            let q = noise([batch, time, heads, width], 31, device);
            let keys = noise([batch, kv_heads, positions, width], 32, device);
            let values_ = noise([batch, kv_heads, positions, width], 33, device);
            let ours = cached_attention(q.clone(), keys.clone(), values_.clone(), offset);
            assert_eq!(ours.dims(), [batch, time, heads, width]);

            let shared = |x: Tensor<4>| {
                x.narrow(2, 0, offset + time)
                    .unsqueeze_dim::<5>(2)
                    .expand([batch, kv_heads, heads / kv_heads, offset + time, width])
                    .reshape([batch, heads, offset + time, width])
            };
            let scores = q.swap_dims(1, 2).matmul(shared(keys).transpose()) / (width as f64).sqrt();
            let hidden = Tensor::<2, Bool>::tril_mask([time, offset + time], offset as i64, device);
            let scores = scores.mask_fill(hidden.unsqueeze(), f32::NEG_INFINITY);
            let burns = activation::softmax(scores, 3)
                .matmul(shared(values_))
                .swap_dims(1, 2);
            assert_close(&values(ours), &values(burns), target.name);
        }
    }
}

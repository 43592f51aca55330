//! Cross-entropy of next-token prediction, in nats per token.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use bitnet_data::Batch;
use bitnet_models::float::{cross_entropy, linear};

/// Cross-entropy against a target that keeps `1 − ε` of its weight and spreads `ε` over the vocabulary, from the
/// cross-entropy of the plain target: `loss + ε (x_target − mean(x))`.
pub(crate) fn smoothed(
    losses: Tensor<1>,
    logits_btv: &Tensor<3>,
    targets_bt: &Tensor<2, Int>,
    epsilon: f64,
) -> Tensor<1> {
    if epsilon == 0.0 {
        return losses;
    }
    let [batch, time, vocab] = logits_btv.dims();
    let logits = logits_btv.clone().reshape([batch * time, vocab]);
    let targets = targets_bt.clone().reshape([batch * time, 1]);
    let spread = logits.clone().gather(1, targets) - logits.mean_dim(1);
    losses + spread.squeeze_dim(1).mul_scalar(epsilon)
}

/// A batch on a device: inputs `[b, t]` and targets `[b, t]`.
pub(crate) fn tensors(batch: &Batch, device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let shape = [batch.batch_size, batch.context];
    let tensor =
        |ids: &[i32]| Tensor::from_data(TensorData::new(ids.to_vec(), shape), (device, DType::I32));
    (tensor(&batch.inputs), tensor(&batch.targets))
}

/// `−ln p(target)` of every token: logits `[b, t, v]`, targets `[b, t]` → `[b · t]`.
pub(crate) fn token_losses(logits_btv: Tensor<3>, targets_bt: Tensor<2, Int>) -> Tensor<1> {
    let [batch, time, vocab] = logits_btv.dims();
    cross_entropy(
        logits_btv.reshape([batch * time, vocab]),
        targets_bt.reshape([batch * time]),
    )
}

/// The mean of [`token_losses`] with at most `rows` rows of logits at a time: what the head reads `[b, t, m]`, the head
/// `[v, m]` and targets `[b, t]` → `[1]`.
///
/// The head's part of the gradient is taken chunk by chunk on the way forward, each chunk's logits are dropped, and what is
/// returned has the loss's value and, by `Σ h · ∂h + Σ w · ∂w` of the hidden states and the head, its gradient.
pub(crate) fn chunked(
    hidden: Tensor<3>,
    head: Tensor<2>,
    targets_bt: Tensor<2, Int>,
    rows: usize,
) -> Tensor<1> {
    let [batch, time, width] = hidden.dims();
    let count = batch * time;
    let hidden = hidden.reshape([count, width]);
    let targets = targets_bt.reshape([count]);
    let (states, weight) = (hidden.clone().inner(), head.clone().inner());
    let leaf = |tensor: Tensor<2>| Tensor::from_inner(tensor).require_grad();
    let mut by_states = Vec::new();
    let (mut by_weight, mut loss) = (None::<Tensor<2>>, None::<Tensor<1>>);
    for start in (0..count).step_by(rows.max(1)) {
        let end = count.min(start + rows.max(1));
        let (x, w) = (
            leaf(states.clone().narrow(0, start, end - start)),
            leaf(weight.clone()),
        );
        let part = cross_entropy(
            linear(x.clone(), w.clone()),
            targets.clone().narrow(0, start, end - start),
        );
        let part = part.sum().mul_scalar(1.0 / count as f64);
        let grads = part.backward();
        by_states.extend(x.grad(&grads));
        by_weight = match (by_weight, w.grad(&grads)) {
            (Some(sum), Some(more)) => Some(sum + more),
            (sum, more) => sum.or(more),
        };
        let value = part.inner();
        loss = Some(match loss {
            Some(sum) => sum + value,
            None => value,
        });
    }
    let by_states = Tensor::from_inner(Tensor::cat(by_states, 0));
    let mut carried = (hidden * by_states).sum();
    if let Some(by_weight) = by_weight {
        carried = carried + (head * Tensor::from_inner(by_weight)).sum();
    }
    match loss {
        Some(loss) => {
            let difference = loss - carried.clone().inner();
            carried + Tensor::from_inner(difference)
        }
        None => carried,
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    const LOGITS: [[[f32; 4]; 2]; 2] = [
        [[0.5, -1.0, 2.0, 0.25], [3.0, 3.0, -3.0, 0.0]],
        [[-0.75, 0.0, 0.125, 9.0], [0.0, 0.0, 0.0, 0.0]],
    ];
    const TARGETS: [[i32; 2]; 2] = [[2, 0], [1, 3]];

    fn losses(epsilon: f64) -> Vec<f32> {
        let device = Device::flex();
        let logits = Tensor::<3>::from_floats(LOGITS, &device);
        let targets = Tensor::<2, Int>::from_data(TARGETS, (&device, DType::I32));
        let plain = token_losses(logits.clone(), targets.clone());
        let losses = smoothed(plain, &logits, &targets, epsilon);
        losses.into_data().try_to_vec().unwrap()
    }

    /// `−Σ_j t_j ln softmax(x)_j` with `t = (1 − ε) · onehot + ε / V`, in f64.
    fn expected(x: &[f32; 4], target: i32, epsilon: f64) -> f64 {
        let sum: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
        let term = |(j, x): (usize, &f32)| {
            let onehot = f64::from(u8::from(j as i32 == target));
            ((1.0 - epsilon) * onehot + epsilon / 4.0) * (sum.ln() - f64::from(*x))
        };
        x.iter().enumerate().map(term).sum()
    }

    #[test]
    fn label_smoothing_is_cross_entropy_against_the_spread_target() {
        for epsilon in [0.0, 0.1, 0.5] {
            let found = losses(epsilon);
            let cells = LOGITS.iter().flatten().zip(TARGETS.iter().flatten());
            for ((x, target), found) in cells.zip(found) {
                let expected = expected(x, *target, epsilon);
                // Sums of a few terms below 10 in f32.
                assert!(
                    (f64::from(found) - expected).abs() < 1e-5,
                    "{found} for {expected}, ε {epsilon}"
                );
            }
        }
    }
}

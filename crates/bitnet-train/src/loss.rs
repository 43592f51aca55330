//! Cross-entropy of next-token prediction, in nats per token.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use bitnet_data::Batch;
use bitnet_models::fused::cross_entropy;

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

//! Cross-entropy of next-token prediction, in nats per token.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use bitnet_data::Batch;
use bitnet_models::fused::cross_entropy;

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

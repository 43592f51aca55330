//! Cross-entropy of next-token prediction, in nats per token.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation::log_softmax};

use bitnet_data::Batch;

/// A batch on a device: inputs `[b, t]` and targets `[b, t]`.
pub(crate) fn tensors(batch: &Batch, device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let shape = [batch.batch_size, batch.context];
    let tensor =
        |ids: &[i32]| Tensor::from_data(TensorData::new(ids.to_vec(), shape), (device, DType::I32));
    (tensor(&batch.inputs), tensor(&batch.targets))
}

/// `−ln p(target)` of every token: logits `[b, t, v]`, targets `[b, t]` → `[b · t, 1]`.
pub(crate) fn token_losses(logits_btv: Tensor<3>, targets_bt: Tensor<2, Int>) -> Tensor<2> {
    let [batch, time, vocab] = logits_btv.dims();
    let log_probs = log_softmax(logits_btv.reshape([batch * time, vocab]), 1);
    log_probs
        .gather(1, targets_bt.reshape([batch * time, 1]))
        .neg()
}

//! The gradient of a language model with the activations of one block in memory at a time
//! (`train.checkpoint_activations`; Chen et al. 2016, arXiv 1604.06174): the way forward keeps what each block reads,
//! `[b, t, hidden]`, and the way back computes the block anew.
//!
//! Every operation sees the operands that it would see in one graph, dropout's masks included, so the gradient is the same;
//! a step costs a pass forward more.

use bitnet_config::TrainConfig;
use bitnet_models::{Network, Transformer};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Int, Tensor};

/// The loss `[1]` that `objective` makes of what the head reads `[b, t, hidden]`, and its gradient if that was taken block
/// by block; the loss is on the plain device then.
pub(crate) fn by_blocks(
    train: &TrainConfig,
    model: &Transformer,
    inputs_bt: Tensor<2, Int>,
    objective: impl FnOnce(Tensor<3>) -> Tensor<1>,
) -> (Tensor<1>, Option<GradientsParams>) {
    match train.checkpoint_activations {
        true => {
            let (loss, gradient) = checkpointed(model, inputs_bt, objective);
            (loss, Some(gradient))
        }
        false => (objective(model.hidden(inputs_bt)), None),
    }
}

fn checkpointed(
    model: &Transformer,
    inputs_bt: Tensor<2, Int>,
    objective: impl FnOnce(Tensor<3>) -> Tensor<1>,
) -> (Tensor<1>, GradientsParams) {
    let leaf = |x: &Tensor<3>| Tensor::from_inner(x.clone()).require_grad();
    let place = || model.dropout_state().map(|state| state.place());
    let return_to = |place: Option<u64>| {
        if let (Some(state), Some(place)) = (model.dropout_state(), place) {
            state.return_to(place);
        }
    };
    // On the autodiff device as in one graph, but nothing is kept where nothing asks for a gradient.
    let frozen = model.clone().no_grad();
    let begin = place();
    let mut x = frozen.embedded(inputs_bt.clone()).inner();
    let mut read = Vec::new();
    for index in 0..model.layers.len() {
        read.push((place(), x.clone()));
        x = frozen.block(index, Tensor::from_inner(x)).inner();
    }
    let end = place();

    let mut sum = GradientsAccumulator::new();
    let mut take = |grads: Gradients| {
        sum.accumulate(model, GradientsParams::from_grads(grads, model));
    };
    let last = leaf(&x);
    let loss = objective(model.normed(last.clone()));
    let value = loss.clone().inner();
    let grads = loss.backward();
    let mut upstream = last.grad(&grads);
    take(grads);
    while let (Some(gradient), Some((place, x))) = (&upstream, read.pop()) {
        return_to(place);
        let x = leaf(&x);
        let grads = along(model.block(read.len(), x.clone()), gradient).backward();
        upstream = x.grad(&grads);
        take(grads);
    }
    if let Some(gradient) = &upstream {
        return_to(begin);
        take(along(model.embedded(inputs_bt), gradient).backward());
    }
    // The next batch of the step draws other masks.
    return_to(end);
    (value, sum.grads())
}

/// `Σ y · g`, whose gradient is `g` by `y`.
fn along(y: Tensor<3>, gradient: &Tensor<3>) -> Tensor<1> {
    (y * Tensor::from_inner(gradient.clone())).sum()
}

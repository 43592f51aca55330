//! Autodiff around any backend: hand-written backward passes for what is differentiable; for the rest the inner
//! backend's operation, whose results leave the graph.

mod float;
mod ternary;

use burn::backend::{
    Autodiff, Backend,
    autodiff::{
        NodeId,
        checkpoint::strategy::CheckpointStrategy,
        grads::Gradients,
        ops::{Backward, NodeGuard, OpsKind},
    },
    tensor::FloatTensor,
};

/// The output `y` of an operation on `inputs`. If one of them is tracked, `state` is kept for the backward pass.
fn output<B: Backend, C: CheckpointStrategy, O: Backward<B, N>, const N: usize>(
    operation: O,
    inputs: [NodeGuard; N],
    state: O::State,
    y: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match operation.prepare::<C>(inputs).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(state, y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

/// Registers the gradients of the inputs that are tracked.
fn register_all<B: Backend, const N: usize>(
    grads: &mut Gradients,
    inputs: [Option<NodeId>; N],
    values: [FloatTensor<B>; N],
) {
    for (input, value) in inputs.into_iter().zip(values) {
        if let Some(id) = input {
            grads.register::<B>(id, value);
        }
    }
}

/// Implements operations by the inner backend `B`'s: a `Float` argument is taken out of the graph, a `Float` result is
/// not in it.
macro_rules! untracked {
    (@type Float) => { FloatTensor<Self> };
    (@type Int) => { IntTensor<Self> };
    (@type ($($part:tt),+)) => { ($(untracked!(@type $part)),+) };
    (@type $plain:ident) => { $plain };

    (@inner Float $x:ident) => { $x.into_primitive() };
    (@inner $other:ident $x:ident) => { $x };

    (@outer Float $y:ident) => { Self::from_inner($y) };
    (@outer Int $y:ident) => { $y };
    (@outer ($a:tt, $b:tt) $y:ident) => {{
        let (a, b) = $y;
        (untracked!(@outer $a a), untracked!(@outer $b b))
    }};
    (@outer ($a:tt, $b:tt, $c:tt) $y:ident) => {{
        let (a, b, c) = $y;
        (untracked!(@outer $a a), untracked!(@outer $b b), untracked!(@outer $c c))
    }};

    ($(fn $name:ident($($x:ident: $kind:tt),+ $(,)?) -> $out:tt;)+) => {$(
        fn $name($($x: untracked!(@type $kind)),+) -> untracked!(@type $out) {
            let y = B::$name($(untracked!(@inner $kind $x)),+);
            untracked!(@outer $out y)
        }
    )+};
}
use untracked;

//! Groups of inputs with scales of their own, as the layers compose them: a group is a narrower layer with a scale a row.

use bitnet_kernels::{Granularity, Quantization};
use burn::tensor::{Int, Tensor};

use crate::ternary::{dequantize_weights, quantize_weights};

/// The groups that a row of `cols` weights falls into: first input and number of inputs. One group of all without groups.
pub(super) fn groups(
    granularity: Granularity,
    cols: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let size = granularity.group(cols).max(1);
    (0..cols)
        .step_by(size)
        .map(move |start| (start, size.min(cols - start)))
}

/// Which weights of one group share a scale.
pub(super) fn within(granularity: Granularity) -> Granularity {
    match granularity {
        Granularity::Tensor => Granularity::Tensor,
        Granularity::Row | Granularity::Group(_) => Granularity::Row,
    }
}

/// Words and scales of each group of `w` `[N, K]`, side by side. Not differentiable.
pub(super) fn quantized(w: &Tensor<2>, scheme: Quantization) -> Vec<(Tensor<2, Int>, Tensor<1>)> {
    let part = |(start, len)| {
        let part = w.clone().narrow(1, start, len);
        quantize_weights(part, scheme.weights, within(scheme.granularity))
    };
    groups(scheme.granularity, w.dims()[1]).map(part).collect()
}

/// The weights that a scheme makes of `w` `[N, K]`. Not differentiable.
pub(super) fn fake_quantized(w: &Tensor<2>, scheme: Quantization) -> Tensor<2> {
    let lengths = groups(scheme.granularity, w.dims()[1]).map(|(_, len)| len);
    let parts = quantized(w, scheme).into_iter().zip(lengths);
    let parts = parts.map(|((words, scales), len)| dequantize_weights(words, scales, len));
    Tensor::cat(parts.collect(), 1)
}

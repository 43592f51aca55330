//! Groups of inputs with scales of their own, as the layers compose them: a group is a narrower layer with a scale a row.

use bitnet_kernels::Granularity;

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

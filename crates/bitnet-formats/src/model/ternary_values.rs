//! Floats that are ternary already: -s, 0, s with one s a matrix, a row or a group of columns.

use bitnet_kernels::Granularity;

use crate::ternary::{ScaleDirection, TernaryTensor};

/// The groups that are looked for, coarse ones first: a matrix with one s fits all of them.
fn candidates(cols: usize) -> impl Iterator<Item = Granularity> {
    let columns = [256, 128, 64, 32].into_iter();
    let columns = columns.filter(move |n| cols > *n && cols.is_multiple_of(*n));
    let columns = columns.map(Granularity::Group);
    [Granularity::Tensor, Granularity::Row]
        .into_iter()
        .chain(columns)
}

/// The matrix as codes with scales that multiply, if every value is exactly -s, 0 or s. A matrix of zeros is not.
pub(crate) fn ternary_values(values: &[f32], rows: usize, cols: usize) -> Option<TernaryTensor> {
    if cols == 0 || rows.checked_mul(cols) != Some(values.len()) {
        return None;
    }
    candidates(cols).find_map(|granularity| {
        let size = match granularity {
            Granularity::Tensor => values.len(),
            Granularity::Row => cols,
            Granularity::Group(n) => n,
        };
        let scales: Option<Vec<f32>> = values.chunks(size).map(shared_magnitude).collect();
        let scales = scales.filter(|scales| scales.iter().any(|s| *s > 0.0))?;
        let code = |v: &f32| if *v == 0.0 { 0 } else { v.signum() as i8 };
        let codes: Vec<i8> = values.iter().map(code).collect();
        let direction = ScaleDirection::Multiply;
        TernaryTensor::from_codes(&codes, (rows, cols), scales, granularity, direction).ok()
    })
}

/// The one magnitude of all values that are not 0; 0 if all are.
fn shared_magnitude(values: &[f32]) -> Option<f32> {
    let mut shared = 0.0;
    for magnitude in values.iter().map(|v| v.abs()).filter(|v| *v != 0.0) {
        if shared == 0.0 && magnitude.is_finite() {
            shared = magnitude;
        } else if shared != magnitude {
            return None;
        }
    }
    Some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarsest_groups_that_fit_are_found() {
        let found = |scale: fn(usize, usize) -> f32| {
            let value = |i: usize| (i * 7 % 3) as f32 - 1.0;
            let values: Vec<f32> = (0..512)
                .map(|i| value(i) * scale(i / 128, i % 128))
                .collect();
            let found = ternary_values(&values, 4, 128)?;
            assert_eq!(found.to_f32(), values);
            Some(found.granularity())
        };
        assert_eq!(found(|_, _| 0.3), Some(Granularity::Tensor));
        assert_eq!(found(|row, _| 0.5 + row as f32), Some(Granularity::Row));
        assert_eq!(
            found(|_, col| 0.5 + (col / 64) as f32),
            Some(Granularity::Group(64))
        );
        assert_eq!(found(|_, col| 0.5 + (col / 16) as f32), None);
        assert_eq!(found(|_, _| 0.0), None);
        assert_eq!(found(|_, _| f32::NAN), None);
        assert_eq!(found(|_, _| f32::INFINITY), None);
    }
}

//! The largest of many values, without putting the rest in order: the likeliest tokens of a row of logits.

use super::{LANES, multiversion};

/// Values of a block, one of whose lanes are those at every 16th place of it: the largest of each lane is found first.
const BLOCK: usize = 32 * super::LANES;

/// Finds the largest of many values; the buffers are reused.
///
/// Each lane of 32 values has a largest one. As many of these as are asked for are as many values, so the smallest of them
/// is a bound that few others reach: one pass in vector registers, and a look at few lanes.
///
/// ```
/// use bitnet_kernels::float::Largest;
/// assert_eq!(Largest::default().of(&[0.5, 2.0, -1.0, 2.0], 3), [1, 3, 0]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Largest {
    /// Of each lane of each block, as [`key`].
    tops: Vec<i32>,
    bounds: Vec<i32>,
    found: Vec<(i32, u32)>,
    places: Vec<u32>,
}

impl Largest {
    /// The places of the `count` largest values, or of all if there are fewer: the largest first, of equal ones the first.
    /// The order is [`f32::total_cmp`]'s, in which NaN is larger than infinity.
    pub fn of(&mut self, values: &[f32], count: usize) -> &[u32] {
        self.places.clear();
        self.found.clear();
        if count == 0 {
            return &self.places;
        }
        self.tops.clear();
        self.tops
            .resize(values.len().div_ceil(BLOCK) * LANES, i32::MIN);
        tops(values, &mut self.tops);
        let mut bound = i32::MIN;
        if count < self.tops.len() {
            self.bounds.clone_from(&self.tops);
            let (_, at, _) = self
                .bounds
                .select_nth_unstable_by(count - 1, |a, b| b.cmp(a));
            bound = *at;
        }
        let lanes = self.tops.iter().enumerate();
        for (lane, _) in lanes.filter(|(_, top)| **top >= bound) {
            let first = lane / LANES * BLOCK;
            let block = first..values.len().min(first + BLOCK);
            for at in block.skip(lane % LANES).step_by(LANES) {
                let key = key(values[at]);
                if key >= bound {
                    self.found.push((key, at as u32));
                }
            }
        }
        let order = |a: &(i32, u32), b: &(i32, u32)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
        if count < self.found.len() {
            self.found.select_nth_unstable_by(count, order);
            self.found.truncate(count);
        }
        self.found.sort_unstable_by(order);
        self.places
            .extend(self.found.iter().map(|(_, place)| place));
        &self.places
    }
}

/// Integers in the order of [`f32::total_cmp`].
#[inline(always)]
fn key(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

multiversion! {
    fn tops(values: &[f32], tops: &mut [i32]) {
        let (tops, _) = tops.as_chunks_mut::<LANES>();
        for (values, tops) in values.chunks(BLOCK).zip(tops) {
            let mut lanes = *tops;
            let (parts, tail) = values.as_chunks::<LANES>();
            for part in parts {
                for lane in 0..LANES {
                    lanes[lane] = lanes[lane].max(key(part[lane]));
                }
            }
            for (lane, value) in lanes.iter_mut().zip(tail) {
                *lane = (*lane).max(key(*value));
            }
            *tops = lanes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition.
    fn sorted(values: &[f32], count: usize) -> Vec<u32> {
        let mut places: Vec<u32> = (0..values.len() as u32).collect();
        let value = |place: u32| values[place as usize];
        places.sort_by(|a, b| value(*b).total_cmp(&value(*a)).then(a.cmp(b)));
        places.truncate(count);
        places
    }

    #[test]
    fn they_are_the_first_of_all_in_order() {
        let mut largest = Largest::default();
        for len in [0usize, 1, 15, 64, 513, 640, 1000, 6000] {
            let noise = |i: usize| (i * 7919 % 1013) as f32 / 100.0 - 5.0;
            let shapes: [Vec<f32>; 6] = [
                (0..len).map(noise).collect(),
                vec![1.5; len],
                (0..len).map(|i| i as f32).collect(),
                (0..len).map(|i| -(i as f32)).collect(),
                // All that is large in one block.
                (0..len)
                    .map(|i| if i < 40 { 100.0 + noise(i) } else { noise(i) })
                    .collect(),
                (0..len)
                    .map(|i| {
                        [
                            0.0,
                            -0.0,
                            f32::NAN,
                            -f32::NAN,
                            f32::INFINITY,
                            f32::MIN,
                            f32::NEG_INFINITY,
                        ][i % 7]
                    })
                    .collect(),
            ];
            for values in &shapes {
                for count in [0, 1, 2, 10, 64, 100, 7000] {
                    assert_eq!(
                        largest.of(values, count),
                        sorted(values, count),
                        "{count} of {len}"
                    );
                }
            }
        }
    }
}

//! The data: 8×8 images of the ten digits, drawn from a font of 3×5 pixels. Every image puts its digit somewhere else,
//! in another brightness, under noise. Labels take turns, so a set is balanced; the seed decides the rest.

use burn::data::dataloader::batcher::Batcher;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIDE: usize = 8;
/// Pixels of an image: the features of the classifier.
pub const PIXELS: usize = SIDE * SIDE;
/// Labels: the classes of the classifier.
pub const CLASSES: usize = 10;
/// One octal digit is one row of three pixels, top down.
const FONT: [u16; CLASSES] = [
    0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71111, 0o75757, 0o75717,
];

/// One image and what it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Digit {
    pixels: [f32; PIXELS],
    label: usize,
}

/// `count` digits that depend on `seed` only.
pub fn draw_digits(count: usize, seed: u64) -> Vec<Digit> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |label: usize| {
        let left = rng.random_range(0..=SIDE - 3);
        let top = rng.random_range(0..=SIDE - 5);
        let brightness = rng.random_range(0.6..1.0);
        let mut pixels = [(); PIXELS].map(|()| rng.random_range(-0.15..0.15));
        for i in (0..15).filter(|i| FONT[label] >> (14 - i) & 1 == 1) {
            pixels[(top + i / 3) * SIDE + left + i % 3] += brightness;
        }
        Digit { pixels, label }
    };
    (0..count).map(|i| draw(i % CLASSES)).collect()
}

/// Images `[batch, PIXELS]` and their labels `[batch]`.
#[derive(Clone, Debug)]
pub struct DigitBatch {
    pub images: Tensor<2>,
    pub labels: Tensor<1, Int>,
}

/// Makes tensors of digits.
pub struct DigitBatcher;

impl Batcher<Digit, DigitBatch> for DigitBatcher {
    fn batch(&self, digits: Vec<Digit>, device: &Device) -> DigitBatch {
        let pixels: Vec<f32> = digits.iter().flat_map(|digit| digit.pixels).collect();
        let labels: Vec<i32> = digits.iter().map(|digit| digit.label as i32).collect();
        DigitBatch {
            images: Tensor::from_data(TensorData::new(pixels, [digits.len(), PIXELS]), device),
            labels: Tensor::from_data(TensorData::new(labels, [digits.len()]), device),
        }
    }
}

#[test]
fn digits_depend_on_the_seed_only_and_are_balanced() {
    let digits = draw_digits(200, 1);
    assert_eq!(digits, draw_digits(200, 1));
    assert_ne!(digits, draw_digits(200, 2));
    let count = |label| digits.iter().filter(|digit| digit.label == label).count();
    assert!((0..CLASSES).all(|label| count(label) == 20));
}

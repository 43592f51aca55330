//! Texts as vectors.

mod common;

use bitnet_generate::{Embedding, Pooling};
use common::{Rng, engine};

/// Texts that are read together, more than go through the blocks at once, have the vectors that each has alone, read in
/// pieces too.
#[test]
fn texts_read_together_are_as_alone() {
    let mut rng = Rng(9);
    let lengths = [1, 40, 200, 3, 150, 190, 1, 77, 199];
    let texts: Vec<Vec<u32>> = lengths.map(|count| rng.tokens(count)).to_vec();
    for pooling in [Pooling::Last, Pooling::Mean] {
        let mut one = engine(1);
        let alone = texts.iter().map(|tokens| {
            let mut text = Embedding::new(&one, tokens.clone(), pooling).unwrap();
            while !text.read(&mut one, 60).unwrap() {}
            text.finish(true).unwrap()
        });
        let alone: Vec<Vec<f32>> = alone.collect();
        let mut many = engine(3);
        let new = |tokens: &Vec<u32>| Embedding::new(&many, tokens.clone(), pooling).unwrap();
        let mut together: Vec<Embedding> = texts.iter().map(new).collect();
        Embedding::read_together(&mut together, &mut many).unwrap();
        for (text, alone) in together.into_iter().zip(&alone) {
            assert_eq!(&text.finish(true).unwrap(), alone, "{pooling:?}");
        }
    }
}

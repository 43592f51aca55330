//! Generation on a runner whose text is known beforehand: what is read again, what is never chosen, where it ends.

use std::sync::atomic::{AtomicBool, Ordering};

use bitnet_models::{
    GenerateError, Limits, PrefixCache, Runner, Sampler, Sampling, Stop, Vocabulary, generate,
};

/// Says that the token after `t` is `t + 1`, up to the last, and counts what it reads.
struct Counting {
    text: Vec<u32>,
    read: Vec<usize>,
    logits: Vec<f32>,
    capacity: usize,
    /// Gives NaN after this token.
    broken_after: Option<u32>,
}

const VOCAB: usize = 12;

fn runner() -> Counting {
    Counting {
        text: Vec::new(),
        read: Vec::new(),
        logits: vec![0.0; VOCAB],
        capacity: 0,
        broken_after: None,
    }
}

impl Runner for Counting {
    fn context(&self) -> usize {
        600
    }

    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn len(&self) -> usize {
        self.text.len()
    }

    fn truncate(&mut self, len: usize) {
        self.text.truncate(len);
    }

    fn start(&mut self, capacity: usize) -> Result<(), GenerateError> {
        self.capacity = capacity;
        self.text.clear();
        Ok(())
    }

    fn read(&mut self, tokens: &[u32]) -> Result<&[f32], GenerateError> {
        assert!(!tokens.is_empty() && self.text.len() + tokens.len() <= self.capacity);
        self.text.extend_from_slice(tokens);
        self.read.push(tokens.len());
        let last = *self.text.last().unwrap();
        self.logits.fill(-1.0);
        self.logits[(last as usize + 1).min(VOCAB - 1)] = 1.0;
        if self.broken_after == Some(last) {
            self.logits[3] = f32::NAN;
        }
        Ok(&self.logits)
    }
}

fn greedy() -> Sampler {
    Sampler::new(Sampling::default()).unwrap()
}

#[test]
fn a_prompt_that_begins_like_the_last_text_costs_only_the_rest() {
    let mut model = runner();
    let mut cache = PrefixCache::new(&mut model, 100).unwrap();
    let mut turn = |prompt: &[u32]| {
        let generation = cache.generate(prompt, Limits::tokens(3), &mut greedy(), |_| true);
        let generation = generation.unwrap();
        (generation.tokens, generation.reused)
    };
    assert_eq!(turn(&[0, 1]), (vec![2, 3, 4], 0));
    // The last token was drawn and never read.
    assert_eq!(turn(&[0, 1, 2, 3, 4, 7]), (vec![8, 9, 10], 4));
    // An edited turn: what it shares and no more.
    assert_eq!(turn(&[0, 1, 5]), (vec![6, 7, 8], 2));
    // The same again reads its last token anew, for its logits.
    assert_eq!(turn(&[0, 1, 5]), (vec![6, 7, 8], 2));
    assert_eq!(turn(&[9]), (vec![10, 11, 11], 0));
    assert_eq!(cache.tokens(), [9, 10, 11]);
    assert_eq!(model.read, [2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(model.text, [9, 10, 11]);
}

#[test]
fn an_end_token_ends_and_is_not_text() {
    let mut model = runner();
    let mut cache = PrefixCache::new(&mut model, 100).unwrap();
    let limits = Limits {
        end: &[4, 9],
        ..Limits::tokens(50)
    };
    let mut seen = Vec::new();
    let generation = cache.generate(&[1], limits, &mut greedy(), |token| {
        seen.push(token);
        true
    });
    let generation = generation.unwrap();
    assert_eq!(generation.stop, Stop::EndToken);
    assert_eq!(
        (&generation.tokens[..], &seen[..]),
        (&[2, 3][..], &[2, 3][..])
    );
}

#[test]
fn rows_without_a_token_are_never_chosen() {
    let mut model = runner();
    let mut cache = PrefixCache::new(&mut model, 100).unwrap();
    // At the end, and in between: the likeliest after 0 and after 1.
    let vocabulary = Vocabulary::new(5, [1, 2]);
    let limits = Limits {
        vocabulary: Some(&vocabulary),
        ..Limits::tokens(6)
    };
    for temperature in [0.0, 100.0] {
        let mut sampler = Sampler::new(Sampling {
            temperature,
            ..Sampling::default()
        });
        let sampler = sampler.as_mut().unwrap();
        for prompt in [7, 0, 1] {
            let generation = cache.generate(&[prompt], limits, sampler, |_| true);
            let generation = generation.unwrap();
            let known = |token: &u32| [0, 3, 4].contains(token);
            assert!(generation.tokens.iter().all(known), "{generation:?}");
        }
    }
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    let mut model = runner();
    model.broken_after = Some(3);
    let error = generate(&mut model, &[1], 10, &mut greedy(), |_| true).unwrap_err();
    assert!(matches!(
        error,
        GenerateError::NotFinite {
            position: 3,
            count: 1,
            of: VOCAB
        }
    ));
    // A text that ends before is one.
    let short = generate(&mut model, &[1], 2, &mut greedy(), |_| true).unwrap();
    assert_eq!(short.tokens, [2, 3]);
}

#[test]
fn an_interruption_ends_an_answer_and_a_long_prompt() {
    let flag = AtomicBool::new(false);
    let limits = Limits {
        interrupted: Some(&flag),
        ..Limits::tokens(50)
    };
    let mut model = runner();
    let mut cache = PrefixCache::new(&mut model, 600).unwrap();
    let generation = cache.generate(&[1; 520], limits, &mut greedy(), |token| {
        flag.store(token == 4, Ordering::Relaxed);
        true
    });
    let generation = generation.unwrap();
    assert_eq!(
        (generation.stop, &generation.tokens[..]),
        (Stop::Asked, &[2, 3, 4][..])
    );
    // The flag is still up: nothing more is read, and what was read is kept.
    let generation = cache
        .generate(&[1; 560], limits, &mut greedy(), |_| true)
        .unwrap();
    assert_eq!((generation.stop, generation.reused), (Stop::Asked, 520));
    assert!(generation.tokens.is_empty());
    assert_eq!(model.read, [256, 256, 8, 1, 1]);
}

#[test]
fn a_text_ends_where_its_room_does() {
    let mut model = runner();
    let mut cache = PrefixCache::new(&mut model, 4).unwrap();
    let generation = cache.generate(&[1, 1], Limits::tokens(50), &mut greedy(), |_| true);
    let generation = generation.unwrap();
    assert_eq!(
        (generation.stop, generation.tokens.len()),
        (Stop::ContextFull, 3)
    );
    let error = cache.generate(&[1; 5], Limits::tokens(1), &mut greedy(), |_| true);
    assert!(matches!(
        error,
        Err(GenerateError::PromptTooLong {
            tokens: 5,
            context: 4
        })
    ));
}

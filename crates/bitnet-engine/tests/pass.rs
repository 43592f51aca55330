//! Several texts in one pass: each as it would be alone, bit for bit.

mod common;

use bitnet_engine::{
    ActivationQuantizer, DenseFormat, Engine, EngineError, FloatFormat, Gate, Granularity, Kernel,
    Norms, Options, Part, Session, Shape, Strategy, Wanted,
};
use common::{Uneven, options, shape};

/// Draws that are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }

    fn tokens(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(71) as u32).collect()
    }
}

fn solo(engine: &mut Engine, text: &[u32]) -> Vec<Vec<f32>> {
    let mut session = engine.session(text.len()).unwrap();
    let mut rows = Vec::new();
    let each = |_: usize, logits: &[f32]| rows.push(logits.to_vec());
    engine.score(&mut session, text, each).unwrap();
    rows
}

/// Reads texts in passes of random parts, and compares all logits that come with those of the text alone.
fn mixed(engine: &mut Engine, texts: &[Vec<u32>], expected: &[Vec<Vec<f32>>], dice: &mut Dice) {
    let mut sessions: Vec<Session> = texts.iter().map(|_| engine.session(0).unwrap()).collect();
    let mut seen = 0;
    while sessions
        .iter()
        .zip(texts)
        .any(|(session, text)| session.len() < text.len())
    {
        let (mut parts, mut from) = (Vec::new(), Vec::new());
        for (index, (session, text)) in sessions.iter_mut().zip(texts).enumerate() {
            let (len, left) = (session.len(), text.len() - session.len());
            // Half of the texts decode, some read a piece, some wait.
            let count = match dice.below(8) {
                0..4 => 1,
                4 => 2 + dice.below(6),
                5 => 2 + dice.below(60),
                6 => left,
                _ => 0,
            };
            let count = count.min(left);
            if count == 0 {
                continue;
            }
            session.reserve(len + count).unwrap();
            let logits = [Wanted::None, Wanted::Last, Wanted::All][dice.below(3)];
            from.push((index, len));
            parts.push(Part {
                session,
                tokens: &text[len..len + count],
                logits,
            });
        }
        if parts.is_empty() {
            continue;
        }
        let mut wanted = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let last = part.tokens.len() - 1;
            match part.logits {
                Wanted::None => {}
                Wanted::Last => wanted.push((at, last)),
                Wanted::All => wanted.extend((0..=last).map(|index| (at, index))),
            }
        }
        let mut told = Vec::new();
        let options = engine.options();
        let each = |part: usize, index: usize, logits: &[f32]| {
            let (text, len) = from[part];
            assert_eq!(
                logits,
                expected[text][len + index],
                "text {text}, {options:?}"
            );
            told.push((part, index));
        };
        engine.pass(&mut parts, each).unwrap();
        assert_eq!(told, wanted);
        seen += told.len();
    }
    assert!(seen > 0);
}

#[test]
fn texts_in_one_pass_are_as_they_are_alone() {
    let mut dice = Dice(1);
    for (ternary, norms, qk_norm, granularity, activations) in [
        (
            true,
            Norms::SUB,
            false,
            Granularity::Tensor,
            ActivationQuantizer::Int8,
        ),
        (
            true,
            Norms::INSIDE,
            true,
            Granularity::Group(16),
            ActivationQuantizer::Int8,
        ),
        (
            true,
            Norms::PRE,
            false,
            Granularity::Row,
            ActivationQuantizer::Int4,
        ),
        (
            false,
            Norms::PRE,
            true,
            Granularity::Tensor,
            ActivationQuantizer::Int8,
        ),
    ] {
        let shape = Shape {
            qk_norm,
            activations,
            ..shape(norms, Gate::Silu, ternary)
        };
        let mut source = Uneven::new(&shape, ternary);
        source.0.ternary = ternary.then_some(granularity);
        let lengths = [1, 2, 17, 40, 90, 33, 8, 64, 5, 23, 48];
        let texts: Vec<Vec<u32>> = lengths.into_iter().map(|len| dice.tokens(len)).collect();
        for (head, cache) in [
            (DenseFormat::F32, FloatFormat::F32),
            (DenseFormat::Int8, FloatFormat::Bf16),
            (DenseFormat::Bf16, FloatFormat::Int8),
        ] {
            let options = Options {
                head,
                cache,
                layout: None,
                ..options()
            };
            let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
            let expected: Vec<_> = texts.iter().map(|text| solo(&mut engine, text)).collect();
            for kernel in Kernel::available() {
                for threads in [1, 2, 5] {
                    let options = Options {
                        threads,
                        kernel,
                        strategy: Strategy::detect(kernel),
                        ..options
                    };
                    let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
                    for count in [texts.len(), 3] {
                        let (texts, expected) = (&texts[..count], &expected[..count]);
                        mixed(&mut engine, texts, expected, &mut dice);
                    }
                }
            }
        }
    }
}

/// More rows than go through the blocks at once, with texts cut at the edges.
#[test]
fn a_pass_of_many_rows_goes_in_chunks() {
    let mut shape = shape(Norms::PRE, Gate::Silu, true);
    shape.max_position_embeddings = 700;
    let source = Uneven::new(&shape, true);
    let options = Options {
        threads: 2,
        ..options()
    };
    let mut engine = Engine::new(shape, &source, options).unwrap();
    let mut dice = Dice(2);
    let texts = [300, 1, 700, 512, 1].map(|len| dice.tokens(len));
    let expected = texts.each_ref().map(|text| solo(&mut engine, text));
    let mut sessions = texts
        .each_ref()
        .map(|text| engine.session(text.len()).unwrap());
    let parts = sessions.iter_mut().zip(&texts).enumerate();
    let mut parts: Vec<Part<'_>> = parts
        .map(|(at, (session, tokens))| Part {
            session,
            tokens,
            logits: [
                Wanted::Last,
                Wanted::Last,
                Wanted::All,
                Wanted::None,
                Wanted::Last,
            ][at],
        })
        .collect();
    let mut told = [0; 5];
    let each = |part: usize, index: usize, logits: &[f32]| {
        assert_eq!(logits, expected[part][index], "part {part}, token {index}");
        told[part] += 1;
    };
    engine.pass(&mut parts, each).unwrap();
    assert_eq!(told, [1, 1, 700, 0, 1]);
    let lengths = sessions.each_ref().map(Session::len);
    assert_eq!(lengths, texts.each_ref().map(Vec::len));
}

#[test]
fn a_part_that_cannot_be_stops_the_pass_before_it_begins() {
    let shape = shape(Norms::PRE, Gate::Silu, true);
    let source = Uneven::new(&shape, true);
    let mut engine = Engine::new(shape, &source, options()).unwrap();
    let (mut a, mut b) = (engine.session(8).unwrap(), engine.session(1).unwrap());
    fn part<'a>(session: &'a mut Session, tokens: &'a [u32]) -> Part<'a> {
        let logits = Wanted::All;
        Part {
            session,
            tokens,
            logits,
        }
    }
    for (tokens, full) in [(&[1, 2][..], true), (&[71][..], false), (&[][..], false)] {
        let mut parts = [part(&mut a, &[1, 2, 3]), part(&mut b, tokens)];
        let each = |_: usize, _: usize, _: &[f32]| panic!("nothing is read");
        let error = engine.pass(&mut parts, each).unwrap_err();
        assert_eq!(matches!(error, EngineError::Full { .. }), full, "{error}");
        assert_eq!((a.len(), b.len()), (0, 0));
    }
    engine
        .pass(&mut [], |_, _, _| panic!("nothing is read"))
        .unwrap();
}

#[test]
fn sessions_grow_shrink_and_are_copied() {
    let shape = shape(Norms::PRE, Gate::Silu, true);
    let source = Uneven::new(&shape, true);
    for cache in FloatFormat::ALL {
        let options = Options { cache, ..options() };
        let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
        let text = Dice(3).tokens(60);
        let expected = solo(&mut engine, &text);
        let mut session = engine.session(0).unwrap();
        assert_eq!(session.bytes(), 0);
        for len in [0, 1, 15, 16, 31, 32, 33, 47, 59] {
            session.reserve(60).unwrap();
            assert_eq!(session.bytes(), engine.cache_bytes(60));
            let next = &text[session.len()..60];
            let logits = engine.forward(&mut session, next).unwrap();
            assert_eq!(logits, expected[59], "{cache} from {len}");
            let mut copy = session.copy(len, 60).unwrap();
            assert_eq!((copy.len(), copy.bytes()), (len, engine.cache_bytes(60)));
            let logits = engine.forward(&mut copy, &text[len..]).unwrap();
            assert_eq!(logits, expected[59], "{cache} copied at {len}");
            session.truncate(len);
            session.shrink();
            assert_eq!(session.bytes(), engine.cache_bytes(len));
        }
        assert!(matches!(
            session.reserve(91),
            Err(EngineError::TooLong { .. })
        ));
        assert!(matches!(
            session.copy(59, 91),
            Err(EngineError::TooLong { .. })
        ));
        assert!(session.copy(59, 58).is_err());
    }
}

//! What a batch promises: errors before anything is read, order, cancelling, prefixes, drafts.

mod common;

use std::sync::Arc;

use bitnet_engine::{
    Engine, Granularity, LayerWeights, Options, RandomWeights, Source, SourceError, Table,
};
use bitnet_generate::{
    Batch, BatchError, BatchOptions, Event, Finish, Request, Sampling, SubmitError, Vocabulary,
};
use common::{CONTEXT, Rng, Tales, batch, engine, finish, plain, shape, solo, step};

#[test]
fn what_cannot_be_is_refused_when_it_is_asked_for() {
    let mut all = batch(plain());
    let mut refused = |request| all.submit(request).unwrap_err();
    assert_eq!(refused(Request::new(vec![], 1)), SubmitError::EmptyPrompt);
    let (tokens, context) = (CONTEXT + 1, CONTEXT);
    let long = SubmitError::ContextLength { tokens, context };
    assert_eq!(refused(Request::new(vec![1; CONTEXT + 1], 1)), long);
    let unknown = refused(Request::new(vec![1, 61], 1));
    assert_eq!(
        unknown.to_string(),
        "token 61 is outside the model's vocabulary of 61"
    );
    let none = Request {
        vocabulary: Vocabulary::new(2, [1, 0]),
        ..Request::new(vec![1], 1)
    };
    assert_eq!(refused(none), SubmitError::NoVocabulary);
    let cold = Request {
        sampling: Sampling {
            temperature: -1.0,
            ..Sampling::default()
        },
        ..Request::new(vec![1], 1)
    };
    assert!(matches!(refused(cold), SubmitError::Sampling(_)));
    assert!(!all.step(&mut |_, event| panic!("{event:?}")));

    let kv_bytes = engine(1).cache_bytes(32);
    let small = batch(BatchOptions {
        kv_bytes,
        ..plain()
    });
    assert_eq!(small.context(), 32);
    let none = Batch::new(
        engine(1),
        BatchOptions {
            kv_bytes: kv_bytes - 1,
            ..plain()
        },
    );
    assert!(matches!(none, Err(BatchError::NoRoom { tokens: 32, .. })));
    let none = Batch::new(
        engine(1),
        BatchOptions {
            max_texts: 0,
            ..plain()
        },
    );
    assert_eq!(
        none.err().unwrap().to_string(),
        "max_texts must be at least 1"
    );
}

#[test]
fn a_text_ends_at_the_limit_of_memory_as_at_the_models() {
    for kv_bytes in [engine(1).cache_bytes(64), 1 << 30] {
        let mut batch = batch(BatchOptions {
            kv_bytes,
            ..plain()
        });
        let context = batch.context();
        for prompt in [1, context - 1, context] {
            let id = batch
                .submit(Request::new(vec![5; prompt], usize::MAX))
                .unwrap();
            let told = finish(&mut batch).remove(&id).unwrap();
            assert_eq!(told.finish, Some(Finish::ContextFull));
            assert_eq!(told.tokens.len(), context + 1 - prompt);
        }
    }
}

/// Prompts are read in their order, in pieces beside the tokens of others, and who writes waits for no more than a piece.
#[test]
fn who_comes_first_is_read_first_and_who_writes_goes_on() {
    let options = BatchOptions {
        prompt_piece: 16,
        ..plain()
    };
    let mut batch = batch(options);
    let mut dice = Rng(1);
    let first = batch.submit(Request::new(dice.tokens(5), 60)).unwrap();
    let mut tales = Tales::new();
    step(&mut batch, &mut tales);
    assert_eq!(tales[&first].tokens.len(), 1);
    let others: Vec<_> = [70, 33, 1, 90, 12]
        .into_iter()
        .map(|len| batch.submit(Request::new(dice.tokens(len), 3)).unwrap())
        .collect();
    let (mut order, mut steps) = (Vec::new(), 0);
    while order.len() < others.len() {
        let before = tales[&first].tokens.len();
        step(&mut batch, &mut tales);
        steps += 1;
        assert_eq!(tales[&first].tokens.len(), before + 1);
        for id in &others {
            let has_token = tales.get(id).is_some_and(|told| !told.tokens.is_empty());
            if has_token && !order.contains(id) {
                order.push(*id);
            }
        }
    }
    assert_eq!(order, others);
    // No step reads less than a piece while there is one.
    assert_eq!(steps, (70usize + 33 + 1 + 90 + 12).div_ceil(16));
    let read: Vec<usize> = tales[&others[3]]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Prompt {
                read,
                cached: 0,
                of: 90,
            } => Some(*read),
            _ => None,
        })
        .collect();
    assert!(
        read.is_sorted() && read.last() == Some(&90) && read.len() >= 90 / 16,
        "{read:?}"
    );
}

#[test]
fn a_cancelled_text_ends_at_once_and_is_told_in_the_next_step() {
    let options = BatchOptions {
        max_texts: 2,
        prompt_piece: 8,
        ..plain()
    };
    let mut batch = batch(options);
    let mut dice = Rng(2);
    let [writing, reading, queued, stays] =
        [3, 90, 20, 20].map(|len| batch.submit(Request::new(dice.tokens(len), 20)).unwrap());
    let mut tales = Tales::new();
    (0..3).for_each(|_| _ = step(&mut batch, &mut tales));
    assert_eq!((batch.running(), batch.queued()), (2, 2));
    let before = [tales[&writing].tokens.len(), tales[&reading].tokens.len()];
    assert!(before[0] > 0 && before[1] == 0);
    for id in [writing, reading, queued] {
        assert!(batch.cancel(id) && !batch.cancel(id));
    }
    assert_eq!((batch.running(), batch.queued()), (0, 1));
    step(&mut batch, &mut tales);
    for id in [writing, reading, queued] {
        assert_eq!(tales[&id].finish, Some(Finish::Cancelled));
    }
    assert_eq!(
        before,
        [tales[&writing].tokens.len(), tales[&reading].tokens.len()]
    );
    while step(&mut batch, &mut tales) {}
    assert_eq!(tales[&stays].finish, Some(Finish::Length));
    assert_eq!(batch.counters().cancelled, 3);
}

#[test]
fn a_conversation_reads_what_is_new_and_an_edited_one_what_follows_the_edit() {
    let mut batch = batch(plain());
    let mut turn = |prompt: &[u32]| {
        let id = batch.submit(Request::new(prompt.to_vec(), 10)).unwrap();
        let told = finish(&mut batch).remove(&id).unwrap();
        assert_eq!(
            told.tokens,
            solo(
                &mut engine(1),
                prompt,
                (10, Sampling::default(), &[], CONTEXT)
            )
            .0
        );
        let first = told.events.first().unwrap();
        if told.usage.cached > 0 {
            let cached = told.usage.cached;
            assert_eq!(
                *first,
                Event::Prompt {
                    read: cached,
                    cached,
                    of: prompt.len()
                }
            );
        }
        (told.tokens, told.usage.cached)
    };
    let mut text = Rng(3).tokens(60);
    let (answer, cached) = turn(&text);
    assert_eq!(cached, 0);
    text.extend(answer);
    // The last token written was not read.
    text.extend([7, 8, 9]);
    let (answer, cached) = turn(&text);
    assert_eq!(cached, 69);
    let mut edited = text.clone();
    edited[40] += 1;
    assert_eq!(turn(&edited).1, 40);
    // The conversation before the edit is still there, so all but its last token.
    text.extend(answer);
    assert_eq!(turn(&text).1, text.len() - 1);
    assert_eq!(turn(&text[..50]).1, 49);
}

/// Eight requests at once with one system prompt read it once.
#[test]
fn a_prefix_that_is_being_read_is_waited_for() {
    let mut batch = batch(BatchOptions {
        prompt_piece: 32,
        ..plain()
    });
    let mut dice = Rng(4);
    let system = dice.tokens(100);
    let prompts: Vec<Vec<u32>> = (0..8)
        .map(|_| [&system[..], &dice.tokens(9)].concat())
        .collect();
    let submit = |prompt: &Vec<u32>| batch.submit(Request::new(prompt.clone(), 8)).unwrap();
    let ids: Vec<_> = prompts.iter().map(submit).collect();
    let tales = finish(&mut batch);
    for (id, prompt) in ids.iter().zip(&prompts) {
        let alone = solo(
            &mut engine(1),
            prompt,
            (8, Sampling::default(), &[], CONTEXT),
        )
        .0;
        assert_eq!(tales[id].tokens, alone);
    }
    assert_eq!(batch.counters().prompt_tokens, 100 + 8 * 9);
    assert_eq!(batch.counters().cached_tokens, 7 * 100);
    batch.forget();
    assert_eq!(batch.kv_bytes_used(), 0);
}

/// A model that knows nothing of token 60.
struct Broken(RandomWeights);

impl Source for Broken {
    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        self.0.table_row(table, token, out);
        if token == 60 && table == Table::Embedding {
            out.fill(f32::NAN);
        }
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        self.0.layer(index)
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        self.0.final_norm()
    }
}

#[test]
fn logits_that_are_no_numbers_end_their_text_alone() {
    let random = RandomWeights {
        shape: shape(),
        ternary: Some(Granularity::Tensor),
        seed: 3,
    };
    let options = Options {
        threads: 2,
        head: bitnet_engine::DenseFormat::F32,
        ..Options::default()
    };
    let make = || Engine::new(shape(), &Broken(random.clone()), options).unwrap();
    let mut batch = Batch::new(make(), plain()).unwrap();
    let start = Rng(6).tokens(20);
    let start: Vec<u32> = start.into_iter().map(|token| token % 60).collect();
    let with = |more: &[u32]| Request::new([&start[..], more].concat(), 12);
    let good = batch.submit(with(&[1])).unwrap();
    let bad = batch.submit(with(&[60])).unwrap();
    let also_good = batch.submit(with(&[2, 3])).unwrap();
    let tales = finish(&mut batch);
    let error = tales[&bad].failed.as_deref().unwrap();
    assert!(
        error.starts_with("after 21 tokens 61 of the model's 61 logits are not finite"),
        "{error}"
    );
    // The same prefix again, which the broken text has read too.
    let again = batch.submit(with(&[4])).unwrap();
    let later = finish(&mut batch);
    for (told, more) in [
        (&tales[&good], &[1][..]),
        (&tales[&also_good], &[2, 3]),
        (&later[&again], &[4]),
    ] {
        let rules = (12, Sampling::default(), &[][..], CONTEXT);
        let alone = solo(&mut make(), &[&start[..], more].concat(), rules);
        assert_eq!((&told.tokens, told.finish), (&alone.0, Some(alone.1)));
    }
    assert_eq!(later[&again].usage.cached, 20);
}

#[test]
fn a_seed_is_the_same_text_and_end_tokens_are_not_told() {
    let sampling = Sampling {
        temperature: 3.0,
        seed: 9,
        ..Sampling::default()
    };
    let prompt = Rng(7).tokens(6);
    let ask = |sampling, end: &[u32]| Request {
        sampling,
        end_tokens: Arc::from(end),
        ..Request::new(prompt.clone(), 30)
    };
    let mut batch = batch(plain());
    let ids: Vec<_> = (0..4)
        .map(|_| batch.submit(ask(sampling, &[])).unwrap())
        .collect();
    let other = batch
        .submit(ask(
            Sampling {
                seed: 10,
                ..sampling
            },
            &[],
        ))
        .unwrap();
    let tales = finish(&mut batch);
    let text = &tales[&ids[0]].tokens;
    assert!(ids.iter().all(|id| tales[id].tokens == *text));
    assert_ne!(tales[&other].tokens, *text);
    let at = text.iter().position(|token| *token == text[20]).unwrap();
    let ended = batch.submit(ask(sampling, &text[20..21])).unwrap();
    let told = &finish(&mut batch)[&ended];
    assert_eq!(
        (&told.tokens[..], told.finish),
        (&text[..at], Some(Finish::EndToken))
    );
    assert_eq!(told.usage.completion, at);
}

/// A draft model that is the model itself is right whenever the model is greedy.
#[test]
fn drafts_make_several_tokens_in_a_pass_and_change_none() {
    let prompt = Rng(8).tokens(30);
    let hot = Sampling {
        temperature: 1.0,
        seed: 5,
        ..Sampling::default()
    };
    for sampling in [Sampling::default(), hot] {
        let options = BatchOptions {
            draft_tokens: 4,
            prompt_piece: 8,
            ..BatchOptions::default()
        };
        let mut batch = Batch::with_draft(engine(2), engine(1), options).unwrap();
        let request = Request {
            sampling,
            ..Request::new(prompt.clone(), 120)
        };
        let id = batch.submit(request).unwrap();
        let told = finish(&mut batch).remove(&id).unwrap();
        let alone = solo(&mut engine(1), &prompt, (120, sampling, &[], CONTEXT));
        assert_eq!((&told.tokens, told.finish), (&alone.0, Some(alone.1)));
        let counters = batch.counters();
        assert_eq!(counters.accepted_drafts, told.usage.accepted_drafts as u64);
        if sampling.temperature == 0.0 {
            assert!(counters.accepted_drafts > 0, "{counters:?}");
        }
        // Each pass makes a token, and one more for each guess that is right.
        let reading = 30usize.div_ceil(16) as u64;
        assert_eq!(
            counters.passes + counters.accepted_drafts,
            120 + reading - 1
        );
    }
    let mut other = shape();
    other.vocab_size = 60;
    let other = common::engine_of(other, 1, 1);
    let error = Batch::with_draft(engine(1), other, plain()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the draft model has a vocabulary of 60 tokens, the model 61"
    );
}

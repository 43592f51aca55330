//! Random requests that come and go: every text is what it is alone, memory stays within its limit, everything ends, and
//! what was counted adds up.

mod common;

use std::{collections::BTreeMap, sync::Arc};

use bitnet_generate::{Batch, BatchOptions, Finish, Request, RequestId, Sampling};
use common::{CONTEXT, Rng, Tales, engine, engine_of, shape, solo, step};

struct Asked {
    prompt: Vec<u32>,
    max_tokens: usize,
    sampling: Sampling,
    end: Vec<u32>,
    cancelled: bool,
}

fn ask(dice: &mut Rng, texts: &[Vec<u32>], context: usize) -> Asked {
    // A new text, one that begins as another does, one that goes on, or one that was edited.
    let other = &texts[dice.below(texts.len())];
    let mut prompt = match dice.below(5) {
        0 => Vec::new(),
        1 => other[..dice.below(other.len())].to_vec(),
        _ => other.clone(),
    };
    let more = 1 + dice.below(30);
    prompt.extend(dice.tokens(more));
    prompt.truncate(context);
    let max_tokens = match dice.below(8) {
        0 => 0,
        1 => usize::MAX / 2,
        _ => dice.below(150),
    };
    let sampling = match dice.below(3) {
        0 => Sampling {
            temperature: 0.8,
            top_p: 0.9,
            seed: dice.below(1000) as u64,
            presence_penalty: 0.5,
            frequency_penalty: 0.1,
            repetition_penalty: 1.1,
            ..Sampling::default()
        },
        1 => Sampling {
            temperature: 0.4,
            seed: dice.below(1000) as u64,
            ..Sampling::default()
        },
        _ => Sampling::default(),
    };
    let ends = dice.below(2);
    Asked {
        prompt,
        max_tokens,
        sampling,
        end: dice.tokens(ends),
        cancelled: false,
    }
}

fn workload(seed: u64) -> bitnet_generate::Counters {
    let mut dice = Rng(seed);
    let threads = [1, 2, 5][dice.below(3)];
    let block = engine(1).cache_bytes(32);
    let options = BatchOptions {
        max_texts: 1 + dice.below(6),
        // From one block to plenty.
        kv_bytes: block * [1, 5, 7, 9, 12, 40][dice.below(6)] + dice.below(block),
        prompt_piece: 1 + dice.below(40),
        draft_tokens: dice.below(7),
        draft_texts: 1 + dice.below(4),
    };
    // Without a draft model, with one that is always right, and with one that hardly ever is.
    let mut small = shape();
    (small.num_hidden_layers, small.max_position_embeddings) = (1, 150);
    let mut batch = match dice.below(3) {
        0 => Batch::new(engine(threads), options),
        1 => Batch::with_draft(engine(threads), engine(1), options),
        _ => Batch::with_draft(engine(threads), engine_of(small, 1, 4), options),
    }
    .unwrap();
    let context = batch.context();
    assert!(context <= CONTEXT);
    let mut texts = vec![dice.tokens(40), dice.tokens(90)];
    let mut asked: BTreeMap<RequestId, Asked> = BTreeMap::new();
    let mut tales = Tales::new();
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns < 50_000, "it does not end: {batch:?}");
        if asked.len() < 25 && dice.below(4) == 0 {
            let one = ask(&mut dice, &texts, context);
            let request = Request {
                sampling: one.sampling,
                end_tokens: Arc::from(&one.end[..]),
                ..Request::new(one.prompt.clone(), one.max_tokens)
            };
            asked.insert(batch.submit(request).unwrap(), one);
        }
        if dice.below(100) == 0
            && let Some((id, one)) = asked.iter_mut().nth(dice.below(25))
        {
            one.cancelled |= batch.cancel(*id);
        }
        let more = step(&mut batch, &mut tales);
        for (id, one) in &asked {
            // A conversation goes on from what was written.
            if texts.len() < 12 && tales.get(id).is_some_and(|told| told.finish.is_some()) {
                let mut text = one.prompt.clone();
                text.extend(&tales[id].tokens);
                text.truncate(context);
                texts.push(text);
            }
        }
        if !more && asked.len() == 25 {
            break;
        }
    }
    assert_eq!((batch.queued(), batch.running(), tales.len()), (0, 0, 25));
    let mut alone = engine(1);
    let (mut prompts, mut cached, mut written, mut right) = (0, 0, 0, 0);
    for (id, one) in &asked {
        let told = &tales[id];
        let rules = (one.max_tokens, one.sampling, &one.end[..], context);
        let (tokens, finish) = solo(&mut alone, &one.prompt, rules);
        if told.finish == Some(Finish::Cancelled) {
            assert!(one.cancelled);
            assert!(tokens.starts_with(&told.tokens), "seed {seed} {id:?}");
        } else {
            assert_eq!(
                (&told.tokens, told.finish),
                (&tokens, Some(finish)),
                "seed {seed} {id:?}"
            );
            assert_eq!(told.usage.prompt, one.prompt.len());
            prompts += told.usage.prompt;
        }
        assert_eq!(told.usage.completion, told.tokens.len());
        cached += told.usage.cached;
        written += told.usage.completion;
        right += told.usage.accepted_drafts;
    }
    let counters = batch.counters();
    let ended = counters.finished + counters.cancelled;
    assert_eq!((counters.submitted, ended, counters.failed), (25, 25, 0));
    assert_eq!(counters.cached_tokens, cached as u64, "seed {seed}");
    assert_eq!(counters.written_tokens, written as u64);
    assert_eq!(counters.accepted_drafts, right as u64);
    assert!(counters.accepted_drafts <= counters.draft_tokens);
    let read = counters.prompt_tokens + counters.cached_tokens;
    match counters.cancelled {
        0 => assert_eq!(read, prompts as u64, "seed {seed}"),
        _ => assert!(read >= prompts as u64, "seed {seed}"),
    }
    counters
}

#[test]
fn every_text_is_what_it_is_alone_whatever_else_runs() {
    let all: Vec<_> = (0..80).map(workload).collect();
    // What is to be tested has happened.
    let sum = |of: fn(&bitnet_generate::Counters) -> u64| all.iter().map(of).sum::<u64>();
    assert!(sum(|c| c.preempted) > 5);
    assert!(sum(|c| c.cancelled) > 20);
    assert!(sum(|c| c.cached_tokens) > 1000);
    assert!(sum(|c| c.accepted_drafts) > 0);
    assert!(sum(|c| c.read_again) > 100);
}

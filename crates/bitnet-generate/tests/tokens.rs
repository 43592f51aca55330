//! What is told of tokens, and what may be written: logprobs and constraints.

mod common;

use bitnet_generate::{
    BatchOptions, Constraint, Event, Finish, Request, Sampling, TokenLogprobs, Vocabulary,
};
use common::{CONTEXT, Rng, batch, engine, finish, plain};

#[test]
fn logprobs_are_those_of_the_model() {
    let prompt = Rng(5).tokens(50);
    let mut rows = Vec::new();
    let mut alone = engine(1);
    let mut session = alone.session(CONTEXT).unwrap();
    let each = |_: usize, logits: &[f32]| rows.push(logits.to_vec());
    alone.score(&mut session, &prompt, each).unwrap();
    let exact = |logits: &[f32], id: u32| {
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        f64::from(logits[id as usize]) - sum.ln()
    };
    let check = |told: &TokenLogprobs, logits: &[f32], id: u32| {
        assert_eq!((told.id, told.top.len()), (id, 3));
        let own = [(id, told.logprob)];
        let all = told.top.iter().chain(&own);
        for (id, logprob) in all {
            assert!((f64::from(*logprob) - exact(logits, *id)).abs() < 1e-5);
        }
        let least = logits[told.top[2].0 as usize];
        let likelier = logits.iter().filter(|logit| **logit > least).count();
        assert!(likelier <= 2 && told.top.is_sorted_by(|a, b| a.1 >= b.1));
    };
    for sampling in [
        Sampling::default(),
        // Of the model, whatever is drawn from.
        Sampling {
            temperature: 0.3,
            top_k: 2,
            presence_penalty: 2.0,
            ..Sampling::default()
        },
    ] {
        let mut batch = batch(BatchOptions {
            prompt_piece: 7,
            ..plain()
        });
        // What is kept has no logits.
        batch.submit(Request::new(prompt.clone(), 4)).unwrap();
        finish(&mut batch);
        let asked = Request {
            logprobs: Some(3),
            prompt_logprobs: true,
            sampling,
            ..Request::new(prompt.clone(), 2)
        };
        let id = batch.submit(asked).unwrap();
        let told = finish(&mut batch).remove(&id).unwrap();
        assert_eq!(told.usage.cached, 0);
        let of_prompt = told.events.iter().find_map(|event| match event {
            Event::PromptLogprobs(told) => Some(told),
            _ => None,
        });
        let of_prompt = of_prompt.unwrap();
        assert_eq!(of_prompt.len(), 49);
        for (at, told) in of_prompt.iter().enumerate() {
            check(told, &rows[at], prompt[at + 1]);
        }
        let first = told.events.iter().find_map(|event| match event {
            Event::Token(token) => token.logprobs.as_ref(),
            _ => None,
        });
        check(first.unwrap(), &rows[49], told.tokens[0]);
        // Also where nothing is written.
        let asked = Request {
            prompt_logprobs: true,
            ..Request::new(prompt[..2].to_vec(), 0)
        };
        let id = batch.submit(asked).unwrap();
        let told = finish(&mut batch).remove(&id).unwrap();
        assert_eq!((told.finish, told.tokens.len()), (Some(Finish::Length), 0));
        let logprobs = told
            .events
            .iter()
            .any(|event| matches!(event, Event::PromptLogprobs(l) if l.len() == 1));
        assert!(logprobs);
    }
}

/// Odd tokens only, complete after so many.
struct Odd(usize);

impl Constraint for Odd {
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), String> {
        if self.0 == 13 {
            return Err("thirteen are left".to_owned());
        }
        logits
            .iter_mut()
            .step_by(2)
            .for_each(|logit| *logit = f32::NEG_INFINITY);
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<bool, String> {
        assert_eq!(token % 2, 1);
        self.0 -= 1;
        Ok(self.0 == 0)
    }
}

#[test]
fn a_constraint_chooses_among_tokens_and_ends_its_text() {
    for draft_tokens in [0, 4] {
        for temperature in [0.0, 5.0] {
            let mut batch = batch(BatchOptions {
                draft_tokens,
                ..plain()
            });
            let mut ask = |left, vocabulary| {
                let request = Request {
                    sampling: Sampling {
                        temperature,
                        ..Sampling::default()
                    },
                    constraint: Some(Box::new(Odd(left))),
                    vocabulary,
                    ..Request::new(vec![1, 2, 3], 60)
                };
                batch.submit(request).unwrap()
            };
            // With drafts, too, nothing is written that has no token.
            let holes = [1, 5, 7, 9, 11, 33];
            let ends = ask(12, Vocabulary::new(40, holes));
            let fails = ask(20, Vocabulary::all());
            let nothing = ask(5, Vocabulary::new(1, []));
            let tales = finish(&mut batch);
            assert_eq!(tales[&ends].finish, Some(Finish::Complete));
            assert_eq!(tales[&ends].tokens.len(), 12);
            let may_be = |id: &u32| id % 2 == 1 && *id < 40 && !holes.contains(id);
            assert!(tales[&ends].tokens.iter().all(may_be));
            assert_eq!(tales[&fails].failed.as_deref(), Some("thirteen are left"));
            assert_eq!(tales[&fails].tokens.len(), 7);
            let none = "the constraint allows no token of the vocabulary";
            assert_eq!(tales[&nothing].failed.as_deref(), Some(none));
            assert_eq!(batch.counters().failed, 2);
        }
    }
}

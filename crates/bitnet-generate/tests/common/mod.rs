//! Small models, and a text alone: read at once and written token by token, as the batch never does.

#![allow(dead_code)] // every test file has its own copy, and needs a part of it

use std::collections::BTreeMap;

use bitnet_engine::{
    ActivationQuantizer, Engine, Gate, Granularity, Norms, Options, RandomWeights, Shape,
};
use bitnet_generate::{Batch, BatchOptions, Event, Finish, RequestId, Sampler, Sampling, Usage};

pub const CONTEXT: usize = 200;

pub fn shape() -> Shape {
    Shape {
        vocab_size: 61,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: CONTEXT,
        rope_theta: 1e4,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        gate: Gate::Silu,
        activations: ActivationQuantizer::Int8,
        norms: Norms::SUB,
        qk_norm: false,
        tie_word_embeddings: false,
    }
}

pub fn engine_of(shape: Shape, threads: usize, seed: u64) -> Engine {
    let weights = RandomWeights {
        shape: shape.clone(),
        ternary: Some(Granularity::Tensor),
        seed,
    };
    let options = Options {
        threads,
        ..Options::default()
    };
    Engine::new(shape, &weights, options).unwrap()
}

pub fn engine(threads: usize) -> Engine {
    engine_of(shape(), threads, 3)
}

/// Without drafts.
pub fn plain() -> BatchOptions {
    BatchOptions {
        draft_tokens: 0,
        ..BatchOptions::default()
    }
}

pub fn batch(options: BatchOptions) -> Batch {
    Batch::new(engine(2), options).unwrap()
}

/// Draws that are the same every time.
pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }

    pub fn tokens(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(61) as u32).collect()
    }
}

/// What a text is alone.
pub fn solo(
    engine: &mut Engine,
    prompt: &[u32],
    (max_tokens, sampling, end, context): (usize, Sampling, &[u32], usize),
) -> (Vec<u32>, Finish) {
    let mut session = engine.session(context).unwrap();
    let mut sampler = Sampler::new(sampling).unwrap();
    let mut text = prompt.to_vec();
    loop {
        if text.len() - prompt.len() == max_tokens {
            return (text[prompt.len()..].to_vec(), Finish::Length);
        }
        if text.len() > context {
            return (text[prompt.len()..].to_vec(), Finish::ContextFull);
        }
        let read = session.len();
        let logits = engine.forward(&mut session, &text[read..]).unwrap();
        let token = sampler.sample(logits, &text, prompt.len());
        if end.contains(&token) {
            return (text[prompt.len()..].to_vec(), Finish::EndToken);
        }
        text.push(token);
    }
}

/// What was told of a text.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub events: Vec<Event>,
    pub tokens: Vec<u32>,
    pub finish: Option<Finish>,
    pub usage: Usage,
    pub failed: Option<String>,
}

impl Told {
    pub fn hear(&mut self, event: Event) {
        assert!(
            self.finish.is_none() && self.failed.is_none(),
            "told after the end: {event:?}"
        );
        self.events.push(event.clone());
        match event {
            Event::Token(token) => self.tokens.push(token.id),
            Event::Finished { finish, usage } => (self.finish, self.usage) = (Some(finish), usage),
            Event::Failed(error) => self.failed = Some(error),
            Event::Prompt { .. } | Event::PromptLogprobs(_) => {}
        }
    }
}

pub type Tales = BTreeMap<RequestId, Told>;

/// One step, and whether there is work left.
pub fn step(batch: &mut Batch, tales: &mut Tales) -> bool {
    let more = batch.step(&mut |id, event| tales.entry(id).or_default().hear(event));
    assert!(
        batch.kv_bytes_used() <= batch.options().kv_bytes,
        "{batch:?}"
    );
    assert!(batch.running() <= batch.options().max_texts);
    more
}

/// Steps until nothing is left.
pub fn finish(batch: &mut Batch) -> Tales {
    let mut tales = Tales::new();
    let mut steps = 0;
    while step(batch, &mut tales) {
        steps += 1;
        assert!(steps < 100_000, "it does not end: {batch:?}");
    }
    tales
}

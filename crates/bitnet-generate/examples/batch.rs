//! Many texts at once on the 0.7 B shape (configs/arch/0.7b.toml) with random weights: what batching gains, what a second
//! turn of a conversation saves, and how long 32 clients wait. `-- [THREADS] [LAYOUT]`; some minutes.

use std::{collections::BTreeMap, time::Instant};

use bitnet_engine::{
    ActivationQuantizer, Engine, Gate, Granularity, Norms, Options, RandomWeights, Shape,
};
use bitnet_generate::{Batch, BatchOptions, Event, Request, RequestId};

fn shape() -> Shape {
    Shape {
        vocab_size: 32000,
        hidden_size: 1536,
        intermediate_size: 4096,
        num_hidden_layers: 24,
        num_attention_heads: 24,
        num_key_value_heads: 24,
        head_dim: 64,
        max_position_embeddings: 2048,
        rope_theta: 1e4,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        gate: Gate::Silu,
        activations: ActivationQuantizer::Int8,
        norms: Norms::SUB,
        qk_norm: false,
        tie_word_embeddings: true,
    }
}

/// A prompt that no other begins like.
fn prompt(len: usize, seed: usize) -> Vec<u32> {
    (0..len)
        .map(|i| (seed * 7919 + i * i * 31 + i * 101 + seed * i * 17) as u32 % 32000)
        .collect()
}

/// When each token of a request came.
type Seen = Vec<f64>;

/// Runs until everything is written: seconds in all, and what each request saw.
fn run(batch: &mut Batch) -> (f64, BTreeMap<RequestId, Seen>) {
    let (start, mut seen) = (Instant::now(), BTreeMap::<RequestId, Seen>::new());
    loop {
        let more = batch.step(&mut |id, event| {
            if let Event::Token(_) = event {
                seen.entry(id)
                    .or_default()
                    .push(start.elapsed().as_secs_f64());
            }
        });
        if !more {
            return (start.elapsed().as_secs_f64(), seen);
        }
    }
}

fn submit(batch: &mut Batch, prompt: Vec<u32>, tokens: usize) {
    let taken = batch.submit(Request::new(prompt, tokens));
    taken.expect("the prompt fits the context");
}

/// The value that a share of all does not exceed.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// Tokens a second of `texts` that are written at the same time.
fn decode(batch: &mut Batch, texts: usize, tokens: usize) -> f64 {
    batch.forget();
    (0..texts).for_each(|text| submit(batch, prompt(16, text), tokens));
    let seen = run(batch).1;
    // From the time when all are written to that when the first one ends.
    let from = seen.values().map(|times| times[0]).fold(0.0, f64::max);
    let to = seen
        .values()
        .map(|times| times[tokens - 1])
        .fold(f64::INFINITY, f64::min);
    let written = seen
        .values()
        .flatten()
        .filter(|time| **time > from && **time <= to);
    written.count() as f64 / (to - from)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let threads = args.next().map_or(Ok(2), |threads| threads.parse())?;
    let layout = args.next().map(|layout| layout.parse()).transpose()?;
    let options = Options {
        threads,
        layout,
        ..Options::default()
    };
    let weights = RandomWeights {
        shape: shape(),
        ternary: Some(Granularity::Tensor),
        seed: 1,
    };
    let engine = Engine::new(shape(), &weights, options)?;
    println!(
        "{} on {threads} threads, {:?}",
        options.kernel,
        engine.layout()
    );
    let options = BatchOptions {
        kv_bytes: 5 << 30,
        // Random weights repeat themselves: guesses would be right far too often.
        draft_tokens: 0,
        ..BatchOptions::default()
    };
    let mut batch = Batch::new(engine, options)?;

    println!("\ntexts at once: tokens a second in all, and each beside one alone (three turns)");
    let mut ratios = BTreeMap::<usize, Vec<(f64, f64)>>::new();
    for _ in 0..3 {
        let one = decode(&mut batch, 1, 48);
        for texts in [1, 2, 4, 8, 16, 32] {
            let all = if texts == 1 {
                one
            } else {
                decode(&mut batch, texts, 48)
            };
            ratios.entry(texts).or_default().push((all, all / one));
        }
    }
    for (texts, mut turns) in ratios {
        turns.sort_by(|a, b| a.1.total_cmp(&b.1));
        let [(low, least), (middle, ratio), (high, most)] = [turns[0], turns[1], turns[2]];
        println!(
            "{texts:3}: {middle:5.0} tokens/s ({low:.0}, {high:.0}), {ratio:.2} times one ({least:.2} to {most:.2}), each {:.2} of \
             its own speed",
            ratio / texts as f64
        );
    }

    println!(
        "\na conversation of 1,000 tokens, 40 written, 60 more asked: time to the first token"
    );
    for turn in 0..3 {
        batch.forget();
        let mut text = prompt(1000, 100 + turn);
        submit(&mut batch, text.clone(), 40);
        let mut written = Vec::new();
        let (mut first, start) = (0.0, Instant::now());
        while batch.step(&mut |_, event| {
            if let Event::Token(token) = event {
                first = if written.is_empty() {
                    start.elapsed().as_secs_f64()
                } else {
                    first
                };
                written.push(token.id);
            }
        }) {}
        text.extend(written);
        text.extend(prompt(60, 200 + turn));
        submit(&mut batch, text, 8);
        let second = run(&mut batch)
            .1
            .values()
            .map(|times| times[0])
            .sum::<f64>();
        println!(
            "first turn {first:.2} s, second {second:.3} s: {:.1} %",
            100.0 * second / first
        );
    }

    println!("\n32 requests at once, 512 tokens each, 64 written");
    batch.forget();
    (0..32).for_each(|text| submit(&mut batch, prompt(512, 300 + text), 64));
    let (seconds, seen) = run(&mut batch);
    let mut firsts: Vec<f64> = seen.values().map(|times| times[0]).collect();
    let pairs = seen.values().flat_map(|times| times.windows(2));
    let mut gaps: Vec<f64> = pairs.map(|pair| pair[1] - pair[0]).collect();
    println!(
        "{seconds:.1} s: {:.0} tokens read and {:.0} written a second; first token p50 {:.1} s, p95 {:.1} s; between tokens \
         p50 {:.0} ms, p95 {:.0} ms",
        32.0 * 512.0 / seconds,
        32.0 * 64.0 / seconds,
        quantile(&mut firsts, 0.5),
        quantile(&mut firsts, 0.95),
        1e3 * quantile(&mut gaps, 0.5),
        1e3 * quantile(&mut gaps, 0.95),
    );
    println!(
        "memory of keys and values: {} MB",
        batch.kv_bytes_used() / 1_000_000
    );
    Ok(())
}

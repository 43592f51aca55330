//! What the page does, without one: `cargo run --profile quick --example write -- MODEL PROMPT [TOKENS] [RUNS]` writes
//! greedily and prints the tokens and their speed as JSON, as `write.mjs` does of a module in node.

use std::{env, fs, time::Instant};

use bitnet_web::{Request, Writer};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let (Some(file), Some(prompt)) = (args.first(), args.get(1)) else {
        panic!("usage: write MODEL PROMPT [TOKENS] [RUNS]");
    };
    let number = |at: usize, default| {
        args.get(at)
            .map_or(default, |n| n.parse().expect("a number"))
    };
    let (count, runs) = (number(2, 200), number(3, 5));
    let bytes = fs::read(file).expect("the model is read");
    let mut writer = Writer::load(file, bytes, 2048).expect("the model is loaded");
    let (mut tokens, mut times) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let request = Request {
            prompt: prompt.clone(),
            messages: Vec::new(),
            max_tokens: count,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        };
        writer.begin(request).expect("a text to continue");
        tokens.clear();
        loop {
            let begin = Instant::now();
            let step = writer.step().expect("a step");
            times.push(begin.elapsed().as_secs_f64());
            tokens.extend(step.token);
            if step.end.is_some() {
                break;
            }
        }
    }
    times.sort_by(f64::total_cmp);
    let about = writer.about();
    let result = serde_json::json!({
        "kernel": about.kernel, "head": about.head, "writing": 1.0 / times[times.len() / 2], "tokens": tokens,
    });
    println!("{result}");
}

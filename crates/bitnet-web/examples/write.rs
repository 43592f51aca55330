//! What the page does, without one: `cargo run --profile quick --example write -- MODEL PROMPT [TOKENS] [RUNS]` writes
//! greedily and prints the tokens and their speed as JSON, as `write.mjs` does of a module in node: by the time that the
//! thread had a processor (Linux), without the first run.

use std::{env, fs};

use bitnet_web::{Request, Writer};

/// Seconds on a processor.
fn clock() -> f64 {
    let stat = fs::read_to_string("/proc/self/schedstat").expect("Linux");
    let nanoseconds = stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    nanoseconds.expect("nanoseconds") / 1e9
}

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
    let (mut tokens, mut written, mut seconds) = (Vec::new(), 0, 0.0);
    for run in 0..runs {
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
        let mut begin = None;
        loop {
            let step = writer.step().expect("a step");
            tokens.extend(step.token);
            if begin.is_none() && step.left == 0 {
                begin = Some(clock());
            }
            if step.end.is_some() {
                break;
            }
        }
        if let (Some(begin), true) = (begin, run > 0) {
            (written, seconds) = (written + tokens.len() - 1, seconds + clock() - begin);
        }
    }
    let about = writer.about();
    let result = serde_json::json!({
        "kernel": about.kernel, "head": about.head, "writing": written as f64 / seconds, "tokens": tokens,
    });
    println!("{result}");
}

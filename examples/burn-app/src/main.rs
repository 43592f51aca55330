//! A Burn app that asks a run which `bitnet train` or `bitnet compare` made, of its packed model, 2 bits per weight.
//!
//! ```sh
//! bitnet compare                                                       # trains runs/quickstart/ternary
//! cargo run --profile quick -p burn-app -- runs/quickstart/ternary "One morning "
//! ```
//!
//! A language model continues the text, a classifier tells its class: the two functions below are what to copy. The models
//! are Burn modules, on whatever backend `bitnet-train` has as a feature; [`TextClassifier`] is one with its tokenizer and
//! the names of its classes.

use std::error::Error;

use bitnet_models::{Sampler, Sampling, TensorRunner, Transformer, generate};
use bitnet_train::{Backend, RunDir, TextClassifier, load_exported};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, text] = &args[..] else {
        return Err("usage: burn-app RUN TEXT".into());
    };
    let run = RunDir::open(path)?;
    let answer = match run.config()?.task.name() {
        "lm" => continued(&run, text)?,
        "classify" => class(&run, text)?,
        other => return Err(format!("{path}: a run with task = {other:?} takes no text").into()),
    };
    println!("{answer}");
    Ok(())
}

/// A text with what a language model makes of it.
fn continued(run: &RunDir, text: &str) -> Result<String, Box<dyn Error>> {
    let device = Backend::Flex.device(0)?;
    let model: Transformer = load_exported(run, &device)?;
    let tokenizer = run.tokenizer()?;
    let prompt = tokenizer.encode(text)?;
    let mut runner = TensorRunner::new(&model, &device);
    let mut greedy = Sampler::new(Sampling::default())?;
    let written = generate(&mut runner, &prompt, 100, &mut greedy, |_| true)?;
    Ok(text.to_owned() + &tokenizer.decode(&written.tokens))
}

/// The likeliest class of a text.
fn class(run: &RunDir, text: &str) -> Result<String, Box<dyn Error>> {
    let device = Backend::Flex.device(0)?;
    let model = TextClassifier::open(run, false, &device)?;
    let found = model.probabilities(&[text])?;
    Ok(model.label_names()[found.likeliest(0)].clone())
}

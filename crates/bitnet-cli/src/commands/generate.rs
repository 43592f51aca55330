//! `bitnet generate MODEL --prompt TEXT`

use std::time::Instant;

use anyhow::bail;
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_data::SequenceVocabulary;
use bitnet_models::{
    EncoderDecoder, Runner, Sampler, Sampling, TensorRunner, Transformer, check_prompt, generate,
};
use bitnet_train::{RunDir, load_exported, load_latent, translate};
use serde::Serialize;

use super::Outcome;
use crate::args::{Format, GenerateArgs};
use crate::{output, setup};

#[derive(Serialize)]
struct Generated {
    prompt_tokens: usize,
    tokens: usize,
    text: String,
    ttft_ms: f64,
    tpot_ms: Option<f64>,
}

pub fn run(args: GenerateArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet generate` writes text or json");
    }
    let run = RunDir::open(&args.model)?;
    let config = run.config()?;
    match config.task {
        Kind::Lm => {}
        Kind::Translate | Kind::Synthetic => return translate_prompt(&args, &run, &config),
        task => bail!(
            "a run with task = \"{}\" writes no text; `bitnet eval` scores it",
            task.name()
        ),
    }
    setup::refuse_latent_engine(args.latent, &args.engine)?;
    let tokenizer = run.tokenizer()?;
    let prompt = tokenizer.encode(&args.prompt)?;
    let device = setup::open_device(&args.device)?;
    let model: Transformer = if args.latent {
        load_latent(&run, &device)?
    } else {
        load_exported(&run, &device)?
    };
    let model = setup::with_dtype(model, args.activations, args.device.backend, &device)?;
    let mut model: Box<dyn Runner + '_> = match args.latent {
        true => Box::new(TensorRunner::new(&model, &device)),
        false => setup::runner(&model, &device, &args.device, &args.engine)?,
    };
    check_prompt(&*model, &prompt)?;
    let mut sampler = Sampler::new(Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed,
    })?;
    let streaming = args.output.output == Format::Text;
    let mut text = Stopped::new(args.stop);
    let mut decoder = tokenizer.decoder();
    let mut failure = None;
    if streaming {
        output::piece(&args.prompt)?;
    }
    let mut show = |piece: &str| {
        if streaming && failure.is_none() {
            failure = output::piece(piece).err();
        }
        failure.is_none()
    };
    let generation = generate(
        &mut *model,
        &prompt,
        args.max_new_tokens,
        &mut sampler,
        |token| {
            let piece = text.push(&decoder.push(token));
            show(&piece) && !text.stopped
        },
    )?;
    let rest = text.finish(&decoder.finish());
    show(&rest);
    if let Some(error) = failure {
        return Err(error);
    }
    if streaming {
        output::line("")?;
    } else {
        output::json(&Generated {
            prompt_tokens: prompt.len(),
            tokens: generation.tokens.len(),
            text: text.all,
            ttft_ms: generation.time_to_first_token.as_secs_f64() * 1e3,
            tpot_ms: generation
                .time_per_output_token()
                .map(|time| time.as_secs_f64() * 1e3),
        })?;
    }
    Ok(Outcome::Done)
}

/// Writes what an encoder–decoder makes of the prompt, by beam search as its configuration says.
fn translate_prompt(
    args: &GenerateArgs,
    run: &RunDir,
    config: &RunConfig,
) -> anyhow::Result<Outcome> {
    let task = config.task.name();
    if let Some(flag) = args.language_model_flag() {
        bail!(
            "{flag} is for language models; this run (task = \"{task}\") writes by beam search, set by [decode] of its \
             configuration"
        );
    }
    setup::refuse_dtype(args.activations, "is for language models; leave it out")?;
    if let Some(flag) = args.engine.given() {
        bail!(
            "{flag} is for language models; this run (task = \"{task}\") computes on Burn's tensors"
        );
    }
    let vocabulary = SequenceVocabulary::new(run.tokenizer()?);
    let (tokens, most) = (
        vocabulary.encode(&args.prompt).len(),
        config.data.max_length - 1,
    );
    if tokens == 0 || tokens > most {
        bail!(
            "the prompt has {tokens} tokens, the model reads 1 to {most} (data.max_length, with the end mark)"
        );
    }
    let device = setup::open_device(&args.device)?;
    let model: EncoderDecoder = match args.latent {
        true => load_latent(run, &device)?,
        false => load_exported(run, &device)?,
    };
    let begin = Instant::now();
    let mut outputs = translate(&model, &vocabulary, config, &[&args.prompt], &device)?;
    let text = outputs.pop().unwrap_or_default();
    match args.output.output {
        Format::Json => {
            let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
            output::json(&Generated {
                prompt_tokens: tokens,
                tokens: vocabulary.encode(&text).len(),
                text,
                // A beam search shows nothing before it is done.
                ttft_ms: milliseconds,
                tpot_ms: None,
            })?;
        }
        _ => output::line(&text)?,
    }
    Ok(Outcome::Done)
}

/// Text up to the first stop string. What could be the beginning of one is held back until it is decided.
struct Stopped {
    stops: Vec<String>,
    held: String,
    all: String,
    stopped: bool,
}

impl Stopped {
    fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
            all: String::new(),
            stopped: false,
        }
    }

    /// Adds text and returns what may be shown.
    fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        let stop = self.stops.iter().filter_map(|s| self.held.find(s)).min();
        let shown = match stop {
            Some(at) => {
                self.stopped = true;
                at
            }
            None => self.held.len() - self.pending(),
        };
        let rest = self.held.split_off(shown);
        let out = std::mem::replace(&mut self.held, rest);
        self.all.push_str(&out);
        out
    }

    /// The end of the text: nothing is held back any more.
    fn finish(&mut self, piece: &str) -> String {
        let mut out = self.push(piece);
        if !self.stopped {
            let held = std::mem::take(&mut self.held);
            self.all.push_str(&held);
            out.push_str(&held);
        }
        out
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn pending(&self) -> usize {
        self.held
            .char_indices()
            .map(|(at, _)| &self.held[at..])
            .find(|end| self.stops.iter().any(|stop| stop.starts_with(end)))
            .map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, String) {
        let mut text = Stopped::new(stops.iter().map(|s| s.to_string()).collect());
        let mut shown: Vec<String> = pieces.iter().map(|piece| text.push(piece)).collect();
        shown.push(text.finish(""));
        (shown, text.all)
    }

    #[test]
    fn a_stop_string_split_over_pieces_is_never_shown() {
        let (shown, all) = run(&["END"], &["abc E", "N", "D more"]);
        assert_eq!(shown, ["abc ", "", "", ""]);
        assert_eq!(all, "abc ");
    }

    #[test]
    fn what_only_looked_like_a_stop_is_shown_late() {
        let (shown, all) = run(&["END"], &["E", "Nx", "EN"]);
        assert_eq!(shown, ["", "ENx", "", "EN"]);
        assert_eq!(all, "ENxEN");
    }

    #[test]
    fn without_stops_everything_is_shown_at_once() {
        let (shown, _) = run(&[""], &["é", "a"]);
        assert_eq!(shown, ["é", "a", ""]);
    }
}

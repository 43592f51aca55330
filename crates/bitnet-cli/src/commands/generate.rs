//! `bitnet generate MODEL --prompt TEXT`

use std::time::Instant;

use anyhow::{Context, bail};
use bitnet_config::{RunConfig, Task as Kind};
use bitnet_data::SequenceVocabulary;
use bitnet_models::{PrefixCache, check_prompt};
use bitnet_text::{Conversation, StopReason};
use bitnet_train::{Location, RunDir, Translator};
use serde::Serialize;

use super::Outcome;
use crate::answer::{self, Request};
use crate::args::{Format, GenerateArgs};
use crate::location;
use crate::model::{self, HowToRun};
use crate::{device, output, prompt, run_folder, sampling};

const NEW_TOKENS: usize = 128;

#[derive(Serialize)]
struct Generated {
    prompt_tokens: usize,
    tokens: usize,
    text: String,
    /// Of a language model.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<StopReason>,
    ttft_ms: f64,
    tpot_ms: Option<f64>,
}

pub fn run(args: GenerateArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet generate` writes text or json");
    }
    let text = prompt::read(&args.prompt, args.escape)?;
    let location = location::open(&args.model)?;
    if let Location::Run(run) = &location {
        let config = run.config()?;
        if matches!(config.task, Kind::Translate | Kind::Synthetic) {
            return translate_prompt(&args, &text, run, &config);
        }
    }
    let how = HowToRun {
        latent: args.latent,
        device: &args.device,
        engine: &args.engine,
        activations: args.activations,
    };
    let mut opened = model::open(location, &how)?;
    let prompt = match args.chat {
        true => {
            let mut conversation = Conversation::new(&opened.text, args.system.clone())?;
            if !conversation.has_template() {
                bail!("the model has no chat template; leave out --chat to continue the prompt");
            }
            conversation.push("user", text.as_str());
            conversation.prompt(&opened.text)?
        }
        false => opened.text.encode_prompt(&text, args.special)?,
    };
    check_prompt(&*opened.runner, &prompt)?;
    let mut sampler = sampling::sampler(&args.sampling, opened.text.defaults)?;
    let max_new_tokens = args.sampling.max_new_tokens.unwrap_or(NEW_TOKENS);
    let capacity = prompt.len().saturating_add(max_new_tokens);
    let capacity = opened.runner.context().min(capacity);
    let mut cache = PrefixCache::new(&mut *opened.runner, capacity)?;
    let streaming = args.output.output == Format::Text;
    if streaming && !args.chat {
        output::piece(&output::harmless(&text))?;
    }
    let request = Request {
        prompt: &prompt,
        max_new_tokens,
        stop: &args.sampling.stop,
        show_special: args.special,
        interrupted: None,
    };
    let answer =
        answer::write(
            &mut cache,
            &opened.text,
            &request,
            &mut sampler,
            |piece| match streaming {
                true => output::piece(&output::harmless(piece)),
                false => Ok(()),
            },
        )?;
    let generation = &answer.generation;
    let stop = answer.stop.context("nobody interrupts a generation")?;
    if streaming {
        output::line("")?;
        if !args.output.quiet {
            output::say(format_args!(
                "stopped at {} after {} tokens",
                stop.describe(),
                generation.tokens.len()
            ));
        }
    } else {
        output::json(&Generated {
            prompt_tokens: prompt.len(),
            tokens: generation.tokens.len(),
            stop: Some(stop),
            ttft_ms: generation.time_to_first_token.as_secs_f64() * 1e3,
            tpot_ms: generation
                .time_per_output_token()
                .map(|time| time.as_secs_f64() * 1e3),
            text: answer.text,
        })?;
    }
    Ok(Outcome::Done)
}

/// Writes what an encoder–decoder makes of the prompt, by beam search as its configuration says.
fn translate_prompt(
    args: &GenerateArgs,
    prompt: &str,
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
    device::refuse_dtype(args.activations, "is for language models; leave it out")?;
    if let Some(flag) = args.engine.given() {
        bail!("{flag} is for language models; leave it out for this run (task = \"{task}\")");
    }
    let vocabulary = SequenceVocabulary::new(run.tokenizer()?);
    let (tokens, most) = (vocabulary.encode(prompt).len(), config.data.max_length - 1);
    if tokens == 0 || tokens > most {
        bail!(
            "the prompt has {tokens} tokens, the model reads 1 to {most} (data.max_length, with the end mark)"
        );
    }
    let device = device::open(&args.device)?;
    if !args.latent {
        run_folder::note_of_export(run)?;
    }
    let model = Translator::open(run, args.latent, &device)?;
    let begin = Instant::now();
    let mut outputs = model.translate(&[prompt])?;
    let text = outputs.pop().unwrap_or_default();
    match args.output.output {
        Format::Json => {
            let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
            output::json(&Generated {
                prompt_tokens: tokens,
                tokens: vocabulary.encode(&text).len(),
                text,
                stop: None,
                // A beam search shows nothing before it is done.
                ttft_ms: milliseconds,
                tpot_ms: None,
            })?;
        }
        _ => output::line(&text)?,
    }
    Ok(Outcome::Done)
}

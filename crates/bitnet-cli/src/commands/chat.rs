//! `bitnet chat MODEL`

mod commands;
mod editor;
mod input;

use std::fs;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bitnet_models::{GenerateError, PrefixCache, Sampler};
use bitnet_text::{Conversation, StopReason, TemplateValue, TextModel};

use self::commands::Command;
use self::input::{Input, Line};
use super::Outcome;
use crate::answer::{self, Answer, Request};
use crate::args::ChatArgs;
use crate::location;
use crate::model::{self, HowToRun, Opened};
use crate::{interrupt, output, sampling};

/// Most tokens of an answer.
const NEW_TOKENS: usize = 1024;
/// Most tokens of a conversation whose model takes more: keys and values of all of them are reserved.
const CONTEXT: usize = 4096;

pub fn run(args: ChatArgs) -> anyhow::Result<Outcome> {
    let how = HowToRun {
        latent: args.latent,
        device: &args.device,
        engine: &args.engine,
        activations: args.activations,
    };
    let Opened { mut runner, text } = model::open(location::open(&args.model)?, &how)?;
    let text = with_template(text, &args)?;
    let mut conversation = Conversation::new(&text, args.system.clone())?;
    for variable in &args.template_var {
        let (name, value) = template_variable(variable)?;
        conversation.render.variables.insert(name, value);
    }
    let model_context = runner.context();
    let context = match args.context {
        Some(0) => model_context,
        Some(context) if context > model_context => {
            bail!("--context {context} is out of range: the model takes up to {model_context}")
        }
        Some(context) => context,
        None => CONTEXT.min(model_context),
    };
    let mut sampler = sampling::sampler(&args.sampling, text.defaults)?;
    let interactive = io::stdin().is_terminal();
    if !conversation.has_template() {
        output::say(format_args!(
            "the model has no chat template: it continues your text and its own as one"
        ));
    }
    if interactive && !args.quiet {
        output::say(format_args!(
            "/help lists the commands; Ctrl-C stops an answer, Ctrl-D ends"
        ));
    }
    let mut chat = Chat {
        cache: PrefixCache::new(&mut *runner, context)?,
        text: &text,
        conversation,
        sampler: &mut sampler,
        args: &args,
        interrupted: interrupt::watch_answers()?,
        totals: Totals::default(),
    };
    let mut input = Input::new(interactive)?;
    loop {
        let line = match input.line()? {
            Line::Text(line) => line,
            Line::Interrupted => {
                output::say(format_args!("Ctrl-D or /quit ends"));
                continue;
            }
            Line::End => return Ok(Outcome::Done),
        };
        if line.trim().is_empty() {
            continue;
        }
        let done = match Command::parse(&line) {
            Some(Ok(Command::Quit)) => return Ok(Outcome::Done),
            Some(Ok(command)) => chat.run(command),
            Some(Err(error)) => Err(error),
            None => chat.turn(
                line.strip_prefix("//")
                    .map_or(line.clone(), |rest| format!("/{rest}")),
            ),
        };
        match done {
            Ok(()) => {}
            Err(error) if output::is_broken_pipe(&error) => return Err(error),
            // Somebody at a terminal can do something about it.
            Err(error) if interactive => output::say(format_args!("error: {error:#}")),
            Err(error) => return Err(error),
        }
        if !interactive && chat.interrupted.load(Ordering::Relaxed) {
            return Ok(Outcome::Interrupted);
        }
    }
}

/// The text side, with the template that was given if one was.
fn with_template(text: TextModel, args: &ChatArgs) -> anyhow::Result<TextModel> {
    let Some(path) = &args.chat_template else {
        return Ok(text);
    };
    let source =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.with_template(Some(source)))
}

/// `NAME=VALUE`, whose value is JSON or else text.
fn template_variable(text: &str) -> anyhow::Result<(String, TemplateValue)> {
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        bail!("--template-var {text}: expected NAME=VALUE");
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.into(), value))
}

/// What happened so far.
#[derive(Default)]
struct Totals {
    answers: usize,
    /// Tokens of all prompts, those that had been read before, and tokens of all answers.
    prompt_tokens: usize,
    reused_tokens: usize,
    new_tokens: usize,
    /// Until the first token of each answer, and for the rest of them.
    reading: Duration,
    writing: Duration,
}

struct Chat<'a> {
    cache: PrefixCache<'a>,
    text: &'a TextModel,
    conversation: Conversation,
    sampler: &'a mut Sampler,
    args: &'a ChatArgs,
    interrupted: &'static AtomicBool,
    totals: Totals,
}

impl Chat<'_> {
    /// A message and its answer. A message that gets none is taken back.
    fn turn(&mut self, message: String) -> anyhow::Result<()> {
        self.conversation.push("user", message);
        match self.answer() {
            Ok(answer) if answer.text.is_empty() && answer.stop.is_none() => {
                self.conversation.pop();
                Ok(())
            }
            Ok(answer) => {
                let tokens = &answer.generation.tokens;
                self.conversation.answer(self.text, answer.text, tokens);
                Ok(())
            }
            Err(error) => {
                self.conversation.pop();
                Err(error)
            }
        }
    }

    fn answer(&mut self) -> anyhow::Result<Answer> {
        let prompt = self.conversation.prompt(self.text)?;
        self.interrupted.store(false, Ordering::Relaxed);
        let sampling = &self.args.sampling;
        let request = Request {
            prompt: &prompt,
            max_new_tokens: sampling.max_new_tokens.unwrap_or(NEW_TOKENS),
            stop: &sampling.stop,
            show_special: false,
            interrupted: Some(self.interrupted),
        };
        let show = |piece: &str| output::piece(&output::harmless(piece));
        let answer = answer::write(&mut self.cache, self.text, &request, self.sampler, show);
        let answer = answer.map_err(|error| self.explain(error))?;
        output::line("")?;
        let generation = &answer.generation;
        let totals = &mut self.totals;
        totals.answers += 1;
        totals.prompt_tokens += prompt.len();
        totals.reused_tokens += generation.reused;
        totals.new_tokens += generation.tokens.len();
        totals.reading += generation.time_to_first_token;
        totals.writing += generation.total - generation.time_to_first_token;
        if !self.args.quiet {
            output::say(format_args!("{}", summary(&answer, prompt.len())));
        }
        if answer.stop == Some(StopReason::Context) {
            output::say(format_args!("{}", self.full()));
        }
        Ok(answer)
    }

    fn full(&self) -> String {
        format!(
            "the context of {} tokens is full; /reset begins anew, --context makes room for more",
            self.cache.capacity()
        )
    }

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<GenerateError>() {
            Some(GenerateError::PromptTooLong { tokens, .. }) => {
                anyhow::anyhow!("the conversation has {tokens} tokens: {}", self.full())
            }
            _ => error,
        }
    }
}

/// `[12 tokens, 34.5 tokens/s; 40 of 52 prompt tokens kept, first after 0.12 s; stopped at the end token]`
fn summary(answer: &Answer, prompt: usize) -> String {
    let generation = &answer.generation;
    let speed = generation.time_per_output_token();
    let speed = speed.map_or(String::new(), |time| {
        format!(", {:.1} tokens/s", 1.0 / time.as_secs_f64().max(1e-9))
    });
    let stop = answer.stop.map_or("interrupted".to_owned(), |stop| {
        format!("stopped at {}", stop.describe())
    });
    format!(
        "[{} tokens{speed}; {} of {prompt} prompt tokens kept, first after {:.2} s; {stop}]",
        generation.tokens.len(),
        generation.reused,
        generation.time_to_first_token.as_secs_f64(),
    )
}

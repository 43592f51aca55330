//! A model and the text that it writes.

use bitnet_engine::{Engine, EngineError, Options, Session};
use bitnet_formats::{FileBytes, ModelFile, gguf::GgufFile, gguf::GgufModel};
use bitnet_generate::{Sampler, Sampling, SamplingError, Vocabulary};
use bitnet_load::{Checkpoint, LoadError};
use bitnet_text::{Message, Render, StopReason, TextDecoder, TextError, TextModel};
use serde::{Deserialize, Serialize};

/// Tokens of a prompt that are read in one step: some milliseconds of a small model, after which a page can answer.
const CHUNK: usize = 32;

/// A model that cannot be loaded, or a text that it cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The file.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its tokenizer, its template, or a text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A setting.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A conversation with a model that has no template for one.
    #[error("the model has no chat template: let it continue a text instead")]
    NoTemplate,
    /// Nothing to continue.
    #[error("there is no text to continue: write some")]
    NoText,
    /// A prompt that leaves no room.
    #[error(
        "the text has {tokens} tokens and the context {context}: shorten it, or load the model again with a longer one"
    )]
    Long {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of the context.
        context: usize,
    },
}

impl From<bitnet_formats::Error> for WebError {
    fn from(error: bitnet_formats::Error) -> WebError {
        LoadError::from(error).into()
    }
}

/// What there is to say about a model.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// Its sizes in words.
    pub shape: String,
    /// Bytes of its weights in memory.
    pub weights: usize,
    /// Tokens of the longest text.
    pub context: usize,
    /// Bytes of the keys and values of such a text.
    pub cache: usize,
    /// The kernel that multiplies.
    pub kernel: &'static str,
    /// How the head is held.
    pub head: String,
    /// Whether it has a template for conversations.
    pub chat: bool,
    /// What was suspicious in the file.
    pub warnings: Vec<String>,
    /// How its authors sample.
    pub defaults: Defaults,
}

/// Sampling settings that a file suggests; what it does not say is `null`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Defaults {
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
}

/// What is to be written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// A text to continue; not with `messages`.
    #[serde(default)]
    pub prompt: String,
    /// A conversation whose next message is to be written.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// Most tokens to write.
    pub max_tokens: usize,
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 is off.
    pub top_k: usize,
    /// 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub min_p: f32,
    /// 1 is off.
    pub repetition_penalty: f32,
    /// Of the draws.
    pub seed: u64,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The model ended it.
    Eos,
    /// As many tokens as were asked for.
    Length,
    /// The context is full.
    Context,
}

impl End {
    fn reason(self) -> StopReason {
        match self {
            End::Eos => StopReason::Eos,
            End::Length => StopReason::Length,
            End::Context => StopReason::Context,
        }
    }
}

/// What a step did.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Tokens that were read: a part of the prompt, or the one written before.
    pub read: usize,
    /// Tokens of the prompt that are still to be read.
    pub left: usize,
    /// Tokens in the context.
    pub context: usize,
    /// The token that was written.
    pub token: Option<u32>,
    /// Text that is certain by now.
    pub text: String,
    /// Why it is at its end.
    pub end: Option<End>,
    /// The same in words.
    pub why: Option<&'static str>,
}

/// An answer that is being written.
struct Answer {
    /// Tokens to read: the prompt's rest, then the one written last.
    unread: Vec<u32>,
    sampler: Sampler,
    decoder: TextDecoder,
    /// Tokens of the prompt.
    prompt: usize,
    /// Tokens that may still be written.
    left: usize,
}

/// A model with the text that it is writing.
pub struct Writer {
    checkpoint_shape: String,
    warnings: Vec<String>,
    vocabulary: Vocabulary,
    text: TextModel,
    engine: Engine,
    session: Session,
    /// The tokens in the session.
    known: Vec<u32>,
    answer: Option<Answer>,
}

impl Writer {
    /// Reads a GGUF file. `name` is what errors call it; the context is `context` tokens, at most what the model can.
    ///
    /// # Errors
    ///
    /// If it is no GGUF file, damaged, or of a model that does not run.
    pub fn load(name: &str, bytes: Vec<u8>, context: usize) -> Result<Writer, WebError> {
        let file = GgufModel::from_file(GgufFile::from_bytes(FileBytes::from_vec(name, bytes))?)?;
        let checkpoint = Checkpoint::of(name, ModelFile::Gguf(file));
        let text = TextModel::from_model_file(checkpoint.file())?;
        // A template that is not Jinja is found now, not after the first message.
        text.chat_template()?;
        let engine = checkpoint.engine(Options {
            threads: 1,
            ..Options::default()
        })?;
        let shape = engine.shape();
        let session = engine.session(context.clamp(1, shape.max_position_embeddings))?;
        let description = checkpoint.description();
        Ok(Writer {
            checkpoint_shape: format!(
                "{}, {} blocks of width {}, {} tokens",
                description.family.value,
                shape.num_hidden_layers,
                shape.hidden_size,
                shape.vocab_size
            ),
            warnings: description.warnings.clone(),
            vocabulary: Vocabulary::new(text.tokenizer.vocab_size(), text.tokenizer.holes()),
            text,
            engine,
            session,
            known: Vec::new(),
            answer: None,
        })
    }

    /// What there is to say about it.
    pub fn about(&self) -> About {
        let defaults = self.text.defaults;
        About {
            shape: self.checkpoint_shape.clone(),
            weights: self.engine.weight_bytes(),
            context: self.session.capacity(),
            cache: self.session.bytes(),
            kernel: self.engine.options().kernel.name(),
            head: self.engine.head(),
            chat: self.text.template_source().is_some(),
            warnings: self.warnings.clone(),
            defaults: Defaults {
                temperature: defaults.temperature,
                top_k: defaults.top_k,
                top_p: defaults.top_p,
                min_p: defaults.min_p,
                repetition_penalty: defaults.repetition_penalty,
            },
        }
    }

    /// Begins a text in the place of the one before. What both have in front alike is not read again.
    ///
    /// # Errors
    ///
    /// If there is nothing to continue or no room to, the template refuses the conversation, or a setting is out of range.
    pub fn begin(&mut self, request: Request) -> Result<(), WebError> {
        self.answer = None;
        let sampler = Sampler::new(Sampling {
            temperature: request.temperature,
            top_k: request.top_k,
            top_p: request.top_p,
            min_p: request.min_p,
            repetition_penalty: request.repetition_penalty,
            seed: request.seed,
            ..Sampling::default()
        })?;
        let prompt = match request.messages.is_empty() {
            true => self.text.encode_prompt(&request.prompt, false)?,
            false => {
                let template = self.text.chat_template()?.ok_or(WebError::NoTemplate)?;
                let how = Render {
                    add_generation_prompt: true,
                    ..Render::default()
                };
                self.text.encode_chat(&template, &request.messages, &how)?
            }
        };
        let (tokens, context) = (prompt.len(), self.session.capacity());
        if tokens == 0 {
            return Err(WebError::NoText);
        }
        if tokens > context {
            return Err(WebError::Long { tokens, context });
        }
        let pairs = self.known.iter().zip(&prompt);
        // The last token is read again, for its logits.
        let common = pairs.take_while(|(a, b)| a == b).count().min(tokens - 1);
        self.session.truncate(common);
        self.known.truncate(common);
        self.answer = Some(Answer {
            unread: prompt[common..].to_vec(),
            sampler,
            decoder: self.text.tokenizer.decoder(false),
            prompt: tokens,
            left: request.max_tokens,
        });
        Ok(())
    }

    /// Reads a part of the prompt or writes a token. Once it has said why the text ended, it does nothing.
    ///
    /// # Errors
    ///
    /// If the model refuses its own file's tokens.
    pub fn step(&mut self) -> Result<Step, WebError> {
        let mut step = Step {
            read: 0,
            left: 0,
            context: self.known.len(),
            token: None,
            text: String::new(),
            end: None,
            why: None,
        };
        let Some(answer) = &mut self.answer else {
            return Ok(step);
        };
        let count = CHUNK.min(answer.unread.len());
        let part: Vec<u32> = answer.unread.drain(..count).collect();
        let logits = self.engine.forward(&mut self.session, &part)?;
        self.known.extend_from_slice(&part);
        (step.read, step.left, step.context) = (count, answer.unread.len(), self.known.len());
        if step.left > 0 {
            return Ok(step);
        }
        let logits = self.vocabulary.masked(logits);
        let token = (answer.sampler).sample(&logits, &self.known, answer.prompt);
        step.end = if answer.left == 0 {
            Some(End::Length)
        } else if self.text.eos.contains(&token) {
            Some(End::Eos)
        } else {
            answer.left -= 1;
            step.token = Some(token);
            step.text = answer.decoder.push(token);
            answer.unread.push(token);
            if answer.left == 0 {
                Some(End::Length)
            } else if self.known.len() == self.session.capacity() {
                Some(End::Context)
            } else {
                None
            }
        };
        if let Some(end) = step.end
            && let Some(answer) = self.answer.take()
        {
            step.why = Some(end.reason().describe());
            step.text.push_str(&answer.decoder.finish());
        }
        Ok(step)
    }
}

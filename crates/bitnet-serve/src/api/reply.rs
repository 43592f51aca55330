//! The shapes of answers: OpenAI's, of chats and of completions, whole and in chunks.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bitnet_generate::TokenLogprobs;
use bitnet_text::Tokenizer;
use serde_json::{Map, Value, json};

use super::generate::Prompt;
use crate::{
    answer::Told,
    asked::{Asked, random},
    model::{Model, Ready},
};

/// The log-probability of what cannot be, which JSON has no number for; OpenAI's.
const NEVER: f32 = -9999.0;
const FINGERPRINT: &str = concat!("bitnet-", env!("CARGO_PKG_VERSION"));

/// Which endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

/// What an answer took, in tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    pub(crate) completion: usize,
}

/// What all parts of an answer have in common.
pub(crate) struct Reply {
    kind: Kind,
    id: String,
    created: u64,
    model: Arc<Model>,
    prompts: Vec<Prompt>,
    n: usize,
    logprobs: bool,
    include_usage: bool,
    /// Of each choice of a stream, whether its prompt is still to be shown.
    to_echo: Vec<bool>,
}

impl Reply {
    pub(crate) fn new(kind: Kind, model: Arc<Model>, prompts: Vec<Prompt>, asked: &Asked) -> Self {
        let prefix = match kind {
            Kind::Chat => "chatcmpl",
            Kind::Text => "cmpl",
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let each = |prompt: &Prompt| vec![prompt.echo.is_some(); asked.n];
        Self {
            kind,
            id: format!("{prefix}-{:016x}{:016x}", random(), random()),
            created: since.map_or(0, |time| time.as_secs()),
            model,
            to_echo: prompts.iter().flat_map(each).collect(),
            prompts,
            n: asked.n,
            logprobs: asked.logprobs.is_some(),
            include_usage: asked.include_usage,
        }
    }

    pub(crate) fn choices(&self) -> usize {
        self.to_echo.len()
    }

    /// The whole answer.
    pub(crate) fn whole(&self, choices: Vec<Value>, usage: Usage) -> Value {
        let object = match self.kind {
            Kind::Chat => "chat.completion",
            Kind::Text => "text_completion",
        };
        let mut reply = self.frame(object, choices);
        reply.insert("usage".into(), usage.json());
        reply.into()
    }

    /// A choice of it.
    pub(crate) fn choice(
        &self,
        index: usize,
        text: &str,
        (prompt, tokens): (&[TokenLogprobs], &[Told]),
        finish: Option<&str>,
    ) -> Value {
        match self.kind {
            Kind::Chat => json!({
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": self.chat_logprobs(tokens),
                "finish_reason": finish,
            }),
            Kind::Text => {
                let echo = self.prompt(index).echo.as_deref().unwrap_or_default();
                json!({
                    "index": index,
                    "text": format!("{echo}{text}"),
                    "logprobs": self.text_logprobs(index, Some(prompt), tokens),
                    "finish_reason": finish,
                })
            }
        }
    }

    /// What a stream begins with: the role of each choice.
    pub(crate) fn first_chunks(&self) -> Vec<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        let role = |index| self.chunk(index, &delta, Value::Null, None);
        match self.kind {
            Kind::Chat => (0..self.choices()).map(role).collect(),
            Kind::Text => Vec::new(),
        }
    }

    /// The log-probabilities of a prompt, with its text.
    pub(crate) fn prompt_chunk(&mut self, index: usize, tokens: &[TokenLogprobs]) -> Option<Value> {
        if !std::mem::take(&mut self.to_echo[index]) {
            return None;
        }
        let echo = self.prompt(index).echo.as_deref().unwrap_or_default();
        let logprobs = self.text_logprobs(index, Some(tokens), &[]);
        Some(self.chunk(index, &echo.into(), logprobs, None))
    }

    /// A piece of a choice, and its end.
    pub(crate) fn chunks(
        &mut self,
        index: usize,
        text: &str,
        tokens: &[Told],
        finish: Option<&str>,
    ) -> Vec<Value> {
        let mut chunks: Vec<Value> = self.prompt_chunk(index, &[]).into_iter().collect();
        let chat = self.kind == Kind::Chat;
        if !text.is_empty() || (self.logprobs && !tokens.is_empty()) {
            let (delta, logprobs) = match chat {
                true => (json!({"content": text}), self.chat_logprobs(tokens)),
                false => (text.into(), self.text_logprobs(index, None, tokens)),
            };
            chunks.push(self.chunk(index, &delta, logprobs, None));
        }
        if finish.is_some() {
            let delta = if chat { json!({}) } else { "".into() };
            chunks.push(self.chunk(index, &delta, Value::Null, finish));
        }
        chunks
    }

    /// What a stream took.
    pub(crate) fn usage_chunk(&self, usage: Usage) -> Value {
        let mut chunk = self.frame(self.chunk_object(), Vec::new());
        chunk.insert("usage".into(), usage.json());
        chunk.into()
    }

    fn chunk(&self, index: usize, delta: &Value, logprobs: Value, finish: Option<&str>) -> Value {
        let key = match self.kind {
            Kind::Chat => "delta",
            Kind::Text => "text",
        };
        let choice = json!({
            "index": index, key: delta, "logprobs": logprobs, "finish_reason": finish,
        });
        let mut chunk = self.frame(self.chunk_object(), vec![choice]);
        if self.include_usage {
            chunk.insert("usage".into(), Value::Null);
        }
        chunk.into()
    }

    fn chunk_object(&self) -> &'static str {
        match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Text => "text_completion",
        }
    }

    fn frame(&self, object: &str, choices: Vec<Value>) -> Map<String, Value> {
        [
            ("id", self.id.as_str().into()),
            ("object", object.into()),
            ("created", self.created.into()),
            ("model", self.model.name.as_str().into()),
            ("system_fingerprint", FINGERPRINT.into()),
            ("choices", choices.into()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
    }

    fn prompt(&self, choice: usize) -> &Prompt {
        &self.prompts[choice / self.n]
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        let ready: Option<&Ready> = self.model.ready().ok();
        ready.map(|ready| &ready.text.tokenizer)
    }

    /// A token as a text: of bytes that are no text, OpenAI writes them out.
    fn token(&self, id: u32) -> (String, Vec<u8>) {
        let bytes = self.tokenizer().and_then(|tokenizer| tokenizer.piece(id));
        let bytes = bytes.unwrap_or_default().to_vec();
        let text = match str::from_utf8(&bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                let hex = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
                format!("bytes:{}", hex.collect::<String>())
            }
        };
        (text, bytes)
    }

    fn chat_logprobs(&self, tokens: &[Told]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let entry = |id, logprob| {
            let (token, bytes) = self.token(id);
            json!({"token": token, "logprob": finite(logprob), "bytes": bytes})
        };
        let content = tokens.iter().filter_map(|told| {
            let told = told.logprobs.as_ref()?;
            let mut token = entry(told.id, told.logprob);
            let top = told.top.iter().map(|(id, logprob)| entry(*id, *logprob));
            token["top_logprobs"] = top.collect();
            Some(token)
        });
        json!({"content": content.collect::<Vec<_>>(), "refusal": null})
    }

    /// Of a prompt that is shown, and of tokens after it.
    fn text_logprobs(
        &self,
        index: usize,
        prompt: Option<&[TokenLogprobs]>,
        tokens: &[Told],
    ) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        let mut all = TextLogprobs::default();
        let shown = self.prompt(index);
        let echo = shown.echo.as_ref();
        if let (Some(prompt), Some(_), Some(tokenizer)) = (prompt, echo, self.tokenizer()) {
            let mut decoder = tokenizer.decoder(false);
            let mut offset = 0;
            for (place, id) in shown.tokens.iter().enumerate().skip(shown.start) {
                let told = place.checked_sub(1).and_then(|place| prompt.get(place));
                all.push(self, *id, told, offset);
                offset += decoder.push(*id).chars().count();
            }
        }
        let before = echo.map_or(0, |echo| echo.chars().count());
        for told in tokens {
            if let Some(logprobs) = &told.logprobs {
                all.push(
                    self,
                    logprobs.id,
                    Some(logprobs),
                    before + told.start.characters,
                );
            }
        }
        json!({
            "tokens": all.tokens, "token_logprobs": all.logprobs, "top_logprobs": all.top,
            "text_offset": all.offsets,
        })
    }
}

/// Log-probabilities in the columns of completions.
#[derive(Default)]
struct TextLogprobs {
    tokens: Vec<String>,
    logprobs: Vec<Option<f32>>,
    top: Vec<Value>,
    offsets: Vec<usize>,
}

impl TextLogprobs {
    fn push(&mut self, reply: &Reply, id: u32, told: Option<&TokenLogprobs>, offset: usize) {
        self.tokens.push(reply.token(id).0);
        self.logprobs.push(told.map(|told| finite(told.logprob)));
        self.top.push(told.map_or(Value::Null, |told| {
            let top = told
                .top
                .iter()
                .map(|(id, logprob)| (reply.token(*id).0, Value::from(finite(*logprob))));
            top.collect::<Map<_, _>>().into()
        }));
        self.offsets.push(offset);
    }
}

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        })
    }
}

fn finite(logprob: f32) -> f32 {
    // NaN is not above it either.
    if logprob > NEVER { logprob } else { NEVER }
}

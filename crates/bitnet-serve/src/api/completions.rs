//! `/v1/completions`: texts, and how the model continues them.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, response::Response};
use serde_json::Value;

use super::{
    chat::MOST_LOGPROBS,
    generate::{self, Asking, Prompt},
    reply::Kind,
};
use crate::{
    app::App,
    asked::{Asked, MaxTokens},
    error::ApiError,
    fields::{Fields, wrong},
    guard::Visit,
    model::Ready,
};

/// Tokens of an answer that is not told how many, as OpenAI has it.
const TOKENS: usize = 16;

pub(crate) async fn completions(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    body: Body,
) -> Result<Response, ApiError> {
    generate::understand_and_answer(app, visit, body, understand).await
}

fn understand(app: &App, body: &[u8]) -> Result<Asking, ApiError> {
    let mut fields = Fields::parse(body)?;
    let mut asked = Asked::take(&mut fields)?;
    let logprobs = fields.integer("logprobs", 0..=MOST_LOGPROBS)?;
    asked.logprobs = logprobs.map(|count| count as usize);
    let echo = fields.boolean("echo")?.unwrap_or(false);
    let best_of = fields.integer("best_of", 1..=i64::MAX)?;
    if best_of.is_some_and(|best_of| best_of != asked.n as i64) {
        return Err(ApiError::unsupported("best_of"));
    }
    fields.refuse(&["suffix"])?;
    let prompt = match fields.take("prompt") {
        Some(prompt) => Texts::of("prompt", prompt)?,
        None => return Err(ApiError::field("prompt", "`prompt` is missing")),
    };
    fields.finish()?;
    if asked.max_tokens == MaxTokens::Absent {
        asked.max_tokens = MaxTokens::At(TOKENS);
    }
    let model = app.model(asked.model.as_deref())?.clone();
    let count = prompt.len();
    let most = app.settings.limits.choices;
    if count > most {
        let message = format!("`prompt`: {count} texts; the server takes {most}");
        return Err(ApiError::field("prompt", message));
    }
    let places = model.ready()?.places(count.saturating_mul(asked.n))?;
    let ready = model.ready()?;
    let start = ready.text.tokenizer.prefix().len();
    let prompts = prompt.encode("prompt", ready, |text| {
        ready.text.encode_prompt(text, false)
    })?;
    let prompts = prompts.into_iter().map(|(text, tokens)| Prompt {
        start: if text.is_some() { start } else { 0 },
        echo: echo.then(|| text.unwrap_or_else(|| decoded(ready, &tokens))),
        tokens,
    });
    let prompts = (prompts.collect(), "prompt");
    Asking::new(app, model.clone(), asked, Kind::Text, prompts, places)
}

/// The text of tokens as it will be continued.
fn decoded(ready: &Ready, tokens: &[u32]) -> String {
    let mut decoder = ready.text.tokenizer.decoder(false);
    let mut text: String = tokens.iter().map(|token| decoder.push(*token)).collect();
    text.push_str(&decoder.finish());
    text
}

/// A prompt's text, if it is one, and its tokens.
pub(crate) type Encoded = (Option<String>, Vec<u32>);

/// One text or several, as strings or as token ids.
pub(crate) enum Texts {
    Strings(Vec<String>),
    Ids(Vec<Vec<u32>>),
}

impl Texts {
    /// A string, a list of strings, a list of ids, or a list of lists of ids.
    pub(crate) fn of(name: &str, value: Value) -> Result<Self, ApiError> {
        let expected = "a string, token ids, or a list of either";
        match value {
            Value::String(text) => Ok(Self::Strings(vec![text])),
            Value::Array(items) if items.first().is_some_and(Value::is_string) => {
                let texts = items.iter().enumerate().map(|(index, item)| match item {
                    Value::String(text) => Ok(text.clone()),
                    other => Err(wrong(&format!("{name}[{index}]"), "a string", other)),
                });
                Ok(Self::Strings(texts.collect::<Result<_, _>>()?))
            }
            Value::Array(items) if items.first().is_some_and(Value::is_array) => {
                let lists = items.iter().enumerate();
                let lists = lists.map(|(index, item)| ids(&format!("{name}[{index}]"), item));
                Ok(Self::Ids(lists.collect::<Result<_, _>>()?))
            }
            list @ Value::Array(_) => Ok(Self::Ids(vec![ids(name, &list)?])),
            other => Err(wrong(name, expected, &other)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Strings(texts) => texts.len(),
            Self::Ids(lists) => lists.len(),
        }
    }

    /// Each with its tokens.
    pub(crate) fn encode(
        self,
        name: &str,
        ready: &Ready,
        encode: impl Fn(&str) -> Result<Vec<u32>, bitnet_text::TextError>,
    ) -> Result<Vec<Encoded>, ApiError> {
        match self {
            Self::Strings(texts) => {
                let each = |text: String| match encode(&text) {
                    Ok(tokens) => Ok((Some(text), tokens)),
                    Err(error) => Err(ApiError::field(name, error.to_string())),
                };
                texts.into_iter().map(each).collect()
            }
            Self::Ids(lists) => {
                let is_unknown = |id: &&u32| ready.text.tokenizer.piece(**id).is_none();
                let unknown = lists.iter().flatten().find(is_unknown);
                if let Some(id) = unknown {
                    let message = format!("`{name}`: the model has no token {id}");
                    return Err(ApiError::field(name, message));
                }
                Ok(lists.into_iter().map(|ids| (None, ids)).collect())
            }
        }
    }
}

/// Token ids.
pub(crate) fn ids(name: &str, value: &Value) -> Result<Vec<u32>, ApiError> {
    let items = value.as_array().filter(|items| !items.is_empty());
    let id = |item: &Value| item.as_u64().and_then(|id| u32::try_from(id).ok());
    let found = items.and_then(|items| items.iter().map(id).collect());
    found.ok_or_else(|| wrong(name, "token ids, at least one", value))
}

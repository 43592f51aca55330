//! `/v1/chat/completions`: a conversation, and the model's next turn.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, response::Response};
use bitnet_text::{Message, Render, TemplateValue, TextError};
use serde_json::Value;

use super::{
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

/// The most of the likeliest tokens that are told.
pub(crate) const MOST_LOGPROBS: i64 = 20;
/// Messages of a conversation.
const MOST_MESSAGES: usize = 4096;
/// What OpenAI has and this server has not.
const UNSUPPORTED: [&str; 11] = [
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "audio",
    "prediction",
    "reasoning_effort",
    "verbosity",
    "web_search_options",
    "moderation",
];
/// What a template is told by other means.
const RESERVED: [&str; 4] = ["messages", "add_generation_prompt", "tools", "documents"];

pub(crate) async fn chat(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    body: Body,
) -> Result<Response, ApiError> {
    generate::understand_and_answer(app, visit, body, understand).await
}

fn understand(app: &App, body: &[u8]) -> Result<Asking, ApiError> {
    let mut fields = Fields::parse(body)?;
    let mut asked = Asked::take(&mut fields)?;
    asked.logprobs = logprobs(&mut fields)?;
    fields.refuse(&UNSUPPORTED)?;
    only_text(&mut fields)?;
    let conversation = Conversation::take(&mut fields)?;
    fields.finish()?;
    if asked.max_tokens == MaxTokens::Absent {
        asked.max_tokens = MaxTokens::Room;
    }
    let model = app.model(asked.model.as_deref())?.clone();
    let places = model.ready()?.places(asked.n)?;
    let tokens = conversation.encode(model.ready()?)?;
    let prompts = vec![Prompt::of_tokens(tokens)];
    Asking::new(
        app,
        model.clone(),
        asked,
        Kind::Chat,
        (prompts, "messages"),
        places,
    )
}

fn logprobs(fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    let told = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.integer("top_logprobs", 0..=MOST_LOGPROBS)?;
    match (told, top) {
        (true, top) => Ok(Some(top.unwrap_or(0) as usize)),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(ApiError::field(
            "top_logprobs",
            "`top_logprobs` is for `logprobs: true` alone",
        )),
    }
}

/// `modalities` may say text.
fn only_text(fields: &mut Fields) -> Result<(), ApiError> {
    match fields.take("modalities") {
        Some(value) if value != serde_json::json!(["text"]) => {
            Err(ApiError::unsupported("modalities"))
        }
        _ => Ok(()),
    }
}

/// A conversation, and how it is written for the model.
#[derive(Debug)]
pub(crate) struct Conversation {
    messages: Vec<Message>,
    /// The beginning of an answer, which the model continues.
    begun: String,
    render: Render,
}

impl Conversation {
    /// Takes `messages` and what the template is told besides.
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let messages = match fields.take("messages") {
            None => return Err(ApiError::field("messages", "`messages` is missing")),
            Some(Value::Array(items)) if (1..=MOST_MESSAGES).contains(&items.len()) => items,
            Some(other) => {
                let expected = format!("a list of 1 to {MOST_MESSAGES} messages");
                return Err(wrong("messages", &expected, &other));
            }
        };
        let mut messages: Vec<Message> = messages
            .into_iter()
            .enumerate()
            .map(|(index, value)| message(&format!("messages[{index}]"), value))
            .collect::<Result<_, _>>()?;
        let generates = fields.boolean("add_generation_prompt")?;
        let begun = match fields.boolean("continue_final_message")? {
            Some(true) => Some(begun(&mut messages, generates)?),
            _ => None,
        };
        let mut render = Render {
            add_generation_prompt: begun.is_some() || generates.unwrap_or(true),
            ..Render::default()
        };
        if let Some(variables) = fields.take("chat_template_kwargs") {
            let Value::Object(variables) = variables else {
                return Err(wrong("chat_template_kwargs", "an object", &variables));
            };
            for (name, value) in variables {
                if RESERVED.contains(&name.as_str()) {
                    let param = format!("chat_template_kwargs.{name}");
                    return Err(ApiError::unsupported(param));
                }
                let value: TemplateValue = serde_json::from_value(value)
                    .map_err(|error| ApiError::field("chat_template_kwargs", error.to_string()))?;
                render.variables.insert(name, value);
            }
        }
        Ok(Self {
            messages,
            begun: begun.unwrap_or_default(),
            render,
        })
    }

    /// What the model is to continue.
    fn encode(&self, ready: &Ready) -> Result<Vec<u32>, ApiError> {
        let template = template(ready)?;
        let Self {
            messages,
            begun,
            render,
        } = self;
        let tokens = ready.text.encode_begun(template, messages, begun, render);
        tokens.map_err(refused)
    }

    /// What the template makes of it.
    pub(crate) fn text(&self, ready: &Ready) -> Result<String, ApiError> {
        let text = template(ready)?.render(&self.messages, &self.render);
        Ok(text.map_err(refused)? + &self.begun)
    }
}

/// Takes the last message, which has to be the assistant's, as the beginning of an answer.
fn begun(messages: &mut Vec<Message>, generates: Option<bool>) -> Result<String, ApiError> {
    const NAME: &str = "continue_final_message";
    if generates == Some(true) {
        let message = "`continue_final_message` continues an answer, and `add_generation_prompt` begins one; \
            give one of them";
        return Err(ApiError::field(NAME, message));
    }
    let last = messages.pop_if(|last| last.role == "assistant");
    let last = last.ok_or_else(|| {
        let message = "`continue_final_message`: the last message is not the assistant's";
        ApiError::field(NAME, message)
    })?;
    Ok(last.content)
}

fn template(ready: &Ready) -> Result<&bitnet_text::ChatTemplate, ApiError> {
    ready.template.as_ref().ok_or_else(|| {
        let message = "the model has no chat template: it continues texts, at /v1/completions";
        ApiError::field("messages", message).code("no_chat_template")
    })
}

fn refused(error: TextError) -> ApiError {
    ApiError::field("messages", error.to_string())
}

/// One message: a role that templates know, and text.
fn message(name: &str, value: Value) -> Result<Message, ApiError> {
    let mut fields = Fields::within(name, value)?;
    let role_name = fields.name("role");
    let role = fields.string("role")?;
    let role = match role.as_deref() {
        // OpenAI's newer name.
        Some("developer") => "system",
        Some(role @ ("system" | "user" | "assistant")) => role,
        Some(_) => {
            let expected = "system, developer, user or assistant";
            let message = format!("`{role_name}`: expected {expected}; others are not supported");
            return Err(ApiError::field(role_name, message));
        }
        None => {
            return Err(ApiError::field(
                &role_name,
                format!("`{role_name}` is missing"),
            ));
        }
    };
    fields.refuse(&[
        "name",
        "tool_calls",
        "function_call",
        "tool_call_id",
        "audio",
        "refusal",
    ])?;
    let content_name = fields.name("content");
    let content = match fields.take("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            let part = |(index, part)| text_part(&format!("{content_name}[{index}]"), part);
            let parts = parts.into_iter().enumerate().map(part);
            parts.collect::<Result<Vec<_>, _>>()?.join("\n")
        }
        // An answer may have been empty.
        None if role == "assistant" => String::new(),
        None => {
            let message = format!("`{content_name}` is missing");
            return Err(ApiError::field(content_name, message));
        }
        Some(other) => return Err(wrong(&content_name, "a string or a list of parts", &other)),
    };
    fields.finish()?;
    Ok(Message::new(role, content))
}

fn text_part(name: &str, value: Value) -> Result<String, ApiError> {
    let mut fields = Fields::within(name, value)?;
    let kind_name = fields.name("type");
    match fields.string("type")?.as_deref() {
        Some("text") => {}
        Some(_) => {
            let message = format!("`{kind_name}`: parts other than text are not supported");
            return Err(ApiError::field(kind_name, message));
        }
        None => {
            return Err(ApiError::field(
                &kind_name,
                format!("`{kind_name}` is missing"),
            ));
        }
    }
    let text_name = fields.name("text");
    let text = fields.string("text")?;
    fields.finish()?;
    text.ok_or_else(|| ApiError::field(&text_name, format!("`{text_name}` is missing")))
}

//! `/tokenize`, `/detokenize`, `/apply-template`: text and tokens, as llama-server has them.

use std::sync::Arc;

use axum::{Extension, Json, body::Body, extract::State};
use bitnet_text::Encode;
use serde_json::{Value, json};

use super::{chat::Conversation, completions::ids};
use crate::{
    app::App,
    error::ApiError,
    fields::Fields,
    guard::Visit,
    model::{Model, Ready},
};

pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    understood(app, visit, body, |fields, ready| {
        let content = required(fields.string("content")?, "content")?;
        let how = Encode {
            add_special: fields.boolean("add_special")?.unwrap_or(false),
            parse_special: fields.boolean("parse_special")?.unwrap_or(true),
        };
        let with_pieces = fields.boolean("with_pieces")?.unwrap_or(false);
        let tokenizer = &ready.text.tokenizer;
        let tokens = tokenizer.encode(&content, how);
        let tokens = tokens.map_err(|error| ApiError::field("content", error.to_string()))?;
        if !with_pieces {
            return Ok(json!({"tokens": tokens}));
        }
        let piece = |id: &u32| {
            let bytes = tokenizer.piece(*id).unwrap_or_default();
            // Bytes that are no text are told as numbers.
            let piece = str::from_utf8(bytes).map_or_else(|_| json!(bytes), Value::from);
            json!({"id": id, "piece": piece})
        };
        Ok(json!({"tokens": tokens.iter().map(piece).collect::<Vec<_>>()}))
    })
    .await
}

pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    understood(app, visit, body, |fields, ready| {
        let tokens = match required(fields.take("tokens"), "tokens")? {
            Value::Array(none) if none.is_empty() => Vec::new(),
            tokens => ids("tokens", &tokens)?,
        };
        let mut decoder = ready.text.tokenizer.decoder(true);
        let mut content: String = tokens.iter().map(|token| decoder.push(*token)).collect();
        content.push_str(&decoder.finish());
        Ok(json!({"content": content}))
    })
    .await
}

pub(crate) async fn apply_template(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    understood(app, visit, body, |fields, ready| {
        let prompt = Conversation::take(fields)?.text(ready)?;
        Ok(json!({"prompt": prompt}))
    })
    .await
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::field(name, format!("`{name}` is missing")))
}

/// Answers from the fields of a request and the text side of its model.
async fn understood(
    app: Arc<App>,
    visit: Visit,
    body: Body,
    answer: impl FnOnce(&mut Fields, &Ready) -> Result<Value, ApiError> + Send + 'static,
) -> Result<Json<Value>, ApiError> {
    let whole = visit.read(&app, body).await?;
    let shared = app.clone();
    let entry = visit.entry.clone();
    let work = move || {
        let mut fields = Fields::parse(&whole.bytes)?;
        let name = fields.string("model")?;
        let model: &Arc<Model> = shared.model(name.as_deref())?;
        entry.set(|record| record.model = Some(model.name.clone()));
        let answer = answer(&mut fields, model.ready()?)?;
        fields.finish()?;
        Ok(answer)
    };
    app.understand(work).await.map(Json)
}

//! `/v1/embeddings`: texts as vectors of length 1.

use std::sync::Arc;

use axum::{Extension, Json, body::Body, extract::State};
use bitnet_text::Encode;
use serde_json::{Value, json};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::completions::Texts;
use crate::{app::App, error::ApiError, fields::Fields, guard::Visit, model::Model};

struct Asking {
    model: Arc<Model>,
    texts: Vec<Vec<u32>>,
    base64: bool,
    _places: OwnedSemaphorePermit,
}

pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let whole = visit.read(&app, body).await?;
    let shared = app.clone();
    let asking = app
        .understand(move || understand(&shared, &whole.bytes))
        .await?;
    let tokens: usize = asking.texts.iter().map(Vec::len).sum();
    visit.entry.set(|record| {
        record.model = Some(asking.model.name.clone());
        record.prompt_tokens = Some(tokens);
    });
    let work = vectors(asking, tokens);
    let mut closing = app.closing.subscribe();
    let done = tokio::select! {
        done = timeout(app.settings.limits.request_time, work) => done,
        Ok(_) = closing.wait_for(|closing| *closing) => return Err(ApiError::ending()),
    };
    done.unwrap_or_else(|_| {
        let status = axum::http::StatusCode::GATEWAY_TIMEOUT;
        let message = "the vectors take longer than the server allows; ask for less";
        Err(ApiError::status(status, message).code("request_timeout"))
    })
}

async fn vectors(asking: Asking, tokens: usize) -> Result<Json<Value>, ApiError> {
    let ready = asking.model.ready()?;
    let pooling = ready.pooling()?;
    let mut data = Vec::new();
    for (index, text) in asking.texts.into_iter().enumerate() {
        let vector = ready.embed(text, pooling).await?;
        let embedding = match asking.base64 {
            true => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Value::from(base64(&bytes))
            }
            false => vector.into(),
        };
        data.push(json!({"object": "embedding", "index": index, "embedding": embedding}));
    }
    Ok(Json(json!({
        "object": "list",
        "data": data,
        "model": asking.model.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })))
}

fn understand(app: &App, body: &[u8]) -> Result<Asking, ApiError> {
    let mut fields = Fields::parse(body)?;
    let name = fields.string("model")?;
    let input = match fields.take("input") {
        Some(input) => Texts::of("input", input)?,
        None => return Err(ApiError::field("input", "`input` is missing")),
    };
    let format = fields.string("encoding_format")?;
    let base64 = match format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            let message = "`encoding_format`: expected float or base64";
            return Err(ApiError::field("encoding_format", message));
        }
    };
    fields.string("user")?;
    let dimensions = fields.integer("dimensions", 1..=i64::MAX)?;
    fields.finish()?;
    let model = app.model(name.as_deref())?.clone();
    let ready = model.ready()?;
    let width = ready.about["embedding_length"].as_i64();
    if dimensions.is_some() && dimensions != width {
        return Err(ApiError::unsupported("dimensions"));
    }
    let (count, most) = (input.len(), app.settings.limits.choices);
    if count > most {
        let message = format!("`input`: {count} texts; the server takes {most}");
        return Err(ApiError::field("input", message));
    }
    let places = ready.places(count)?;
    let how = Encode {
        parse_special: false,
        add_special: true,
    };
    let texts = input.encode("input", ready, |text| {
        ready.text.tokenizer.encode(text, how)
    })?;
    let texts: Vec<Vec<u32>> = texts.into_iter().map(|(_, tokens)| tokens).collect();
    for tokens in &texts {
        if tokens.is_empty() {
            return Err(ApiError::field("input", "`input`: a text is empty"));
        }
        if tokens.len() > ready.context {
            let message = format!(
                "this model's context is {} tokens, a text of `input` has {}; make it shorter",
                ready.context,
                tokens.len()
            );
            return Err(ApiError::field("input", message).code("context_length_exceeded"));
        }
    }
    Ok(Asking {
        model: model.clone(),
        texts,
        base64,
        _places: places,
    })
}

/// Bytes in the alphabet of RFC 4648, padded.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let code = (bits >> (18 - 6 * place)) as usize & 63;
            out.push(if place <= group.len() {
                ALPHABET[code].into()
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_in_the_rfc() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{ff}\u{3ff}", "w7/Pvw=="),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}

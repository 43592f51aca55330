//! A web service of one's own over a trained model: axum and the CPU engine, no Burn in its dependencies.
//!
//! ```sh
//! bitnet compare                                                       # trains runs/quickstart/ternary
//! bitnet convert runs/quickstart/ternary model.gguf --to gguf-q2_0
//! cargo run --profile quick -p web-service -- model.gguf 127.0.0.1:3000
//! curl http://127.0.0.1:3000/continue -H 'Content-Type: application/json' -d '{"prompt": "One morning ", "tokens": 40}'
//! ```
//!
//! One text at a time, which is all that a small service needs: the engine takes every core for it, on a thread where it
//! blocks nobody. Many at once, streams and OpenAI's API are what `bitnet serve` has, and `bitnet-serve` as a library.

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use bitnet_engine::{Engine, Options};
use bitnet_generate::{Sampler, Sampling};
use bitnet_load::Checkpoint;
use bitnet_text::TextModel;
use serde::Deserialize;
use serde_json::{Value, json};

/// Tokens that a request may ask for.
const MOST: usize = 1000;

/// A request; what it does not say is this.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    prompt: String,
    tokens: usize,
    temperature: f32,
    seed: u64,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            tokens: 100,
            temperature: 0.8,
            seed: 0,
        }
    }
}

struct Model {
    text: TextModel,
    engine: Mutex<Engine>,
}

impl Model {
    fn open(path: &str) -> Result<Self, Box<dyn Error>> {
        let file = Checkpoint::open(path)?;
        Ok(Self {
            text: TextModel::from_model_file(file.file())?,
            engine: Mutex::new(file.engine(Options::default())?),
        })
    }

    /// What follows a prompt.
    fn answer(&self, asked: &Asked) -> Result<String, Box<dyn Error>> {
        let mut text = self.text.encode_prompt(&asked.prompt, false)?;
        if text.is_empty() {
            return Err("an empty prompt begins nothing: say something".into());
        }
        let mut sampler = Sampler::new(Sampling {
            temperature: asked.temperature,
            seed: asked.seed,
            ..Sampling::default()
        })?;
        // A panic of another request leaves the engine as it was: sessions hold what changes.
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let (begin, positions) = (text.len(), engine.shape().max_position_embeddings);
        if begin >= positions {
            return Err(format!("{begin} tokens are too many: the model reads {positions}").into());
        }
        let most = asked.tokens.min(MOST).min(positions - begin);
        let mut session = engine.session(begin + most)?;
        let mut read = 0;
        while text.len() < begin + most {
            let logits = engine.forward(&mut session, &text[read..])?;
            let next = sampler.sample(logits, &text, begin);
            if self.text.eos.contains(&next) {
                break;
            }
            read = text.len();
            text.push(next);
        }
        Ok(self.text.tokenizer.decode(&text[begin..]))
    }
}

async fn continued(
    State(model): State<Arc<Model>>,
    Json(asked): Json<Asked>,
) -> (StatusCode, Json<Value>) {
    let answer = tokio::task::spawn_blocking(move || {
        model.answer(&asked).map_err(|error| error.to_string())
    });
    match answer.await {
        Ok(Ok(text)) => (StatusCode::OK, Json(json!({ "text": text }))),
        Ok(Err(problem)) => (StatusCode::BAD_REQUEST, Json(json!({ "error": problem }))),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(json!({ "error": "failed" })),
        ),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // As a sentence, which `main` that returns an error does not print.
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, address] = &args[..] else {
        return Err("usage: web-service MODEL ADDRESS".into());
    };
    let model = Arc::new(Model::open(path)?);
    let app = Router::new()
        .route("/continue", post(continued))
        .with_state(model);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening at http://{}/continue", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

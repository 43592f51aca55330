//! A model for JavaScript: what goes in and comes out is JSON, but for the bytes of the file.

use wasm_bindgen::prelude::*;

use crate::Writer;

/// A loaded model.
#[wasm_bindgen]
pub struct Model(Writer);

/// What goes wrong inside becomes the message of the error that JavaScript sees.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        wasm_bindgen::throw_str(&panic.to_string())
    }));
}

#[wasm_bindgen]
impl Model {
    /// Reads a GGUF file; `context` is the longest text in tokens.
    #[wasm_bindgen(constructor)]
    pub fn new(name: &str, bytes: Vec<u8>, context: usize) -> Result<Model, JsError> {
        Ok(Model(Writer::load(name, bytes, context)?))
    }

    /// `About`.
    pub fn about(&self) -> Result<String, JsError> {
        Ok(serde_json::to_string(&self.0.about())?)
    }

    /// Begins what `Request` asks for.
    pub fn begin(&mut self, request: &str) -> Result<(), JsError> {
        Ok(self.0.begin(serde_json::from_str(request)?)?)
    }

    /// Goes on, and returns a `Step`.
    pub fn step(&mut self) -> Result<String, JsError> {
        Ok(serde_json::to_string(&self.0.step()?)?)
    }
}

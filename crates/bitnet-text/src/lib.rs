//! Text of language models: from text to token ids and back with the tokenizer of any model file, chat templates,
//! conversations, and where an answer ends.
//!
//! | file | concept |
//! |---|---|
//! | `model` | all that a model's files say of its text: [`TextModel`] |
//! | `tokenizer` | one type over the kinds: [`Tokenizer`] |
//! | `run` | the tokenizers of runs (feature `runs`, a default) |
//! | `hugging_face`, `sentencepiece`, `longest` | the kinds: `tokenizer.json` and byte-level BPE; two more of GGUF |
//! | `specials` | special tokens in a text |
//! | `pieces`, `decoder` | the bytes of each id; ids to text while they are generated |
//! | `template`, `python` | chat templates in Jinja; what of Python they use |
//! | `conversation` | turns, and the prompt that they make |
//! | `dialogues` | conversations to learn from, their answers marked |
//! | `stop` | why an answer ended, and stop strings |
//! | `answer` | the text of an answer while its tokens come |
//! | `defaults` | how the model's authors would sample |
//! | `error` | why a text has no tokens, or a conversation no prompt |
//!
//! Nothing here knows a model's weights: a prompt is a list of ids, an answer is one. Special tokens are parsed in text only
//! where asked: what a user types stays text, what a template writes is tokens.

mod answer;
mod conversation;
mod decoder;
mod defaults;
#[cfg(feature = "runs")]
mod dialogues;
mod error;
mod hugging_face;
mod longest;
mod model;
mod pieces;
mod python;
#[cfg(feature = "runs")]
mod run;
mod sentencepiece;
mod specials;
mod stop;
mod template;
mod tokenizer;

pub use answer::{AnswerText, Extent};
pub use conversation::{Conversation, Message};
pub use decoder::TextDecoder;
pub use defaults::{GenerationDefaults, GenerationSettings};
pub use error::TextError;
pub use model::TextModel;
pub use pieces::PieceKind;
pub use stop::{StopReason, StopStrings};
pub use template::{ChatTemplate, Render, TemplateValue};
pub use tokenizer::{Encode, Tokenizer};

//! What can be wrong with a tokenizer, a template or a text.

/// Why text could not become tokens, or a conversation a prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The tokenizer's file is damaged, or of a kind that is not for generating text.
    #[error("the tokenizer cannot be used: {0}")]
    Tokenizer(String),
    /// A text could not be cut into tokens.
    #[error("the text cannot be cut into tokens: {0}")]
    Encode(String),
    /// A run's tokenizer refused a text.
    #[error(transparent)]
    Run(Box<dyn std::error::Error + Send + Sync>),
    /// The model's files.
    #[error(transparent)]
    Formats(#[from] bitnet_formats::Error),
    /// The template is not Jinja, or uses what is not there.
    #[error("the model's chat template, line {line}: {problem}; give another one")]
    Template {
        /// Counted from 1; 0 if unknown.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The template itself refuses the conversation.
    #[error("the model's chat template refuses this conversation: {0}")]
    Refused(String),
    /// Conversations are to be read, and nothing says how they are written.
    #[error("the model has no chat template, by which conversations are written; give one")]
    NoTemplate,
    /// A conversation to learn from has no answer.
    #[error("it has no message of the assistant, and nothing else is learned; leave it out")]
    NoAnswer,
    /// The template does not begin an answered conversation as it begins one that is to be answered.
    #[error(
        "the model's chat template writes a conversation otherwise when it is answered than when it is to be; give another one"
    )]
    Unfinished,
    /// The template ran longer than any that ends.
    #[error(
        "the model's chat template takes more than {fuel} steps or 64 times as many bytes, as if it looped for ever; give \
         another one"
    )]
    Fuel {
        /// Steps that it was given.
        fuel: u64,
    },
    /// The template took longer than any that ends.
    #[error(
        "the model's chat template takes more than {milliseconds} ms, as if it looped for ever; give another one"
    )]
    Deadline {
        /// What it was given.
        milliseconds: u128,
    },
}

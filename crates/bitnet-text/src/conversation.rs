//! Turns of a conversation, and the prompt that they make.

use serde::{Deserialize, Serialize};

use crate::{ChatTemplate, Render, TextError, TextModel};

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or another that the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// A conversation with a model.
///
/// Every prompt is rendered anew from all messages, so that it is what the template makes of them; a prompt begins with most
/// of the tokens of the one before, and a cache of keys and values keeps what they share.
#[derive(Clone, Debug)]
pub struct Conversation {
    template: Option<ChatTemplate>,
    system: Option<String>,
    messages: Vec<Message>,
    /// What the template is told besides.
    pub render: Render,
}

impl Conversation {
    /// A conversation without a turn. Without a template the model continues the text of all turns, as it stands.
    ///
    /// # Errors
    /// If the model's template is not Jinja.
    pub fn new(text: &TextModel, system: Option<String>) -> Result<Self, TextError> {
        let mut conversation = Self {
            template: text.chat_template()?,
            system,
            messages: Vec::new(),
            render: Render {
                add_generation_prompt: true,
                ..Render::default()
            },
        };
        conversation.reset();
        Ok(conversation)
    }

    /// Whether the model has a template.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// All messages, the system prompt first if there is one.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Puts other messages in the place of all.
    pub fn set_messages(&mut self, messages: Vec<Message>) {
        self.messages = messages;
    }

    /// Forgets all but the system prompt.
    pub fn reset(&mut self) {
        let system = self.system.iter();
        self.messages = system.map(|text| Message::new("system", text)).collect();
    }

    /// Adds a message.
    pub fn push(&mut self, role: &str, content: impl Into<String>) {
        self.messages.push(Message::new(role, content));
    }

    /// Takes the last message back.
    pub fn pop(&mut self) -> Option<Message> {
        self.messages.pop()
    }

    /// The tokens that the model is to continue: one start of the text, the template's marks as tokens, and what people
    /// wrote as text, even where it looks like a mark.
    ///
    /// # Errors
    /// If the template refuses the messages or does not end, or a text has characters that the tokenizer does not know.
    pub fn prompt(&self, text: &TextModel) -> Result<Vec<u32>, TextError> {
        match &self.template {
            Some(template) => text.encode_chat(template, &self.messages, &self.render),
            None => {
                let whole: String = self.messages.iter().map(|m| m.content.as_str()).collect();
                text.encode_prompt(&whole, false)
            }
        }
    }
}

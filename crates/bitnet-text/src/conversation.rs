//! Turns of a conversation, and the prompt that they make.

use serde::{Deserialize, Serialize};

use crate::{ChatTemplate, Render, TextError, TextModel, model::Rendered};

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
/// Every prompt is rendered anew from all messages, so that it is what the template makes of them. Where it begins with the
/// prompt and the answer before, it has their tokens: a cache of keys and values keeps all of them, also where the model cut
/// its answer otherwise than a tokenizer does.
#[derive(Clone, Debug)]
pub struct Conversation {
    template: Option<ChatTemplate>,
    system: Option<String>,
    messages: Vec<Message>,
    /// The last prompt and, after an answer, that too: its text and its tokens.
    known: Option<(Rendered, Vec<u32>)>,
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
            known: None,
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

    /// Adds the model's answer to the last prompt: its text, and the tokens that it wrote.
    pub fn answer(&mut self, text: &TextModel, content: impl Into<String>, tokens: &[u32]) {
        let content = content.into();
        let mut decoder = text.tokenizer.decoder(true);
        let mut written: String = tokens.iter().map(|token| decoder.push(*token)).collect();
        written.push_str(&decoder.finish());
        match &mut self.known {
            Some((rendered, known)) if written == content => {
                rendered.text.push_str(&content);
                known.extend_from_slice(tokens);
            }
            // Cut at a stop string, or with marks in it: it is cut anew.
            _ => self.known = None,
        }
        self.push("assistant", content);
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
    pub fn prompt(&mut self, text: &TextModel) -> Result<Vec<u32>, TextError> {
        let Some(template) = &self.template else {
            let whole: String = self.messages.iter().map(|m| m.content.as_str()).collect();
            return text.encode_prompt(&whole, false);
        };
        let rendered = text.render(template, &self.messages, "", &self.render)?;
        let rest = match &self.known {
            Some((known, tokens))
                if known.mark == rendered.mark && rendered.text.starts_with(&known.text) =>
            {
                let rest = text.encode_rest(&rendered, known.text.len())?;
                rest.map(|rest| [&tokens[..], &rest].concat())
            }
            _ => None,
        };
        let ids = match rest {
            Some(ids) => ids,
            None => text.encode_rendered(&rendered)?,
        };
        self.known = Some((rendered, ids.clone()));
        Ok(ids)
    }
}

//! All that the files of a model say of its text.

use std::{collections::BTreeMap, ops::Range};

use bitnet_formats::{
    ModelFile,
    hf::HfText,
    model::{Pooling, SpecialTokens},
    tokenizer::TokenizerFile,
};

use crate::{
    ChatTemplate, Encode, GenerationDefaults, Message, Render, TextError, Tokenizer,
    specials::{Special, Specials},
    stop,
};

/// The text side of a model: its tokenizer, what ends its answers, its chat template and sampling settings.
#[derive(Clone, Debug)]
pub struct TextModel {
    /// From text to ids and back.
    pub tokenizer: Tokenizer,
    /// Tokens that end an answer.
    pub eos: Vec<u32>,
    /// How its authors sample.
    pub defaults: GenerationDefaults,
    /// How the states of a text become its vector.
    pub pooling: Pooling,
    /// The template's source.
    template: Option<String>,
    /// Texts of special tokens, by the names that templates use.
    special_texts: BTreeMap<String, String>,
}

/// A conversation as its template writes it.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// What breaks up special tokens in messages.
    pub(crate) mark: Option<char>,
}

impl TextModel {
    /// Of a GGUF file or a folder of transformers.
    ///
    /// # Errors
    /// If there is no tokenizer, or it is damaged or of a kind that is not for generating text.
    pub fn from_model_file(model: &ModelFile) -> Result<Self, TextError> {
        if let ModelFile::HuggingFace(model) = model {
            return Self::from_folder(model.text());
        }
        let description = model.source().description();
        Ok(Self {
            pooling: description.pooling.value.clone(),
            ..Self::new(
                &TokenizerFile::open(model)?,
                &description.special_tokens,
                description.chat_template.clone(),
                BTreeMap::new(),
                GenerationDefaults::of(model),
            )?
        })
    }

    /// Of a folder of transformers, which may be without tensors.
    ///
    /// # Errors
    /// As [`from_model_file`](Self::from_model_file).
    pub fn from_folder(text: &HfText) -> Result<Self, TextError> {
        Ok(Self {
            pooling: text.pooling().value.clone(),
            ..Self::new(
                &TokenizerFile::of_folder(text)?,
                text.special_tokens(),
                text.chat_template().map(String::from),
                text.special_texts().clone(),
                GenerationDefaults::of_folder(text),
            )?
        })
    }

    /// `named` has the texts of special tokens where the files say them: what these leave out has no text.
    fn new(
        file: &TokenizerFile,
        special: &SpecialTokens,
        template: Option<String>,
        named: BTreeMap<String, String>,
        defaults: GenerationDefaults,
    ) -> Result<Self, TextError> {
        let tokenizer = Tokenizer::from_file(file, special)?;
        let mut eos = special.eos.clone();
        let ends = tokenizer.special_tokens();
        eos.extend(
            ends.filter(|(text, _)| stop::ENDS.contains(text))
                .map(|(_, id)| id),
        );
        let text_of = |id: u32| {
            let bytes = tokenizer.piece(id)?;
            str::from_utf8(bytes).ok().map(String::from)
        };
        let special_texts = match named.is_empty() {
            false => named,
            true => [
                ("bos_token", special.bos),
                ("eos_token", special.eos.first().copied()),
                ("pad_token", special.pad),
            ]
            .into_iter()
            .filter_map(|(name, id)| Some((name.to_owned(), text_of(id?)?)))
            .collect(),
        };
        let named = special_texts.get("eos_token");
        let named = tokenizer
            .special_tokens()
            .filter(|(text, _)| named.is_some_and(|eos| eos == text));
        eos.extend(named.map(|(_, id)| id));
        eos.sort_unstable();
        eos.dedup();
        Ok(Self {
            eos,
            defaults,
            pooling: Pooling::Unsaid,
            template,
            special_texts,
            tokenizer,
        })
    }

    /// Of plain text, which ends nowhere.
    #[cfg(feature = "runs")]
    pub(crate) fn plain(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            eos: Vec::new(),
            defaults: GenerationDefaults::default(),
            pooling: Pooling::Unsaid,
            template: None,
            special_texts: BTreeMap::new(),
        }
    }

    /// The same with another template.
    pub fn with_template(self, source: Option<String>) -> Self {
        Self {
            template: source,
            ..self
        }
    }

    /// The template's source; none if the model has none.
    pub fn template_source(&self) -> Option<&str> {
        self.template.as_deref()
    }

    /// The compiled template; none if the model has none.
    ///
    /// # Errors
    /// If it is not Jinja.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, TextError> {
        let compile = |source| ChatTemplate::new(source, self.special_texts.clone());
        self.template.as_deref().map(compile).transpose()
    }

    /// The ids of a text that the model is to continue: with its start, special tokens as text.
    ///
    /// # Errors
    /// If the text has a character that a run's tokenizer does not know.
    pub fn encode_prompt(&self, text: &str, parse_special: bool) -> Result<Vec<u32>, TextError> {
        let ids = self.tokenizer.encode(
            text,
            Encode {
                parse_special,
                add_special: false,
            },
        )?;
        Ok(self.with_start(ids))
    }

    /// The ids of a conversation: the template's marks as tokens, what stands in messages as text.
    ///
    /// # Errors
    /// If the template refuses the messages or does not end.
    pub fn encode_chat(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        how: &Render,
    ) -> Result<Vec<u32>, TextError> {
        self.encode_begun(template, messages, "", how)
    }

    /// The ids of a conversation whose last answer is not complete: what the template writes up to it, and its beginning.
    ///
    /// # Errors
    /// If the template refuses the messages or does not end.
    pub fn encode_begun(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        answer: &str,
        how: &Render,
    ) -> Result<Vec<u32>, TextError> {
        self.encode_rendered(&self.render(template, messages, answer, how)?)
    }

    /// The text of a conversation and of the answer's beginning. What looks like a mark in a message is broken up by a
    /// character that nobody wrote (Unicode keeps 32 for such uses); it is put together again when the template's own marks
    /// have been found.
    pub(crate) fn render(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        answer: &str,
        how: &Render,
    ) -> Result<Rendered, TextError> {
        let special = self.specials()?;
        let texts = || messages.iter().map(|m| m.content.as_str()).chain([answer]);
        if !texts().any(|text| special.is_in(text)) {
            let text = template.render(messages, how)? + answer;
            return Ok(Rendered { text, mark: None });
        }
        let free = |mark: &char| texts().all(|text| !text.contains(*mark));
        let mark = ('\u{fdd0}'..='\u{fdef}').find(free).unwrap_or('\u{fdd0}');
        let broken = |m: &Message| Message {
            role: m.role.clone(),
            content: special.break_up(&m.content, mark),
        };
        let broken: Vec<Message> = messages.iter().map(broken).collect();
        let text = template.render(&broken, how)? + &special.break_up(answer, mark);
        let mark = Some(mark);
        Ok(Rendered { text, mark })
    }

    /// The ids of a rendered conversation, with one start.
    pub(crate) fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<u32>, TextError> {
        Ok(self.with_start(self.encode_part(rendered, 0)?))
    }

    /// The ids of a rendered conversation from a byte on; none if they depend on what stands before, because no special
    /// token stands there.
    pub(crate) fn encode_rest(
        &self,
        rendered: &Rendered,
        from: usize,
    ) -> Result<Option<Vec<u32>>, TextError> {
        let Some(rest) = rendered.text.get(from..) else {
            return Ok(None);
        };
        match self.specials()?.starts(rest) {
            true => self.encode_part(rendered, from).map(Some),
            false => Ok(None),
        }
    }

    fn encode_part(&self, rendered: &Rendered, from: usize) -> Result<Vec<u32>, TextError> {
        self.encode_between(rendered, from..rendered.text.len())
    }

    /// The ids of some bytes of a rendered conversation, which begin and end between characters.
    pub(crate) fn encode_between(
        &self,
        rendered: &Rendered,
        bytes: Range<usize>,
    ) -> Result<Vec<u32>, TextError> {
        let text = &rendered.text[bytes];
        let how = Encode {
            parse_special: true,
            add_special: false,
        };
        match rendered.mark {
            None => self.tokenizer.encode(text, how),
            Some(mark) => self.tokenizer.encode_marked(text, mark),
        }
    }

    fn specials(&self) -> Result<Specials, TextError> {
        let special = self.tokenizer.special_tokens();
        Specials::new(special.map(|(text, id)| (text, Special::plain(id))))
    }

    /// Puts what every text starts with in front, unless it is there.
    fn with_start(&self, ids: Vec<u32>) -> Vec<u32> {
        let prefix = self.tokenizer.prefix();
        match ids.starts_with(prefix) {
            true => ids,
            false => [prefix, &ids].concat(),
        }
    }
}

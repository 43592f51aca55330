//! The tokenizer's files of a folder: which there are, how many ids they know, the chat template.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    Error,
    error::{Fault, Place},
    json,
    model::{Finding, TokenizerKind},
    tokenizer::SentencePiece,
};

/// Bytes of the largest files that are read: vocabularies have tens of megabytes.
const MAX_TOKENIZER: usize = 256 << 20;
const MAX_CONFIG: usize = 16 << 20;

/// What a folder says of its tokenizer.
#[derive(Debug)]
pub(super) struct TokenizerFiles {
    pub(super) kind: Finding<TokenizerKind>,
    pub(super) chat_template: Option<String>,
    pub(super) add_bos: Option<bool>,
    /// Texts of special tokens by their names: `bos_token`, `eos_token`, …
    pub(super) special: BTreeMap<String, String>,
    /// The largest id, if a `tokenizer.json` was read.
    pub(super) max_id: Option<u64>,
}

impl TokenizerFiles {
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let config: Option<TokenizerConfig> =
            json::read(&folder.join("tokenizer_config.json"), MAX_CONFIG)?;
        let mut config = config.unwrap_or_default();
        let path = folder.join("tokenizer.json");
        let tokenizer: Option<TokenizerJson> = json::read(&path, MAX_TOKENIZER)?;
        let mut max_id = tokenizer.as_ref().and_then(TokenizerJson::max_id);
        let kind = match tokenizer {
            Some(TokenizerJson { model, .. }) => {
                let name = model.r#type.unwrap_or_else(|| "BPE".into());
                let evidence = format!(
                    "tokenizer.json, model {name}, ids up to {}",
                    max_id.unwrap_or(0)
                );
                Finding::new(TokenizerKind::HuggingFace(name), evidence)
            }
            None if folder.join("tokenizer.model").is_file() => {
                // One that is not read is said when text is to be cut.
                let pieces = SentencePiece::from_folder(folder).ok();
                max_id = pieces.map(|pieces| pieces.tokens.len() as u64 - 1);
                let ids = max_id.map_or(String::new(), |id| format!(", ids up to {id}"));
                Finding::new(
                    TokenizerKind::SentencePiece,
                    format!("tokenizer.model, and no tokenizer.json{ids}"),
                )
            }
            None => Finding::new(
                TokenizerKind::Missing,
                "neither tokenizer.json nor tokenizer.model",
            ),
        };
        let template = folder.join("chat_template.jinja");
        let chat_template = if template.is_file() {
            let text = std::fs::read_to_string(&template).map_err(Error::read(&template))?;
            Some(text)
        } else {
            config.chat_template.0.take()
        };
        Ok(Self {
            special: config.special_texts(),
            kind,
            chat_template,
            add_bos: config.add_bos_token,
            max_id,
        })
    }

    /// Every id has a row of the embedding.
    pub(super) fn check_ids(&self, folder: &Path, vocab_size: usize) -> Result<(), Error> {
        match self.max_id {
            Some(id) if id >= vocab_size as u64 => {
                let problem = format!("id {id}, but the embedding has {vocab_size} rows");
                let path = folder.join(match self.kind.value {
                    TokenizerKind::SentencePiece => "tokenizer.model",
                    _ => "tokenizer.json",
                });
                Err(Fault::malformed(Place::Key("vocab".into()), problem).within(&path))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    chat_template: ChatTemplate,
    add_bos_token: Option<bool>,
    bos_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
}

impl TokenizerConfig {
    /// The special tokens that have a text, as templates call them.
    fn special_texts(&self) -> BTreeMap<String, String> {
        let named = [
            ("bos_token", &self.bos_token),
            ("eos_token", &self.eos_token),
            ("pad_token", &self.pad_token),
            ("unk_token", &self.unk_token),
        ];
        let texts = named.into_iter().filter_map(|(name, token)| {
            let (SpecialToken::Text(text) | SpecialToken::Token { content: text }) =
                token.as_ref()?;
            Some((name.to_string(), text.clone()))
        });
        texts.collect()
    }
}

/// A token's text, or an object that has it among others.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Token { content: String },
}

/// The template: the only one, or the one named `default`.
#[derive(Debug, Default)]
struct ChatTemplate(Option<String>);

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl<'de> Deserialize<'de> for ChatTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TemplateVisitor)
    }
}

struct TemplateVisitor;

impl<'de> Visitor<'de> for TemplateVisitor {
    type Value = ChatTemplate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a template, a list of templates with names, or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<ChatTemplate, E> {
        Ok(ChatTemplate(None))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ChatTemplate, E> {
        Ok(ChatTemplate(Some(text.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ChatTemplate, A::Error> {
        let mut found = None;
        while let Some(named) = list.next_element::<NamedTemplate>()? {
            if named.name == "default" {
                found = Some(named.template);
            }
        }
        Ok(ChatTemplate(found))
    }
}

#[derive(Debug, Deserialize)]
struct TokenizerJson {
    model: Model,
    #[serde(default)]
    added_tokens: Ids,
}

#[derive(Debug, Deserialize)]
struct AddedToken {
    id: u64,
}

#[derive(Debug, Deserialize)]
struct Model {
    r#type: Option<String>,
    #[serde(default)]
    vocab: Ids,
}

impl TokenizerJson {
    fn max_id(&self) -> Option<u64> {
        self.added_tokens.max.max(self.model.vocab.max)
    }
}

/// The largest id of an object of ids, or of a list: of its items' own ids, or of their places. Tokens are not kept.
#[derive(Debug, Default)]
struct Ids {
    max: Option<u64>,
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdsVisitor)
    }
}

struct IdsVisitor;

impl<'de> Visitor<'de> for IdsVisitor {
    type Value = Ids;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of token ids, or a list of tokens")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ids, A::Error> {
        let mut max = None;
        while let Some((IgnoredAny, id)) = map.next_entry::<_, u64>()? {
            max = max.max(Some(id));
        }
        Ok(Ids { max })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ids, A::Error> {
        let (mut max, mut place) = (None, 0_u64);
        while let Some(item) = list.next_element::<Item>()? {
            max = max.max(Some(item.0.unwrap_or(place)));
            place += 1;
        }
        Ok(Ids { max })
    }
}

/// An added token, which has an id, or a piece and its score, whose place is its id.
struct Item(Option<u64>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token with its id, or a piece with its score")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                let token = AddedToken::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Item(Some(token.id)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item(None))
            }
        }
        deserializer.deserialize_any(ItemVisitor)
    }
}

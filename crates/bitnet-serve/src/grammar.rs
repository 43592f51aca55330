//! Answers that follow a JSON schema or a grammar, by llguidance: it says of every token whether it may come next.

use std::sync::Arc;

use bitnet_generate::Constraint;
use bitnet_text::{PieceKind, TextModel};
use llguidance::{
    JsonCompileOptions, Matcher, ParserFactory,
    api::TopLevelGrammar,
    earley::SlicedBiasComputer,
    toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie},
};
use serde_json::{Value, json};

use crate::{error::ApiError, fields::Fields, gbnf};

/// White space between the tokens of JSON: as one indents it, and no more, or a model may go on with it for ever.
const WHITESPACE: &str = r" |\n[ \t]{0,40}";

/// What an answer has to look like.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// A value that a JSON schema allows.
    Schema(Value),
    /// A text of a grammar, of Lark as llguidance reads it or of GBNF.
    Grammar(String),
}

impl Format {
    /// Takes `response_format`, or `grammar` as llama-server has it. Text is no format.
    pub(crate) fn take(fields: &mut Fields) -> Result<Option<Self>, ApiError> {
        let grammar = fields.string("grammar")?;
        let Some(format) = fields.take("response_format") else {
            return Ok(grammar.map(Self::Grammar));
        };
        let mut format = Fields::within("response_format", format)?;
        let kind = format.string("type")?;
        let found = match kind.as_deref() {
            Some("text") => None,
            Some("json_object") => Some(Self::Schema(json!({"type": "object"}))),
            Some("json_schema") => Some(Self::Schema(schema(&mut format)?)),
            _ => {
                return Err(ApiError::field(
                    "response_format.type",
                    "`response_format.type`: expected text, json_object or json_schema",
                ));
            }
        };
        format.finish()?;
        match (found, grammar) {
            (Some(_), Some(_)) => Err(ApiError::field(
                "grammar",
                "`grammar` and `response_format` both say what an answer looks like; give one of them",
            )),
            (found, grammar) => Ok(found.or(grammar.map(Self::Grammar))),
        }
    }

    fn param(&self) -> &'static str {
        match self {
            Self::Schema(_) => "response_format",
            Self::Grammar(_) => "grammar",
        }
    }
}

fn schema(format: &mut Fields) -> Result<Value, ApiError> {
    let Some(outer) = format.take("json_schema") else {
        return Err(ApiError::field(
            "response_format.json_schema",
            "`response_format.json_schema` is missing",
        ));
    };
    let mut outer = Fields::within("response_format.json_schema", outer)?;
    // Every answer follows the schema strictly; a name and a description have no effect.
    outer.string("name")?;
    outer.string("description")?;
    outer.boolean("strict")?;
    let schema = outer.take("schema").unwrap_or_else(|| json!({}));
    outer.finish()?;
    match schema {
        Value::Object(_) => Ok(schema),
        Value::Bool(true) => Ok(json!({})),
        other => Err(crate::fields::wrong(
            "response_format.json_schema.schema",
            "a JSON schema",
            &other,
        )),
    }
}

/// What grammars need of a model's tokenizer.
pub(crate) struct Grammars {
    factory: ParserFactory,
    end_tokens: Arc<[u32]>,
    /// The token of the trie that ends a text, and the number of the model's own.
    end: u32,
}

impl Grammars {
    /// Of a model's tokens. The trie's last token stands for the end of a text, whichever tokens the model has for it.
    pub(crate) fn new(text: &TextModel, end_tokens: Arc<[u32]>) -> Result<Self, String> {
        let vocabulary = text.tokenizer.vocab_size() as u32;
        let marked = |name: &str| [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat();
        let mut words: Vec<Vec<u8>> = (0..vocabulary)
            .map(|id| match text.tokenizer.kind(id) {
                PieceKind::Text if !end_tokens.contains(&id) => {
                    let bytes = text.tokenizer.piece(id).unwrap_or_default();
                    // No text has this byte, and the library takes it for a mark.
                    let is_mark = bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER);
                    if is_mark { Vec::new() } else { bytes.to_vec() }
                }
                _ => marked(&format!("[{id}]")),
            })
            .collect();
        words.push(marked("<end>"));
        let info = TokRxInfo::new(words.len() as u32, vocabulary);
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words)));
        let slices = SlicedBiasComputer::general_slices();
        let capabilities = InferenceCapabilities::default();
        let mut factory =
            ParserFactory::new(&env, capabilities, &slices).map_err(|error| error.to_string())?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self {
            factory,
            end_tokens,
            end: vocabulary,
        })
    }

    /// A constraint for one answer.
    pub(crate) fn constraint(&self, format: &Format) -> Result<Box<dyn Constraint>, ApiError> {
        let refuse = |problem: String| {
            let param = format.param();
            let problem: String = problem.chars().take(500).collect();
            ApiError::field(param, format!("`{param}`: {problem}"))
        };
        let grammar = match format {
            Format::Schema(schema) => {
                let mut schema = schema.clone();
                let options = JsonCompileOptions {
                    whitespace_pattern: Some(WHITESPACE.into()),
                    ..JsonCompileOptions::default()
                };
                options.apply_to(&mut schema);
                TopLevelGrammar::from_json_schema(schema)
            }
            Format::Grammar(text) if gbnf::is_gbnf(text) => {
                TopLevelGrammar::from_lark(gbnf::to_lark(text).map_err(refuse)?)
            }
            Format::Grammar(text) => TopLevelGrammar::from_lark(text.clone()),
        };
        let mut matcher = Matcher::new(self.factory.create_parser(grammar));
        if let Some(error) = matcher.get_error() {
            return Err(refuse(error));
        }
        let mask = matcher
            .compute_mask()
            .map_err(|error| refuse(error.to_string()))?;
        if mask.is_zero() {
            return Err(refuse(
                "the model has no token that may begin such an answer".into(),
            ));
        }
        Ok(Box::new(Follow {
            matcher,
            end_tokens: self.end_tokens.clone(),
            end: self.end as usize,
        }))
    }
}

/// Follows a grammar, token by token.
struct Follow {
    matcher: Matcher,
    end_tokens: Arc<[u32]>,
    end: usize,
}

impl Constraint for Follow {
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), String> {
        let allowed = self
            .matcher
            .compute_mask()
            .map_err(|error| error.to_string())?;
        let (end, may_end) = (self.end, allowed.get(self.end));
        let mut any = false;
        for (id, logit) in logits.iter_mut().enumerate() {
            let ends = self.end_tokens.contains(&(id as u32));
            if if ends {
                may_end
            } else {
                id < end && allowed.get(id)
            } {
                any = true;
            } else {
                *logit = f32::NEG_INFINITY;
            }
        }
        match any {
            true => Ok(()),
            false => Err("the grammar allows nothing that the model has a token for".into()),
        }
    }

    fn accept(&mut self, token: u32) -> Result<bool, String> {
        if self.end_tokens.contains(&token) {
            return Ok(true);
        }
        let taken = self.matcher.consume_token(token);
        taken.map_err(|error| error.to_string())?;
        if self.matcher.is_stopped() {
            return Ok(true);
        }
        // A model without an end token cannot say that it is done: the first text of the grammar is its answer.
        Ok(self.end_tokens.is_empty()
            && self
                .matcher
                .is_accepting()
                .map_err(|error| error.to_string())?)
    }
}

//! Chat templates: Jinja as transformers runs it, on minijinja.
//!
//! Blocks are trimmed as transformers asks (`trim_blocks`, `lstrip_blocks`), loops have `break` and `continue`, strings and
//! maps have Python's methods, `tojson` writes as `json.dumps`, and `raise_exception` and `strftime_now` are there. The tags
//! `generation` and `endgeneration`, which mark answers for training, mean nothing here.
//!
//! A template is a program of somebody else's: it has so many steps, and may make so many bytes, in proportion to the
//! conversation. A list that is added to itself again and again is the one thing that minijinja does not count, so there is
//! a deadline too.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use chrono::{DateTime, Local};
use minijinja::{
    Environment, ErrorKind, State, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, ValueKind},
};
use minijinja_contrib::pycompat;

use crate::{
    Message, TextError,
    python::{Dumps, invalid, strftime},
};

/// Steps of a template whatever the conversation, and for each message.
const STEPS: u64 = 1_000_000;
const STEPS_OF_A_MESSAGE: u64 = 10_000;
/// Time of a template: those of models take a thousandth of it.
const DEADLINE: Duration = Duration::from_secs(5);
/// What the engine's own limit of recursion needs, and more.
const STACK: usize = 16 << 20;
/// Bytes of the largest template: those of models that call tools have 30 kB.
const MAX_BYTES: usize = 1 << 20;
/// A value in a template.
pub type TemplateValue = Value;

const NAME: &str = "chat";

/// A compiled chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    special: BTreeMap<String, String>,
    deadline: Duration,
}

/// What a template is told besides the messages.
#[derive(Clone, Debug, Default)]
pub struct Render {
    /// Whether the text ends where the assistant is to speak.
    pub add_generation_prompt: bool,
    /// Variables of the model's own, as `enable_thinking`.
    pub variables: BTreeMap<String, TemplateValue>,
}

impl ChatTemplate {
    /// Compiles a template. `special` has the texts of special tokens by the names that templates use: `bos_token`, ….
    ///
    /// # Errors
    /// If it is not Jinja.
    pub fn new(source: &str, special: BTreeMap<String, String>) -> Result<Self, TextError> {
        Self::with_clock(source, special, Local::now)
    }

    /// The same, at a time of its own: templates may write the date.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn with_clock(
        source: &str,
        special: BTreeMap<String, String>,
        now: impl Fn() -> DateTime<Local> + Send + Sync + 'static,
    ) -> Result<Self, TextError> {
        if source.len() > MAX_BYTES {
            return Err(TextError::Template {
                line: 0,
                problem: format!("{} bytes, expected at most {MAX_BYTES}", source.len()),
            });
        }
        let mut environment = Environment::new();
        environment.set_syntax(syntax().map_err(|error| explain(&error, 0))?);
        environment.set_unknown_method_callback(method);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("tojson", tojson);
        environment.add_test("iterable", is_iterable);
        environment.add_function("raise_exception", |message: String| {
            Err::<Value, _>(
                minijinja::Error::new(ErrorKind::InvalidOperation, message).with_source(Raised),
            )
        });
        environment.add_function("strftime_now", move |format: String| {
            strftime(now(), &format)
        });
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|error| explain(&error, 0))?;
        Ok(Self {
            environment: Arc::new(environment),
            special,
            deadline: DEADLINE,
        })
    }

    /// The same with another time to render in.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// If the template refuses it, uses what is not there, or does not end.
    pub fn render(&self, messages: &[Message], how: &Render) -> Result<String, TextError> {
        let bytes: usize = messages.iter().map(|m| m.content.len()).sum();
        let fuel = STEPS + messages.len() as u64 * STEPS_OF_A_MESSAGE + bytes as u64;
        // A copy shares the compiled template.
        let mut environment = (*self.environment).clone();
        environment.set_fuel(Some(fuel));
        let mut context: BTreeMap<String, Value> = BTreeMap::new();
        for (name, text) in &self.special {
            context.insert(name.clone(), text.as_str().into());
        }
        let message = |message: &Message| {
            Value::from_pairs([
                ("role", Value::from(message.role.as_str())),
                ("content", Value::from(message.content.as_str())),
            ])
        };
        context.extend(
            [
                ("messages", messages.iter().map(message).collect()),
                ("add_generation_prompt", how.add_generation_prompt.into()),
                ("tools", Value::from(())),
                ("documents", Value::from(())),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        context.extend(how.variables.clone());
        self.before_the_deadline(move || {
            let rendered = environment
                .get_template(NAME)
                .and_then(|template| template.render(context));
            rendered.map_err(|error| explain(&error, fuel))
        })
    }

    /// Renders in a thread of its own, which is left behind if it does not end.
    fn before_the_deadline(
        &self,
        render: impl FnOnce() -> Result<String, TextError> + Send + 'static,
    ) -> Result<String, TextError> {
        // There are no threads there. The fuel ends what loops, and a page can end its worker.
        if cfg!(target_family = "wasm") {
            return render();
        }
        let (done, rendered) = mpsc::sync_channel(1);
        let work = move || {
            // Nobody waits for it any more.
            let _ = done.send(render());
        };
        let failed = |problem: &str| TextError::Template {
            line: 0,
            problem: problem.into(),
        };
        thread::Builder::new()
            .name("chat template".into())
            .stack_size(STACK)
            .spawn(work)
            .map_err(|error| failed(&format!("no thread to render it in: {error}")))?;
        match rendered.recv_timeout(self.deadline) {
            Ok(rendered) => rendered,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(TextError::Deadline {
                milliseconds: self.deadline.as_millis(),
            }),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(failed("it made the engine panic")),
        }
    }
}

/// Whitespace around blocks as transformers has it.
fn syntax() -> Result<SyntaxConfig, minijinja::Error> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
}

/// Marks an error that the template itself raised.
#[derive(Debug)]
struct Raised;

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("raise_exception")
    }
}

impl std::error::Error for Raised {}

fn explain(error: &minijinja::Error, fuel: u64) -> TextError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        let detail = inner.downcast_ref::<minijinja::Error>();
        if let Some(detail) = detail
            && detail.kind() == ErrorKind::OutOfFuel
        {
            return TextError::Fuel { fuel };
        }
        if let Some(detail) = detail
            && std::error::Error::source(detail).is_some_and(|source| source.is::<Raised>())
        {
            let message = detail.detail().unwrap_or("it does not say why");
            return TextError::Refused(one_line(message));
        }
        cause = inner.source();
    }
    let kind = error.kind().to_string();
    TextError::Template {
        line: error.line().unwrap_or(0),
        problem: match error.detail() {
            Some(detail) => one_line(&format!("{kind}: {detail}")),
            None => kind,
        },
    }
}

/// At most so many characters of a message that a template made.
fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words,
    }
}

/// Python's methods of strings, lists and maps.
fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, minijinja::Error> {
    // A width is paid by nothing, and nobody writes one of five digits.
    let text = value.as_str().filter(|_| name == "format").unwrap_or("");
    let is_digit = |c: char| c.is_ascii_digit();
    if text.split(|c| !is_digit(c)).any(|digits| digits.len() > 4) {
        return Err(invalid("str.format: a width above 9999"));
    }
    pycompat::unknown_method_callback(state, value, name, args)
}

/// What Python iterates: not `none`, which templates are told where there are no tools.
fn is_iterable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => false,
        ValueKind::String | ValueKind::Undefined => true,
        _ => value.try_iter().is_ok(),
    }
}

/// `json.dumps` as transformers calls it: without escaping what is not ASCII, keys in their order.
fn tojson(state: &mut State, value: &Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let separators: Option<Value> = options.get("separators")?;
    let separators = match separators {
        Some(pair) if pair.kind() == ValueKind::Seq => {
            let part = |index: usize| pair.get_item_by_index(index).map(|part| part.to_string());
            Some((part(0)?, part(1)?))
        }
        _ => None,
    };
    let flag = |name: &str| {
        options
            .get::<Option<bool>>(name)
            .map(|flag| flag.unwrap_or(false))
    };
    let indent: Option<usize> = options.get("indent")?;
    if indent.is_some_and(|indent| indent > 64) {
        return Err(invalid("tojson: the indent is more than 64"));
    }
    let dumps = Dumps {
        indent,
        ensure_ascii: flag("ensure_ascii")?,
        sort_keys: flag("sort_keys")?,
        separators,
    };
    options.assert_all_used()?;
    let text = dumps.text(value)?;
    state.consume_fuel(text.len() as u64 / 16)?;
    Ok(text.into())
}

/// `{% generation %}` becomes a block that is always taken.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let sign = tag.strip_prefix(['-', '+']).unwrap_or(tag);
        let word = sign.trim_start();
        let end = word
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        let new = match word {
            "generation" => " if true ",
            "endgeneration" => " endif ",
            _ => {
                rest = tag;
                continue;
            }
        };
        out.push_str(&tag[..tag.len() - sign.len()]);
        out.push_str(new);
        rest = after;
    }
    out + rest
}

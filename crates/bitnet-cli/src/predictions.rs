//! Answers to examples, one after another, for people, as JSON lines or as CSV.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bitnet_train::ClassProbabilities;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::args::Format;
use crate::classifier::Asked;
use crate::output;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    JsonLines,
    Csv,
}

impl Form {
    /// That of `-o`; a Markdown table is none.
    ///
    /// # Errors
    /// For Markdown.
    pub fn of(format: Format) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Text => Self::Text,
            Format::Json => Self::JsonLines,
            Format::Csv => Self::Csv,
            Format::Md => {
                bail!("`bitnet predict` writes text, json (a line for each example) or csv")
            }
        })
    }

    /// That of a file, by the ending of its name.
    ///
    /// # Errors
    /// If the ending is another.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::JsonLines),
            _ => bail!(
                "--predictions {}: the file's name must end in .csv or .jsonl, which says how it is written",
                path.display()
            ),
        }
    }
}

/// Where answers go.
pub struct Predictions {
    form: Form,
    /// What is not written yet.
    buffer: Vec<u8>,
    begun: bool,
    to: Target,
}

enum Target {
    Stdout,
    /// A file that takes its name when it is whole.
    File {
        partial: PathBuf,
        path: PathBuf,
        file: std::fs::File,
    },
}

/// A class and the probability of each.
#[derive(Serialize)]
struct ClassLine<'a> {
    line: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    predicted: &'a str,
    probability: f64,
    probabilities: ByClass<'a>,
}

struct ByClass<'a> {
    names: &'a [String],
    values: Vec<f64>,
}

impl Serialize for ByClass<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(&self.values) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What was written for a source.
#[derive(Serialize)]
struct OutputLine<'a> {
    line: usize,
    source: &'a str,
    hypothesis: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
}

/// Characters of a text that people are shown beside its class.
const SHOWN: usize = 60;

impl Predictions {
    /// Answers on stdout.
    pub fn stdout(form: Form) -> Self {
        Self::new(form, Target::Stdout)
    }

    /// Answers in a file, which appears when [`finish`](Self::finish) is called.
    ///
    /// # Errors
    /// If it cannot be made, or its name does not say the form.
    pub fn file(path: &Path) -> anyhow::Result<Self> {
        let form = Form::of_file(path)?;
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = std::fs::File::create(&partial);
        let file = file.with_context(|| format!("cannot write {}", partial.display()))?;
        let path = path.to_owned();
        Ok(Self::new(
            form,
            Target::File {
                partial,
                path,
                file,
            },
        ))
    }

    fn new(form: Form, to: Target) -> Self {
        Self {
            form,
            buffer: Vec::new(),
            begun: false,
            to,
        }
    }

    /// Takes the classes of some examples.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn classes(
        &mut self,
        examples: &[Asked],
        found: &ClassProbabilities,
        names: &[String],
    ) -> anyhow::Result<()> {
        let widest = names.iter().map(|name| name.chars().count()).max();
        let widest = widest.unwrap_or(0);
        for (index, example) in examples.iter().enumerate() {
            let class = found.likeliest(index);
            let values: Vec<f64> = found.of(index).collect();
            let (predicted, probability) = (names[class].as_str(), values[class]);
            match self.form {
                Form::Text => {
                    // Without the class, the probability, the gaps between them and the sign that there is more.
                    let room = crate::output::columns().saturating_sub(widest + 12);
                    let text = match example.text.is_empty() {
                        true => format!("line {}", example.line),
                        false => shortened(&example.text, SHOWN.min(room.max(1))),
                    };
                    let line = format!(
                        "{predicted:<widest$}  {:>5.1} %  {text}\n",
                        100.0 * probability
                    );
                    self.buffer.extend(output::harmless(&line).bytes());
                }
                Form::JsonLines => self.json(&ClassLine {
                    line: example.line,
                    text: &example.text,
                    label: example.label.as_deref(),
                    predicted,
                    probability,
                    probabilities: ByClass { names, values },
                })?,
                Form::Csv => {
                    let head = ["line", "text", "label", "predicted", "probability"];
                    let head = head.into_iter().chain(names.iter().map(String::as_str));
                    self.head(head)?;
                    let label = example.label.as_deref().unwrap_or_default();
                    let (line, probability) = (example.line.to_string(), probability.to_string());
                    let row = [&line, &example.text, label, predicted, &probability];
                    let values: Vec<String> = values.iter().map(f64::to_string).collect();
                    self.record(row.into_iter().chain(values.iter().map(String::as_str)))?;
                }
            }
        }
        self.flush()
    }

    /// Takes what was written for some sources.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn outputs(&mut self, sources: &[Asked], hypotheses: &[String]) -> anyhow::Result<()> {
        for (source, hypothesis) in sources.iter().zip(hypotheses) {
            match self.form {
                Form::Text => {
                    let line = hypothesis.replace('\n', " ") + "\n";
                    self.buffer.extend(output::harmless(&line).bytes());
                }
                Form::JsonLines => self.json(&OutputLine {
                    line: source.line,
                    source: &source.text,
                    hypothesis,
                    reference: source.label.as_deref(),
                })?,
                Form::Csv => {
                    self.head(["line", "source", "hypothesis", "reference"].into_iter())?;
                    let line = source.line.to_string();
                    let reference = source.label.as_deref().unwrap_or_default();
                    self.record([&line, &source.text, hypothesis, reference].into_iter())?;
                }
            }
        }
        self.flush()
    }

    fn json(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        Ok(())
    }

    /// The first line of a CSV.
    fn head<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.record(names)?;
        }
        Ok(())
    }

    fn record<'a>(&mut self, cells: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_writer(&mut self.buffer);
        writer.write_record(cells)?;
        writer.flush()?;
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        match &mut self.to {
            Target::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(&self.buffer)?;
                out.flush()?;
            }
            Target::File { partial, file, .. } => file
                .write_all(&self.buffer)
                .with_context(|| format!("cannot write {}", partial.display()))?,
        }
        self.buffer.clear();
        Ok(())
    }

    /// Gives a file its name.
    ///
    /// # Errors
    /// If it cannot be synced or renamed.
    pub fn finish(self) -> anyhow::Result<()> {
        if let Target::File {
            partial,
            path,
            file,
        } = &self.to
        {
            file.sync_all()
                .and_then(|()| std::fs::rename(partial, path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Predictions {
    /// What was not finished leaves nothing.
    fn drop(&mut self) {
        if let Target::File { partial, .. } = &self.to {
            // After `finish` it has another name.
            let _ = std::fs::remove_file(partial);
        }
    }
}

/// A text on a line, of at most so many characters and the sign that there were more.
fn shortened(text: &str, most: usize) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    match line.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None => line,
    }
}

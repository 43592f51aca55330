//! A trained classifier, of texts or of vectors, and the examples that it is asked about.

use std::fs::File;
use std::io::{self, Cursor, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bitnet_config::{RunConfig, Task};
use bitnet_data::{Columns, ExampleFormat, Examples, PairColumns, VectorExamples, Words};
use bitnet_kernels::Kernel;
use bitnet_train::{ClassProbabilities, RunDir, TextClassifier, VectorClassifier, label_column};
use burn::tensor::Device;

use crate::args::AskArgs;

/// One example that is asked about.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Its line, or its number where it was given as a flag.
    pub line: usize,
    /// The text; of a vector empty.
    pub text: String,
    /// The numbers of a vector.
    pub values: Vec<f32>,
    /// Its true class, if it came with one.
    pub label: Option<String>,
}

/// Examples one by one.
pub type AskedStream = Box<dyn Iterator<Item = anyhow::Result<Asked>>>;

/// Where examples come from.
pub enum Source {
    /// Flags.
    Texts(Vec<String>),
    /// A file; `-` is stdin.
    File(PathBuf),
}

impl Source {
    /// Whether somebody types the examples.
    pub fn is_typed(&self) -> bool {
        matches!(self, Source::File(path) if path == Path::new("-")) && io::stdin().is_terminal()
    }

    /// How it is written, where a flag or its name tells.
    pub fn format(&self, ask: &AskArgs) -> Option<ExampleFormat> {
        let named = match self {
            Source::File(path) => ExampleFormat::of(path),
            Source::Texts(_) => None,
        };
        ask.format.or(named)
    }

    /// The bytes, what to call them, and the format that their name tells.
    fn open(self) -> anyhow::Result<(Box<dyn Read + Send>, PathBuf, Option<ExampleFormat>)> {
        Ok(match self {
            Source::Texts(texts) => {
                let text = texts.join("\n") + "\n";
                (Box::new(Cursor::new(text)), "--text".into(), None)
            }
            Source::File(path) if path == Path::new("-") => {
                (Box::new(io::stdin()), "stdin".into(), None)
            }
            Source::File(path) => {
                if path.is_dir() {
                    bail!(
                        "{} is a directory: give the path of one file",
                        path.display()
                    );
                }
                let file = File::open(&path);
                let file = file.with_context(|| format!("cannot read {}", path.display()))?;
                let format = ExampleFormat::of(&path);
                (Box::new(file), path, format)
            }
        })
    }

    /// The texts of the source, with their labels in `label`, if they have any.
    ///
    /// # Errors
    /// If it cannot be opened, or has not the columns.
    pub fn texts(
        self,
        ask: &AskArgs,
        columns: &[String],
        label: Option<&str>,
        label_needed: bool,
    ) -> anyhow::Result<AskedStream> {
        if let Source::Texts(texts) = self {
            let given = texts.into_iter().enumerate().map(|(index, text)| {
                if text.trim().is_empty() {
                    bail!("--text is empty");
                }
                let line = index + 1;
                Ok(Asked {
                    line,
                    text,
                    ..Asked::default()
                })
            });
            return Ok(Box::new(given));
        }
        let (reader, path, known) = self.open()?;
        let format = ask.format.or(known).unwrap_or(ExampleFormat::Lines);
        let columns = Columns {
            texts: match ask.columns.is_empty() {
                true => columns.to_vec(),
                false => ask.columns.clone(),
            },
            label: ask.label_column.as_deref().or(label).map(str::to_owned),
            label_needed,
            words: Words::TextAndLabel,
        };
        let examples = Examples::read(reader, &path, format, columns)?;
        Ok(Box::new(examples.map(|example| {
            let example = example?;
            Ok(Asked {
                line: example.line,
                text: example.text,
                label: example.label,
                ..Asked::default()
            })
        })))
    }

    fn vectors(
        self,
        ask: &AskArgs,
        width: usize,
        label: Option<&str>,
    ) -> anyhow::Result<AskedStream> {
        if ask.format == Some(ExampleFormat::Lines) {
            bail!("--format lines is for texts; vectors are read as csv, tsv or jsonl");
        }
        if !ask.columns.is_empty() {
            bail!("--columns is for texts; all columns of a vector are read");
        }
        let label = ask.label_column.as_deref().or(label);
        let (reader, path, known) = self.open()?;
        let format = ask.format.or(known).unwrap_or(ExampleFormat::Csv);
        let examples = VectorExamples::read(reader, &path, format, width, label)?;
        Ok(Box::new(examples.map(|example| {
            let example = example?;
            Ok(Asked {
                line: example.line,
                values: example.values,
                label: example.label,
                ..Asked::default()
            })
        })))
    }
}

/// The column of sources in a table of pairs: what the run names, else by its header, of a TSV the first.
pub fn source_column(columns: &PairColumns, format: ExampleFormat) -> String {
    pair_column(&columns.source, format, "1", "source")
}

/// The column of targets: as that of sources, of a TSV the second.
pub fn target_column(columns: &PairColumns, format: ExampleFormat) -> String {
    pair_column(&columns.target, format, "2", "target")
}

fn pair_column(name: &str, format: ExampleFormat, place: &str, header: &str) -> String {
    let otherwise = match format {
        ExampleFormat::Tsv | ExampleFormat::Lines => place,
        ExampleFormat::Csv | ExampleFormat::JsonLines => header,
    };
    match name {
        "" => otherwise.to_owned(),
        name => name.to_owned(),
    }
}

/// A trained classifier.
pub enum Classifier {
    /// Of texts.
    Texts(Box<TextClassifier>),
    /// Of vectors.
    Vectors(Box<VectorClassifier>),
}

impl Classifier {
    /// That of a run of the task `classify` or `vectors`.
    ///
    /// # Errors
    /// If the run has no model, or is of another task.
    pub fn open(run: &RunDir, task: Task, latent: bool, device: &Device) -> anyhow::Result<Self> {
        Ok(match task {
            Task::Classify => Self::Texts(Box::new(TextClassifier::open(run, latent, device)?)),
            Task::Vectors => Self::Vectors(Box::new(VectorClassifier::open(run, latent, device)?)),
            other => bail!("a run with task = \"{}\" tells no classes", other.name()),
        })
    }

    /// The kernel of the CPU engine, if it answers.
    pub fn kernel(&self) -> Option<Kernel> {
        match self {
            Self::Texts(model) => model.kernel(),
            Self::Vectors(model) => model.kernel(),
        }
    }

    /// The names of the classes.
    pub fn label_names(&self) -> &[String] {
        match self {
            Self::Texts(model) => model.label_names(),
            Self::Vectors(model) => model.label_names(),
        }
    }

    /// The examples of a source.
    ///
    /// # Errors
    /// If it cannot be opened, or has not the columns.
    pub fn examples(
        &self,
        source: Source,
        ask: &AskArgs,
        config: &RunConfig,
        label_needed: bool,
    ) -> anyhow::Result<AskedStream> {
        let data = &config.data;
        match self {
            Self::Texts(_) => {
                let label = label_column(data);
                source.texts(ask, &data.text_columns, Some(label), label_needed)
            }
            Self::Vectors(model) => {
                let label = Some(data.label_column.as_str()).filter(|name| !name.is_empty());
                source.vectors(ask, model.width(), label)
            }
        }
    }

    /// What the model makes of some examples.
    ///
    /// # Errors
    /// If the device fails.
    pub fn probabilities(&self, examples: &[Asked]) -> anyhow::Result<ClassProbabilities> {
        Ok(match self {
            Self::Texts(model) => {
                let texts: Vec<&str> = examples.iter().map(|one| one.text.as_str()).collect();
                model.probabilities(&texts)?
            }
            Self::Vectors(model) => {
                let values: Vec<f32> = examples
                    .iter()
                    .flat_map(|one| &one.values)
                    .copied()
                    .collect();
                model.probabilities(&values)?
            }
        })
    }
}

/// Takes up to `most` examples, and an error as soon as there is one.
///
/// # Errors
/// Of the first example that cannot be read.
pub fn take(examples: &mut AskedStream, most: usize) -> anyhow::Result<Vec<Asked>> {
    examples.take(most).collect()
}

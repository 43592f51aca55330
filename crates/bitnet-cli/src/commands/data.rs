//! `bitnet data`

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bitnet_data::prepare::{Preparation, Stage, TokenizerSource, Watch};
use bitnet_data::{DataError, Manifest, Prepared, Reading, sources};
use bitnet_report::format::bytes;
use indicatif::{ProgressBar, ProgressStyle};

use super::Outcome;
use crate::args::{CheckArgs, DataCommand, Format, PrepareArgs};
use crate::{device, interrupt, output};

pub fn run(command: DataCommand) -> anyhow::Result<Outcome> {
    match command {
        DataCommand::Prepare(args) => prepare(args),
        DataCommand::Check(args) => check(&args),
    }
}

fn prepare(args: PrepareArgs) -> anyhow::Result<Outcome> {
    let format = text_or_json(args.output.output)?;
    device::set_threads(args.threads)?;
    let kept = match args.paths.iter().any(|path| path.as_os_str() == "-") {
        true => Some(Kept::stdin(&args.out)?),
        false => None,
    };
    let named = args.paths.iter().map(|path| match &kept {
        Some(kept) if path.as_os_str() == "-" => kept.0.clone(),
        _ => path.clone(),
    });
    let preparation = Preparation {
        sources: sources(&named.collect::<Vec<_>>(), args.format)?,
        reading: Reading {
            fields: args.field,
            split_at: args.split_at.filter(|text| !text.is_empty()),
        },
        tokenizer: match args.tokenizer.as_deref() {
            None => TokenizerSource::Train {
                vocab_size: args.vocab_size,
                sample: args.sample << 20,
            },
            Some("byte") => TokenizerSource::Byte,
            Some("char") => TokenizerSource::Char,
            Some(path) => TokenizerSource::File(PathBuf::from(path)),
        },
        deduplicate: args.deduplicate,
        shuffle: args.shuffle,
        separator: args.separator,
        shard_tokens: args.shard_tokens,
    };
    preparation.reading.check(&preparation.sources)?;
    let begin = Instant::now();
    let (watch, interrupted) = (Watch::default(), interrupt::watch_quietly()?);
    let shown = !args.output.quiet && std::io::stderr().is_terminal();
    let made = thread::scope(|scope| {
        let work = scope.spawn(|| preparation.run(&args.out, &watch));
        let mut bar = shown.then(Bar::default);
        while !work.is_finished() {
            watch
                .stop
                .fetch_or(interrupted.load(Ordering::Relaxed), Ordering::Relaxed);
            if let Some(bar) = &mut bar {
                bar.show(&watch);
            }
            thread::sleep(Duration::from_millis(50));
        }
        work.join()
    });
    let manifest = match made {
        Ok(Err(DataError::Stopped)) => {
            output::say("interrupted: nothing was written; give the command again");
            return Ok(Outcome::Interrupted);
        }
        Ok(made) => made?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let seconds = begin.elapsed().as_secs_f64();
    match format {
        Format::Json => output::json(&manifest)?,
        _ => output::line(&format!(
            "{}\n{:.1} s: {:.0} tokens/s, {}/s of text; train with data.kind = \"text\" and data.path = {:?}",
            text(&args.out, &manifest),
            seconds,
            manifest.tokens as f64 / seconds.max(1e-9),
            bytes((manifest.bytes as f64 / seconds.max(1e-9)) as u64),
            args.out.display().to_string(),
        ))?,
    }
    Ok(Outcome::Done)
}

/// What came from stdin, in a file for as long as it is read: it is read more than once.
struct Kept(PathBuf);

impl Kept {
    fn stdin(out: &Path) -> anyhow::Result<Self> {
        let mut name = out.as_os_str().to_owned();
        name.push(".stdin");
        let kept = Self(name.into());
        let written = File::create(&kept.0)
            .and_then(|mut file| std::io::copy(&mut std::io::stdin().lock(), &mut file));
        written.with_context(|| format!("cannot write {}", kept.0.display()))?;
        Ok(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // One that stays is in nobody's way: the next one replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<Outcome> {
    let format = text_or_json(args.output.output)?;
    let prepared = Prepared::open(&args.folder)?;
    let manifest = &prepared.manifest;
    match format {
        Format::Json => output::json(manifest)?,
        _ => {
            let first = prepared.tokens.to_vec(0..prepared.tokens.len().min(40));
            let first = prepared.tokenizer.decode(&first);
            output::line(&format!(
                "{}\nbegins {:?}; every checksum is right",
                text(&args.folder, manifest),
                first
            ))?;
        }
    }
    Ok(Outcome::Done)
}

fn text_or_json(format: Format) -> anyhow::Result<Format> {
    match format {
        Format::Md | Format::Csv => bail!("`bitnet data` writes text or json"),
        format => Ok(format),
    }
}

/// What is in a folder.
fn text(folder: &Path, manifest: &Manifest) -> String {
    let duplicates = match manifest.duplicates {
        0 => String::new(),
        count => format!(", {count} equal ones left out"),
    };
    format!(
        "{}: {} tokens in {} documents{duplicates}, {} of text, {:.2} bytes a token; vocabulary {}, {} bits an id, {} \
         shards of {} files",
        folder.display(),
        manifest.tokens,
        manifest.documents,
        bytes(manifest.bytes),
        manifest.bytes as f64 / manifest.tokens.max(1) as f64,
        manifest.vocab_size,
        8 * manifest.width.bytes(),
        manifest.shards.len(),
        manifest.sources.len(),
    )
}

/// A bar on stderr for what is being done.
#[derive(Default)]
struct Bar {
    shown: Option<(Stage, ProgressBar)>,
}

impl Bar {
    fn show(&mut self, watch: &Watch) {
        let (stage, done, total) = watch.progress();
        let bar = match &self.shown {
            Some((of, bar)) if *of == stage => bar,
            _ => {
                self.clear();
                let (what, template) = match stage {
                    Stage::Tokenizer => ("sample", BYTES),
                    Stage::Tokens => ("tokens", BYTES),
                    Stage::Shards => ("shards", TOKENS),
                };
                let bar = ProgressBar::new(total);
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_prefix(what);
                &self.shown.insert((stage, bar)).1
            }
        };
        // A file's size is what it was at the start.
        bar.set_length(total.max(done));
        bar.set_position(done);
        if stage == Stage::Tokens {
            let tokens = watch.tokens.load(Ordering::Relaxed);
            let seconds = bar.elapsed().as_secs_f64().max(1e-9);
            bar.set_message(format!("{:.2} M tokens/s", tokens as f64 / seconds / 1e6));
        }
    }

    fn clear(&self) {
        if let Some((_, bar)) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

const BYTES: &str = "{prefix:>8} {bar:30.cyan/dim} {bytes}/{total_bytes} {msg} ETA {eta}";
const TOKENS: &str = "{prefix:>8} {bar:30.cyan/dim} {human_pos}/{human_len} tokens";

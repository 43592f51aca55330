//! `bitnet embed MODEL FILE`: a vector for each line, by the model's hidden states.

use std::path::Path;

use anyhow::{Context, bail};
use bitnet_generate::Embedding;
use serde::Serialize;

use super::Outcome;
use crate::args::{EmbedArgs, Format};
use crate::{device, model, output, prompt};

/// Tokens of the texts that are read together, at most: as many as the engine takes through its blocks at once.
const TOGETHER: usize = 512;

/// A line of the output.
#[derive(Serialize)]
struct Embedded<'a> {
    index: usize,
    tokens: usize,
    embedding: &'a [f32],
}

pub fn run(args: EmbedArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet embed` writes JSON lines, or an array of numpy with --npy FILE");
    }
    let texts = texts(&args)?;
    device::set_threads(args.threads)?;
    let what = "embeddings are made by";
    let (mut engine, text) = model::open_engine(&args.model, &args.engine, args.threads, what)?;
    let pooling = model::pooling(args.pooling, &text).map_err(anyhow::Error::msg)?;
    let positions = engine.shape().max_position_embeddings;
    let mut all = Vec::with_capacity(texts.len());
    for (index, line) in texts.iter().enumerate() {
        let tokens = text.tokenizer.encode(
            line,
            bitnet_text::Encode {
                parse_special: false,
                add_special: true,
            },
        )?;
        if tokens.is_empty() || tokens.len() > positions {
            bail!(
                "{}: text {} has {} tokens; the model reads 1 to {positions}",
                args.data.display(),
                index + 1,
                tokens.len()
            );
        }
        all.push(tokens);
    }
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    let mut rest = all.into_iter().peekable();
    let mut index = 0;
    while rest.peek().is_some() {
        let mut texts = Vec::new();
        let mut room = TOGETHER;
        while let Some(tokens) = rest.next_if(|next| texts.is_empty() || next.len() <= room) {
            room = room.saturating_sub(tokens.len());
            texts.push(Embedding::new(&engine, tokens, pooling)?);
        }
        Embedding::read_together(&mut texts, &mut engine)?;
        for text in texts {
            let tokens = text.tokens();
            let vector = text.finish(!args.raw).with_context(|| {
                let place = format!("{}: text {}", args.data.display(), index + 1);
                format!(
                    "{place}: the model's hidden state is not finite: it holds NaN, or overflows"
                )
            })?;
            if args.npy.is_none() {
                output::line(&serde_json::to_string(&Embedded {
                    index,
                    tokens,
                    embedding: &vector,
                })?)?;
            } else {
                vectors.push(vector);
            }
            index += 1;
        }
    }
    if let Some(path) = &args.npy {
        write_npy(path, &vectors, engine.shape().hidden_size)?;
    }
    Ok(Outcome::Done)
}

/// The lines of a file, or a field of its JSON lines; lines that are blank are none.
fn texts(args: &EmbedArgs) -> anyhow::Result<Vec<String>> {
    let text = prompt::read_file(&args.data)?;
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let Some(field) = &args.field else {
        return Ok(lines.map(|(_, line)| line.to_owned()).collect());
    };
    lines
        .map(|(index, line)| {
            let place = || format!("{}: line {}", args.data.display(), index + 1);
            let value: serde_json::Value = serde_json::from_str(line).with_context(place)?;
            match value.get(field).and_then(|value| value.as_str()) {
                Some(text) => Ok(text.to_owned()),
                None => bail!("{}: there is no text in `{field}`", place()),
            }
        })
        .collect()
}

/// An array `[texts, hidden_size]` of f32, format 1.0 of numpy's npy; the file appears when it is whole.
fn write_npy(path: &Path, vectors: &[Vec<f32>], width: usize) -> anyhow::Result<()> {
    let shape = format!("({}, {width})", vectors.len());
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}").into_bytes();
    // The data start at a multiple of 64.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(b' ');
    }
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    let values = vectors.iter().flatten();
    bytes.extend(values.flat_map(|x| x.to_le_bytes()));
    bitnet_results::write_atomic(path, &bytes)
        .with_context(|| format!("cannot write {}", path.display()))
}

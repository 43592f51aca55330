//! `bitnet convert`

use anyhow::bail;
use bitnet_formats::{ModelFile, convert};

use super::Outcome;
use crate::args::{ConvertArgs, Format};
use crate::output;

pub fn run(args: ConvertArgs) -> anyhow::Result<Outcome> {
    let model = ModelFile::open(&args.model)?;
    let converted = convert(&model, args.to, &args.path)?;
    for warning in &converted.warnings {
        eprintln!("warning: {warning}");
    }
    match args.output.output {
        Format::Json => output::json(&converted)?,
        Format::Text => output::line(&format!(
            "{} tensors, {} bytes: {}",
            converted.tensors,
            converted.bytes,
            args.path.display()
        ))?,
        Format::Md | Format::Csv => bail!("`bitnet convert` writes text or json"),
    }
    Ok(Outcome::Done)
}

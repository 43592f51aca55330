//! Flags of `bitnet init`.

use std::path::PathBuf;

use clap::Args;

use super::DeviceArgs;

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The text: a file, a folder, JSON lines, or what `bitnet data prepare` made; asked for on a terminal
    pub text: Option<PathBuf>,
    /// The new config file
    #[arg(long, default_value = "bitnet.toml", value_name = "FILE")]
    pub out: PathBuf,
    /// Minutes that training may take on this machine; asked for on a terminal, otherwise 10
    #[arg(long, value_name = "N", value_parser = minutes)]
    pub minutes: Option<f64>,
    /// Width of the model instead of what fits the text and the time: 64, 128, 192, 256, 384, 512 or 768
    #[arg(long, value_name = "N")]
    pub hidden_size: Option<usize>,
    /// Ask nothing
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= 1e6 => Ok(minutes),
        _ => Err("must be a number above 0".to_owned()),
    }
}

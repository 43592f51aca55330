//! The progress of a download on stderr: a bar on a terminal, a line for each file elsewhere.

use std::io::IsTerminal;

use bitnet_hub::Watch;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Shows what a download tells.
#[derive(Default)]
pub struct Download {
    bar: Option<ProgressBar>,
}

/// Bytes of a file that is worth a word.
const LARGE: u64 = 1 << 20;

impl Watch for Download {
    fn begin(&mut self, file: &str, bytes: u64) {
        self.end();
        if bytes < LARGE {
            return;
        }
        if !std::io::stderr().is_terminal() {
            let size = bitnet_report::format::bytes(bytes);
            output::say(format_args!("downloading {file}, {size}"));
            return;
        }
        let bar = ProgressBar::new(bytes);
        if let Ok(style) = ProgressStyle::with_template(
            "{msg} {bar:30.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(file.to_owned());
        self.bar = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

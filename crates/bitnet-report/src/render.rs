//! A run directory's reports, written from its summary.

use std::io;
use std::path::{Path, PathBuf};

use crate::charts;
use crate::html::render_html;
use crate::markdown::render_markdown;
use crate::summary::Summary;
use crate::svg::Placement;
use crate::write::write_atomic;

/// Writes `report.html`, `report.md` and the charts it refers to into `dir`, which is created if missing.
///
/// Each file appears whole or not at all ([`write_atomic`]), the charts before the report that shows them. Returns the
/// paths written, `report.html` first.
///
/// # Errors
///
/// The first error of the file system; files already written stay.
pub fn render_all(summary: &Summary, dir: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir)?;
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        write_atomic(&path, text.as_bytes()).map(|()| path)
    };
    let mut charts = Vec::new();
    for figure in charts::all(summary) {
        charts.push(write(figure.file, figure.svg(Placement::Standalone))?);
    }
    let mut written = vec![
        write("report.html", render_html(summary))?,
        write("report.md", render_markdown(summary))?,
    ];
    written.append(&mut charts);
    Ok(written)
}

//! An experiment's reports as files.

use std::io;
use std::path::{Path, PathBuf};

use bitnet_results::{Experiment, write_atomic};

use crate::page::document;
use crate::svg::Placement;
use crate::templates;

/// Writes `report.html`, `report.md` and the pictures that it shows into `dir`, which is created if missing.
///
/// Each file appears whole or not at all ([`write_atomic`]), the pictures before the reports that show them and
/// `report.html` last: where it is, all is. Returns the paths written, `report.html` first.
///
/// # Errors
///
/// The first error of the file system; files already written stay.
pub fn render(experiment: &Experiment, dir: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir)?;
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        write_atomic(&path, text.as_bytes()).map(|()| path)
    };
    let (document, groups) = document(experiment);
    let mut pictures = Vec::new();
    for figure in groups.iter().flat_map(|group| &group.figures) {
        pictures.push(write(figure.file, figure.svg(Placement::Standalone))?);
    }
    let markdown = write("report.md", templates::markdown(&document))?;
    let page = write("report.html", templates::page(&document))?;
    let mut written = vec![page, markdown];
    written.append(&mut pictures);
    Ok(written)
}

/// The report as GitHub-flavoured Markdown that refers to its pictures by name.
pub fn report_markdown(experiment: &Experiment) -> String {
    templates::markdown(&document(experiment).0)
}

/// The report as a self-contained page.
pub fn report_html(experiment: &Experiment) -> String {
    templates::page(&document(experiment).0)
}

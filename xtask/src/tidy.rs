//! The rules of the repository, line by line. The words that it looks for are split in two here, or it would find itself.

use std::{collections::BTreeSet, error::Error, fs, io, path::Path, process::Command};

/// The internal crates that each library may depend on. Binaries may depend on any.
const ARROWS: [(&str, &str); 17] = [
    ("bitnet-kernels", ""),
    ("bitnet-engine", "bitnet-kernels"),
    ("bitnet-formats", "bitnet-kernels"),
    ("bitnet-load", "bitnet-engine bitnet-formats bitnet-kernels"),
    ("bitnet-nn", "bitnet-kernels"),
    (
        "bitnet-models",
        "bitnet-engine bitnet-generate bitnet-kernels bitnet-nn",
    ),
    ("bitnet-config", "bitnet-models"),
    ("bitnet-data", ""),
    ("bitnet-hub", ""),
    ("bitnet-text", "bitnet-data bitnet-formats"),
    ("bitnet-generate", "bitnet-engine"),
    (
        "bitnet-serve",
        "bitnet-engine bitnet-generate bitnet-results bitnet-text",
    ),
    (
        "bitnet-web",
        "bitnet-engine bitnet-formats bitnet-generate bitnet-kernels bitnet-load bitnet-text",
    ),
    ("bitnet-results", ""),
    ("bitnet-report", "bitnet-results"),
    (
        "bitnet-train",
        "bitnet-config bitnet-data bitnet-formats bitnet-hub bitnet-load bitnet-models bitnet-results bitnet-text",
    ),
    (
        "bitnet-experiment",
        "bitnet-config bitnet-models bitnet-results bitnet-train",
    ),
];
/// What unfinished code and debugging leave behind, without the `_`. A test that is left out with its reason is another
/// thing.
const DEBRIS: &str = "todo_!( unimplemented_!( dbg_!( #[_ignore] FIX_ME XX_X";
const MAX_LINES: usize = 500;
/// Columns of a comment, or of a line of Markdown. Rustfmt keeps code to 100.
const MAX_COLUMNS: usize = 125;
const MAX_BYTES: u64 = 1_500_000;

/// The table of contents of the book; its links are checked like all others.
const SUMMARY: &str = "docs/SUMMARY.md";
/// The folder of the book.
const BOOK: &str = "docs";

/// A broken rule: the line, counted from 1, and what is wrong there.
type Finding = (usize, String);

/// Checks every file below `root` that git tracks or would add, and counts them.
/// The error lists the broken rules as `path:line: message`, or says why the files could not be read.
pub fn check(root: &Path) -> Result<usize, Box<dyn Error>> {
    let paths = list(root)?;
    let mut problems = Vec::new();
    for path in &paths {
        for (line, message) in check_file(root, path).map_err(|error| format!("{path}: {error}"))? {
            problems.push(format!("{path}:{line}: {message}"));
        }
    }
    let summary = fs::read_to_string(root.join(SUMMARY))?;
    let pages = paths.iter().filter_map(|path| path.strip_prefix("docs/"));
    problems.extend(unlisted(&summary, pages));
    for head in paths.iter().filter(|path| is_head(path)) {
        problems.extend(unmapped(
            head,
            &fs::read_to_string(root.join(head))?,
            &paths,
        ));
    }
    match problems.is_empty() {
        true => Ok(paths.len()),
        false => Err(problems.join("\n").into()),
    }
}

fn list(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let args = "ls-files -z --cached --others --exclude-standard".split(' ');
    let output = Command::new("git").args(args).current_dir(root).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let names = String::from_utf8(output.stdout)?;
    // A deleted file is listed until the deletion is committed.
    let names = names.split('\0').filter(|name| root.join(name).is_file());
    Ok(names.map(String::from).collect())
}

/// The pages of the book that its table of contents leaves out.
fn unlisted<'a>(summary: &str, pages: impl Iterator<Item = &'a str>) -> Vec<String> {
    let listed: Vec<String> = links(summary).into_iter().map(|(_, page)| page).collect();
    let pages = pages.filter(|page| page.ends_with(".md") && *page != "SUMMARY.md");
    let missing = pages.filter(|page| !listed.iter().any(|one| one == page));
    missing
        .map(|page| format!("{SUMMARY}:1: does not list {page}"))
        .collect()
}

/// How a table of files begins.
const HEADS: [&str; 2] = [" file | ", " folder | "];

/// Whether a path is where a crate of the product says what is in its files.
fn is_head(path: &str) -> bool {
    path.starts_with("crates/")
        && ["/src/lib.rs", "/src/main.rs"]
            .iter()
            .any(|end| path.ends_with(end))
}

/// What the table at the head of a crate leaves out of its files, names twice, or names though it is not there.
fn unmapped(head: &str, source: &str, paths: &[String]) -> Vec<String> {
    let lines = source
        .lines()
        .map(|line| line.strip_prefix("//! |").unwrap_or(""));
    let table = lines.skip_while(|row| !HEADS.iter().any(|head| row.starts_with(head)));
    let cells = table
        .take_while(|row| !row.is_empty())
        .filter_map(|row| row.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let mut named: Vec<&str> = names.map(|name| name.trim_end_matches(".rs")).collect();
    let folder = &head[..=head.rfind('/').unwrap_or(0)];
    let inside = paths.iter().filter_map(|path| path.strip_prefix(folder));
    let files: BTreeSet<&str> = inside
        .filter(|path| path.ends_with(".rs") && !["lib.rs", "main.rs", "tests.rs"].contains(path))
        .filter_map(|path| path.split(['/', '.']).next())
        .filter(|name| *name != "tests")
        .collect();
    named.sort_unstable();
    let twice = named.windows(2).filter(|pair| pair[0] == pair[1]);
    let mut problems: Vec<String> = twice
        .map(|pair| format!("names {} twice", pair[0]))
        .collect();
    let missing = files.iter().filter(|file| !named.contains(file));
    problems.extend(missing.map(|file| format!("has no row for {file}")));
    let gone = named.iter().filter(|name| !files.contains(*name));
    problems.extend(gone.map(|name| format!("names {name}, which is not there")));
    let told = |problem| format!("{head}:1: its table of files {problem}");
    problems.into_iter().map(told).collect()
}

fn check_file(root: &Path, path: &str) -> io::Result<Vec<Finding>> {
    let file = root.join(path);
    let mut found = Vec::new();
    if fs::metadata(&file)?.len() > MAX_BYTES {
        found.push((1, format!("over {MAX_BYTES} bytes")));
    }
    if [".orig", ".bak", ".log"]
        .iter()
        .any(|end| path.ends_with(end))
    {
        found.push((1, "a stray file".into()));
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name == "Cargo.toml" {
        found.extend(wrong_arrows(folder, &fs::read_to_string(&file)?));
    } else if name.ends_with(".md") {
        let text = fs::read_to_string(&file)?;
        if !is_rendered(path) {
            found.extend(wide_prose(&text));
        }
        for (line, link) in links(&text) {
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let page = match target {
                "" => file.clone(),
                target => file.with_file_name(target),
            };
            if !page.exists() {
                found.push((line, format!("dead link: {target}")));
            } else if !anchor.is_empty() && !anchors(&fs::read_to_string(page)?).contains(anchor) {
                found.push((line, format!("dead link: {link}")));
            } else if folder == BOOK && target.starts_with("..") {
                found.push((line, format!("leads out of the book: {target}")));
            }
        }
    } else if name.ends_with(".rs") {
        let source = fs::read_to_string(&file)?;
        if ["lib.rs", "main.rs"].contains(&name) && !source.starts_with("//!") {
            found.push((1, "a crate starts with a `//!` doc".into()));
        }
        found.extend(check_source(&source));
    }
    Ok(found)
}

/// Reports are written by `bitnet experiment render`, a paragraph a line.
fn is_rendered(path: &str) -> bool {
    path.starts_with("experiments/")
        && (path.ends_with("/report.md") || path == "experiments/README.md")
}

/// The dependencies of a manifest that point the wrong way.
fn wrong_arrows(folder: &str, manifest: &str) -> Vec<Finding> {
    let package = folder.trim_start_matches("crates/");
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
        return Vec::new();
    };
    let names = match dependencies(manifest) {
        Ok(names) => names,
        Err(error) => return vec![(1, error.message().into())],
    };
    let is_wrong = |name: &String| match name.split('-').next() {
        Some("bitnet") => !allowed.split(' ').any(|other| other == name),
        Some("burn") => package == "bitnet-kernels",
        _ => false,
    };
    let wrong = names.into_iter().filter(is_wrong);
    wrong
        .map(|name| (1, format!("{package} must not depend on {name}")))
        .collect()
}

/// The crates of `[dependencies]` and of its `[target.….]` forms.
fn dependencies(manifest: &str) -> Result<Vec<String>, toml::de::Error> {
    let manifest: toml::Table = manifest.parse()?;
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let platforms = targets.into_iter().flat_map(|targets| targets.values());
    let sections = platforms
        .filter_map(toml::Value::as_table)
        .chain([&manifest]);
    let tables = sections.filter_map(|section| section.get("dependencies")?.as_table());
    Ok(tables.flat_map(|table| table.keys().cloned()).collect())
}

/// The rules of Rust sources: length, width and debris.
fn check_source(source: &str) -> Vec<Finding> {
    let lines = source.lines().count();
    let mut found = Vec::new();
    if lines > MAX_LINES {
        found.push((lines, format!("over {MAX_LINES} lines")));
    }
    for (line, number) in source.lines().zip(1..) {
        let debris = DEBRIS.split(' ').map(|word| word.replace('_', ""));
        for word in debris.filter(|word| line.contains(word)) {
            found.push((number, format!("`{word}` left in the code")));
        }
        if line.trim_start().starts_with("//") {
            found.extend(too_wide(number, line));
        }
    }
    found
}

/// A line over [`MAX_COLUMNS`] that a space could break within them.
fn too_wide(number: usize, line: &str) -> Option<Finding> {
    // Tables have no other form.
    if line.trim_start_matches(['/', '!', ' ']).starts_with('|') {
        return None;
    }
    let columns = line.chars().count();
    let first_word = line
        .trim_start()
        .trim_start_matches(['/', '!', '#', '*', '-', ' ']);
    let breaks = first_word.split(' ').count() > 1;
    (columns > MAX_COLUMNS && breaks)
        .then(|| (number, format!("{columns} columns, over {MAX_COLUMNS}")))
}

/// Lines of Markdown prose that are too wide: not those of tables and code.
fn wide_prose(text: &str) -> Vec<Finding> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            found.extend(too_wide(number, line));
        }
    }
    found
}

/// The anchors of a Markdown text's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            found.insert(kept.collect::<String>().replace(' ', "-"));
        }
    }
    found
}

/// The relative links of a Markdown text outside of code fences.
fn links(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (line, number) in text.lines().zip(1..) {
        fenced ^= line.trim_start().starts_with("```");
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            for rest in line.split(open).skip(1).filter(|_| !fenced) {
                let target = rest.split([close, ' ']).next().unwrap_or_default();
                if !target.is_empty() && !target.contains(':') {
                    found.push((number, target.into()));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(found: Vec<Finding>) -> Vec<usize> {
        found.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_crate_s_table_has_each_of_its_files_once() {
        let head = "crates/a/src/lib.rs";
        let paths = ["lib.rs", "b.rs", "c/mod.rs", "c/d.rs", "c.md"]
            .map(|file| format!("crates/a/src/{file}"));
        let other = "//! | variable | |\n//! |---|---|\n//! | `HOME` | |\n";
        let of = |rows: &str| {
            let table = format!("//! | file | concept |\n//! |---|---|\n{rows}");
            unmapped(head, &format!("{other}//!\n{table}//!\n{other}"), &paths)
        };
        assert_eq!(of("//! | `b`, `c` | what `d` does |\n"), [] as [&str; 0]);
        let found = of("//! | `b` | what `c` does |\n//! | `b.rs`, `gone` | |\n");
        let told = |problem| format!("{head}:1: its table of files {problem}");
        let wanted = [
            "names b twice",
            "has no row for c",
            "names gone, which is not there",
        ];
        assert_eq!(found, wanted.map(told));
    }

    #[test]
    fn arrows_are_read_from_the_dependencies_only() {
        let manifest = "[dependencies]\n# bitnet-a = 1\nburn.workspace = true\n\"bitnet-b\" = { version = \"1\" }\n\
            [dependencies.bitnet-c]\npath = \"bitnet-d\"\n[dev-dependencies]\nbitnet-e = \"1\"\n\
            [dev-dependencies.bitnet-f]\n[target.'cfg(unix)'.dependencies]\nbitnet-kernels = \"1\"\n";
        let mut names = dependencies(manifest).unwrap();
        names.sort();
        assert_eq!(names, ["bitnet-b", "bitnet-c", "bitnet-kernels", "burn"]);
        assert_eq!(wrong_arrows("crates/bitnet-nn", manifest).len(), 2);
        assert_eq!(wrong_arrows("crates/bitnet-kernels", manifest).len(), 4);
        assert_eq!(wrong_arrows("crates/bitnet-nn", "[dependencies").len(), 1);
    }

    #[test]
    fn wide_lines_are_found_outside_of_tables_and_code() {
        let wide = format!("a {}", "b".repeat(MAX_COLUMNS - 1));
        assert_eq!(lines(check_source(&format!("// fits\n// {wide}"))), [2]);
        assert!(check_source(&format!("// {}", &wide[2..])).is_empty());
        assert!(check_source(&format!("//! | {wide} |\nlet {wide};")).is_empty());
        let text = format!("{wide}\n| {wide} |\n```\n{wide}\n```\n{wide}");
        assert_eq!(lines(wide_prose(&text)), [1, 6]);
    }

    #[test]
    fn debris_and_long_files_are_found() {
        for word in DEBRIS.split(' ').map(|word| word.replace('_', "")) {
            assert_eq!(lines(check_source(&word)), [1], "{word}");
        }
        let long = |length| check_source(&"\n".repeat(length)).len();
        assert_eq!((long(MAX_LINES), long(MAX_LINES + 1)), (0, 1));
    }

    #[test]
    fn pages_that_the_book_leaves_out_are_found() {
        let pages = ["a.md", "b.md", "SUMMARY.md", "c.png"];
        let found = unlisted("- [A](a.md)\n", pages.into_iter());
        assert_eq!(found, ["docs/SUMMARY.md:1: does not list b.md"]);
    }

    #[test]
    fn links_are_relative_and_outside_of_code() {
        let text = "[a](b.md#c) [d](https://e) [f](#g)\n```\n[h](i)\n```\n<img src=\"j\"> ![k](l.png \"m\")";
        let found = format!("{:?}", links(text));
        assert_eq!(
            found,
            r##"[(1, "b.md#c"), (1, "#g"), (5, "l.png"), (5, "j")]"##
        );
        let found = format!("{:?}", anchors("# A `b`, c-d\n## E\n```\n# F\n```"));
        assert_eq!(found, r#"{"a-b-c-d", "e"}"#);
    }
}

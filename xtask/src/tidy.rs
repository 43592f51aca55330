//! The rules of the repository, line by line. What they look for is broken in two here, lest they find it.

use std::{error::Error, fs, io, path::Path, process::Command};

/// The internal crates that each library may depend on. Binaries may depend on any.
const ARROWS: [(&str, &str); 11] = [
    ("bitnet-kernels", ""),
    ("bitnet-engine", "bitnet-kernels"),
    ("bitnet-formats", "bitnet-kernels"),
    ("bitnet-nn", "bitnet-kernels"),
    ("bitnet-models", "bitnet-engine bitnet-nn"),
    ("bitnet-config", "bitnet-models"),
    ("bitnet-data", ""),
    ("bitnet-results", ""),
    ("bitnet-report", "bitnet-results"),
    (
        "bitnet-train",
        "bitnet-config bitnet-data bitnet-models bitnet-results",
    ),
    (
        "bitnet-experiment",
        "bitnet-config bitnet-models bitnet-results bitnet-train",
    ),
];
/// What unfinished code and debugging leave behind, without the `_`. A test that is left out with its reason is another thing.
const DEBRIS: &str = "todo_!( unimplemented_!( dbg_!( #[_ignore] FIX_ME XX_X";
const MAX_LINES: usize = 500;
const MAX_BYTES: u64 = 1_500_000;

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
        let mut dead = links(&fs::read_to_string(&file)?);
        dead.retain(|(_, target)| !file.with_file_name(target).exists());
        for (line, target) in dead {
            found.push((line, format!("dead link: {target}")));
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

/// The dependencies of a manifest that point the wrong way.
fn wrong_arrows(folder: &str, manifest: &str) -> Vec<Finding> {
    let package = folder.trim_start_matches("crates/");
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
        return Vec::new();
    };
    let mut wrong = dependencies(manifest);
    wrong.retain(|(_, name)| match name.split('-').next() {
        Some("bitnet") => !allowed.split(' ').any(|other| other == name),
        Some("burn") => package == "bitnet-kernels",
        _ => false,
    });
    for (_, name) in &mut wrong {
        *name = format!("{package} must not depend on {name}");
    }
    wrong
}

/// The keys of `[dependencies]`, of `[dependencies.key]` and of their `[target.….]` forms.
fn dependencies(manifest: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut inside = false;
    for (line, number) in manifest.lines().zip(1..) {
        if let Some(header) = line.strip_prefix('[') {
            // A dot in front sets `[dependencies` apart from `[dev-dependencies`.
            let header = format!(".{}", header.trim_end().trim_end_matches(']'));
            let rest = header.rsplit_once(".dependencies").map(|(_, rest)| rest);
            inside = rest == Some("");
            let key = rest.and_then(|rest| rest.strip_prefix('.'));
            found.extend(key.map(|key| (number, key.to_string())));
        } else if inside && !line.starts_with('#') && line.contains('=') {
            let key = line.split(['=', '.', ' ']).next().unwrap_or_default();
            found.push((number, key.trim_matches('"').into()));
        }
    }
    found
}

/// The rules of Rust sources: length, debris, and unsafe code that says why it is sound.
fn check_source(source: &str) -> Vec<Finding> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    if lines.len() > MAX_LINES {
        found.push((lines.len(), format!("over {MAX_LINES} lines")));
    }
    for (i, line) in lines.iter().enumerate() {
        let debris = DEBRIS.split(' ').map(|word| word.replace('_', ""));
        for word in debris.filter(|word| line.contains(word)) {
            found.push((i + 1, format!("`{word}` left in the code")));
        }
        if !is_justified(&lines[..i], line) {
            found.push((i + 1, "unsafe code without a word on its safety".into()));
        }
    }
    found
}

/// `SAFETY` in the three lines before an unsafe block or impl, `# Safety` in the doc of an unsafe function.
fn is_justified(before: &[&str], line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let (_, code) = code.split_once(concat!("unsa", "fe ")).unwrap_or_default();
    let before = before.iter().rev().map(|line| line.trim_start());
    if code.starts_with("fn ") {
        let mut doc = before.take_while(|line| line.starts_with("///") || line.starts_with("#["));
        return doc.any(|line| line.contains("# Safety"));
    }
    let is_claim = code.starts_with('{') || code.starts_with("impl");
    !is_claim || before.take(3).any(|line| line.contains("SAFETY"))
}

/// The relative links of a Markdown text outside of code fences, without their anchors.
fn links(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (line, number) in text.lines().zip(1..) {
        fenced ^= line.trim_start().starts_with("```");
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            for rest in line.split(open).skip(1).filter(|_| !fenced) {
                let target = rest.split([close, '#', ' ']).next().unwrap_or_default();
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
    fn arrows_are_read_from_the_dependencies_only() {
        let manifest = "[dependencies]\n# bitnet-a = 1\nburn.workspace = true\n\"bitnet-b\" = { version = \"1\" }\n\
            [dependencies.bitnet-c]\npath = \"bitnet-d\"\n[dev-dependencies]\nbitnet-e = \"1\"\n\
            [dev-dependencies.bitnet-f]\n[target.'cfg(unix)'.dependencies]\nbitnet-kernels = \"1\"\n";
        assert_eq!(lines(dependencies(manifest)), [3, 4, 5, 11]);
        assert_eq!(lines(wrong_arrows("crates/bitnet-nn", manifest)), [4, 5]);
        assert_eq!(wrong_arrows("crates/bitnet-kernels", manifest).len(), 4);
    }

    #[test]
    fn unsafe_code_says_why_it_is_sound() {
        for (source, expected) in [
            ("// SAFETY: it is.\nlet a = UNSAFE { f() };", vec![]),
            ("f();\nlet a = UNSAFE { f() };", vec![2]),
            ("// SAFETY: far.\n\n\n\nUNSAFE impl Send for A {}", vec![5]),
            ("// UNSAFE { f() } in a comment", vec![]),
            (
                "/// # Safety\n/// None.\n#[inline]\nUNSAFE fn f() {}",
                vec![],
            ),
            ("/// # Safety\nfn g() {}\nUNSAFE fn f() {}", vec![3]),
        ] {
            let found = check_source(&source.replace("UNSAFE", "unsafe"));
            assert_eq!(lines(found), expected, "{source}");
        }
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
    fn links_are_relative_and_outside_of_code() {
        let text = "[a](b.md#c) [d](https://e) [f](#g)\n```\n[h](i)\n```\n<img src=\"j\"> ![k](l.png \"m\")";
        let found = format!("{:?}", links(text));
        assert_eq!(found, r#"[(1, "b.md"), (5, "l.png"), (5, "j")]"#);
    }
}

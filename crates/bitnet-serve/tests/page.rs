//! The chat page as it is embedded: whole, of nothing but its own files, and without a way for a text to become HTML. What
//! its modules compute is tested in JavaScript, by `page/*.test.js`, where Node is installed.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use bitnet_serve::page::{FILES, POLICY, file};

/// Bytes of all files; they are sent as they are.
const MOST_BYTES: usize = 160_000;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_file_is_embedded_once() {
    let mut there = names(&folder("page"));
    // What Node and readers of the sources need.
    assert!(there.remove("README.md") && there.remove("package.json"));
    let embedded = FILES.iter().map(|file| match file.path {
        "/" => "index.html".into(),
        path => path.trim_start_matches('/').to_owned(),
    });
    let embedded: Vec<String> = embedded.collect();
    assert_eq!(embedded.iter().cloned().collect::<BTreeSet<_>>(), there);
    assert_eq!(embedded.len(), there.len());
    let bytes: usize = FILES.iter().map(|file| file.body.len()).sum();
    assert!(bytes < MOST_BYTES, "{bytes} bytes");
}

#[test]
fn what_a_file_names_is_embedded() {
    for one in &FILES {
        for (open, close) in [
            ("from \"./", '"'),
            ("import \"./", '"'),
            ("href=\"/", '"'),
            ("src=\"/", '"'),
        ] {
            for rest in one.body.split(open).skip(1) {
                let path = format!("/{}", rest.split(close).next().unwrap());
                assert!(file(&path).is_some(), "{} names {path}", one.path);
            }
        }
    }
}

#[test]
fn nothing_is_inline_nothing_is_from_elsewhere_and_no_text_becomes_html() {
    let page = file("/").unwrap().body;
    for word in ["<style", "style=", "javascript:", "http:", "https:", " on"] {
        let found = page.match_indices(word).map(|(at, _)| &page[at..]);
        // ` on…` is a handler where a value follows.
        let mut found = found.filter(|rest| {
            word != " on"
                || rest[3..]
                    .trim_start_matches(char::is_alphabetic)
                    .starts_with('=')
        });
        assert_eq!(found.next(), None, "{word}");
    }
    for script in page.split("<script").skip(1) {
        assert!(script.starts_with(" src=") || script.starts_with(" type=\"module\" src="));
    }
    for one in FILES.iter().filter(|one| one.path != "/") {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "srcdoc",
            "createContextualFragment",
            "@import",
            "url(",
        ] {
            assert!(!one.body.contains(word), "{} has {word}", one.path);
        }
    }
    for source in POLICY.split(';').map(|rule| rule.split_whitespace().nth(1)) {
        assert!(matches!(source, Some("'none'" | "'self'")), "{source:?}");
    }
}

#[test]
fn the_scripts_pass_their_own_tests() {
    let version = Command::new("node").arg("--version").output();
    let version = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let major = version.ok().and_then(|text| {
        let text = text.trim().strip_prefix('v')?;
        text.split('.').next()?.parse::<u32>().ok()
    });
    if major.is_none_or(|major| major < 20) {
        println!("SKIPPED: the page's own tests need Node 20 or later");
        return;
    }
    let tests = folder("tests/page");
    let files = names(&tests);
    let files: Vec<&String> = files
        .iter()
        .filter(|name| name.ends_with(".test.js"))
        .collect();
    assert_eq!(files.len(), 4);
    let run = Command::new("node")
        .arg("--test")
        .args(&files)
        .current_dir(&tests)
        .output();
    let run = run.unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    // Node that finds no test succeeds too.
    let counts = said.lines().filter_map(|line| line.split_once("tests "));
    assert!(
        counts
            .filter_map(|(_, n)| n.trim().parse::<u32>().ok())
            .sum::<u32>()
            >= 18,
        "{said}"
    );
}

//! The program with the model of the web page, and that the book has it as it is.

use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn run(args: &[&str]) -> (bool, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_run-model"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.success(), text(out.stdout), text(out.stderr))
}

#[test]
fn it_continues_a_text() {
    let model = Path::new(ROOT).join("crates/bitnet-web/page/stories.gguf");
    let (done, text, errors) = run(&[model.to_str().unwrap(), "One morning "]);
    assert!(done, "{errors}");
    assert!(
        text.starts_with("One morning ") && text.len() > 60,
        "{text}"
    );
    let (done, _, errors) = run(&["no.gguf", "One morning "]);
    assert!(!done && errors.contains("no.gguf"), "{errors}");
}

#[test]
fn the_book_has_it_as_it_is() {
    let source = include_str!("../src/main.rs");
    let code = source.split_once("\n\n").unwrap().1.trim_end();
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/program.md")).unwrap();
    assert!(
        page.contains(&format!("```rust\n{code}\n```\n")),
        "docs/program.md has another program than examples/run-model/src/main.rs"
    );
    let body = code.split_once("Box<dyn Error>> {\n").unwrap().1;
    let lines = body.split_once("    Ok(())").unwrap().0.lines().count();
    assert_eq!(lines, 10, "README.md and the book say ten lines");
    for line in include_str!("../Cargo.toml").lines() {
        let Some(name) = line
            .split(['.', ' '])
            .next()
            .filter(|n| n.starts_with("bitnet-"))
        else {
            continue;
        };
        let plain = match line.contains("default-features = false") {
            true => ", default-features = false",
            false => "",
        };
        let wanted = format!("\n{name} = {{ path = \"…/crates/{name}\"{plain} }}\n");
        assert!(page.contains(&wanted), "{wanted}");
    }
}

/// The crate that the book describes, outside of the workspace: its folder.
fn story() -> tempfile::TempDir {
    let root = Path::new(ROOT).canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let page = std::fs::read_to_string(root.join("docs/program.md")).unwrap();
    let dependencies = page
        .split_once("```toml\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let dependencies = dependencies.unwrap().0.replace('…', root.to_str().unwrap());
    let manifest = "[package]\nname = \"story\"\nedition = \"2024\"\n\n";
    std::fs::write(
        folder.path().join("Cargo.toml"),
        format!("{manifest}{dependencies}"),
    )
    .unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::copy(
        root.join("examples/run-model/src/main.rs"),
        folder.path().join("src/main.rs"),
    )
    .unwrap();
    // The versions that are downloaded already.
    std::fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    folder
}

fn cargo(folder: &Path, args: &[&str]) -> String {
    let out = Command::new("cargo")
        .args(args)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .current_dir(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{errors}");
    String::from_utf8(out.stdout).unwrap()
}

/// Its dependencies are found, and neither Burn nor readers of data sets are among them.
#[test]
fn it_needs_neither_the_workspace_nor_burn() {
    let folder = story();
    let args = ["tree", "--offline", "--edges", "normal", "--prefix", "none"];
    let tree = cargo(folder.path(), &args);
    assert!(tree.contains("bitnet-engine"), "{tree}");
    let heavy = tree
        .lines()
        .find(|line| line.starts_with("burn") || line.starts_with("parquet"));
    assert_eq!(heavy, None, "{tree}");
}

#[test]
#[ignore = "builds some hundred crates"]
fn it_is_built_and_runs_outside_the_workspace() {
    let folder = story();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("story");
    let model = Path::new(ROOT)
        .join("crates/bitnet-web/page/stories.gguf")
        .canonicalize()
        .unwrap();
    let args = ["run", "--offline", "--quiet", "--target-dir"];
    let said = ["--", model.to_str().unwrap(), "One morning "];
    let args = [&args[..], &[target.to_str().unwrap()], &said].concat();
    let text = cargo(folder.path(), &args);
    // As the same text within: optimised or not, a model says one thing.
    let (done, within, errors) = run(&said[1..]);
    assert!(done, "{errors}");
    assert_eq!(text, within);
}

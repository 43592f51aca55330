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
    for line in include_str!("../Cargo.toml")
        .lines()
        .filter(|line| line.ends_with(".workspace = true"))
    {
        if let Some(name) = line
            .strip_prefix("bitnet-")
            .and_then(|rest| rest.split('.').next())
        {
            let path = format!("path = \"…/crates/bitnet-{name}\"");
            assert!(page.contains(&path), "{path}");
        }
    }
}

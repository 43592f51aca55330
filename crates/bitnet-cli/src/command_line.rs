//! The command that was given, to be given again.

use std::path::Path;

/// This command with `dir` as its `--run-dir`, as a shell reads it.
pub fn again(dir: &Path) -> String {
    let args: Vec<String> = std::env::args().skip(1).collect();
    with_run_dir(&args, dir)
}

fn with_run_dir(args: &[String], dir: &Path) -> String {
    let mut words: Vec<String> = std::iter::once("bitnet".to_owned())
        .chain(args.iter().map(|word| quoted(word)))
        .collect();
    let given = |word: &String| word == "--run-dir" || word.starts_with("--run-dir=");
    if !args.iter().any(given) {
        words.push("--run-dir".to_owned());
        words.push(quoted(&dir.display().to_string()));
    }
    words.join(" ")
}

/// A word in single quotes, where a shell would take it apart or change it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_same_words() {
        let args = [
            "compare",
            "my runs/a.toml",
            "--set",
            "compare.prompts=[\"it's\"]",
        ]
        .map(str::to_owned);
        assert_eq!(
            with_run_dir(&args, Path::new("runs/a")),
            "bitnet compare 'my runs/a.toml' --set 'compare.prompts=[\"it'\\''s\"]' --run-dir runs/a"
        );
        let args = ["compare", "--run-dir", "x"].map(str::to_owned);
        assert_eq!(
            with_run_dir(&args, Path::new("x")),
            "bitnet compare --run-dir x"
        );
    }
}

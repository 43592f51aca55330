//! Text that a user gives: as a flag, in a file, on stdin, with escapes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};

use crate::args::PromptArgs;

/// Bytes of the longest text that is read: no context holds more.
const MOST: u64 = 256 << 20;

/// The prompt of the flags.
pub fn read(args: &PromptArgs, escape: bool) -> anyhow::Result<String> {
    let text = match (&args.prompt, &args.prompt_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => {
            let mut text = read_file(path)?;
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            text
        }
        (None, None) => bail!("there is no prompt; give --prompt or --prompt-file"),
    };
    match escape {
        true => unescape(&text),
        false => Ok(text),
    }
}

/// The text of a file; `-` is stdin.
pub fn read_file(path: &Path) -> anyhow::Result<String> {
    let stdin = path == Path::new("-");
    let name = match stdin {
        true => "stdin".to_owned(),
        false => path.display().to_string(),
    };
    let mut bytes = Vec::new();
    let read = match stdin {
        true => io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > MOST {
        bail!("{name}: more than {} MiB; give a shorter text", MOST >> 20);
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{name}: not UTF-8 at byte {at}; convert it, with iconv for example")
    })
}

/// Puts characters in the place of their escapes.
fn unescape(text: &str) -> anyhow::Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        let c = match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('0') => '\0',
            Some(c @ ('\\' | '"' | '\'')) => c,
            Some('u') => {
                let code = chars.as_str().strip_prefix('{').and_then(|rest| {
                    let (digits, rest) = rest.split_once('}')?;
                    let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                    Some((c, rest))
                });
                let Some((c, rest)) = code else {
                    bail!(
                        "--escape: \\u is not followed by a character's number, as in \\u{{1F600}}"
                    );
                };
                chars = rest.chars();
                c
            }
            other => {
                let found = other.map_or("the end".to_owned(), |c| format!("{c:?}"));
                bail!(
                    "--escape: a backslash before {found}; \\n, \\t, \\r, \\0, \\\\, \\\", \\' and \\u{{…}} are known"
                );
            }
        };
        out.push(c);
        rest = chars.as_str();
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_characters() {
        assert_eq!(
            unescape(r#"a\n\t\\n\"\u{1F600}é\u{e9}"#).unwrap(),
            "a\n\t\\n\"😀éé"
        );
        assert_eq!(unescape("plain").unwrap(), "plain");
        for wrong in [r"\q", r"a\", r"\u1", r"\u{110000}", r"\u{}"] {
            let message = unescape(wrong).unwrap_err().to_string();
            assert!(message.starts_with("--escape:"), "{wrong}: {message}");
        }
    }
}

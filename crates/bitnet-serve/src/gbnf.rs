//! GBNF, the grammars of llama.cpp, as the Lark that llguidance reads.
//!
//! Rules are `name ::= alternatives`, of strings, classes of characters, `.`, names, groups, `|` and the repetitions `*`,
//! `+`, `?` and `{m,n}`. A rule begins where a name stands before `::=`, so line breaks mean nothing.

use std::fmt::Write;

/// Whether a grammar is GBNF and not Lark.
pub(crate) fn is_gbnf(grammar: &str) -> bool {
    grammar.contains("::=")
}

/// The same grammar in Lark.
///
/// # Errors
/// In words, if it is not GBNF, names a rule that is not there, or has no `root`.
pub(crate) fn to_lark(grammar: &str) -> Result<String, String> {
    let tokens = tokens(grammar)?;
    let starts = |at: usize| {
        matches!(tokens.get(at), Some(Token::Name(_))) && tokens.get(at + 1) == Some(&Token::Is)
    };
    let names: Vec<&str> = (0..tokens.len())
        .filter(|at| starts(*at))
        .filter_map(|at| tokens[at].name())
        .collect();
    if !names.contains(&"root") {
        return Err("there is no rule `root`".into());
    }
    let mut out = String::new();
    let mut at = 0;
    while at < tokens.len() {
        let rule = tokens[at].name().filter(|_| starts(at));
        let rule = rule.ok_or("expected a rule, `name ::= …`, at its start")?;
        at += 2;
        out.push_str(&lark_name(rule, &names)?);
        out.push(':');
        while at < tokens.len() && !starts(at) {
            out.push(' ');
            match &tokens[at] {
                Token::Name(name) => out.push_str(&lark_name(name, &names)?),
                Token::Lark(text) => out.push_str(text),
                Token::Is => return Err("`::=` without a name before it".into()),
            }
            at += 1;
        }
        out.push('\n');
    }
    Ok(out)
}

/// Lark's names are small letters, digits and `_`.
fn lark_name(name: &str, names: &[&str]) -> Result<String, String> {
    match names.iter().position(|known| *known == name) {
        Some(_) if name == "root" => Ok("start".into()),
        Some(index) => Ok(format!("rule_{index}")),
        None => Err(format!("there is no rule `{name}`")),
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Name(String),
    Is,
    /// What is to stand in Lark.
    Lark(String),
}

impl Token {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

fn tokens(grammar: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = grammar;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            ' ' | '\t' | '\r' | '\n' => after,
            '#' => after.find('\n').map_or("", |end| &after[end..]),
            '"' => {
                let (text, after) = until(after, '"')?;
                let text: String = text.into_iter().map(|(c, _)| c).collect();
                let quoted = serde_json::to_string(&text).map_err(|error| error.to_string())?;
                tokens.push(Token::Lark(quoted));
                after
            }
            '[' => {
                let (class, after) = until(after, ']')?;
                tokens.push(Token::Lark(regex_class(&class)?));
                after
            }
            '.' => {
                tokens.push(Token::Lark("/(.|\\n)/".into()));
                after
            }
            '(' | ')' | '|' | '*' | '+' | '?' => {
                tokens.push(Token::Lark(first.into()));
                after
            }
            '{' => {
                let end = after.find('}').ok_or("`{` without its `}`")?;
                let range = &after[..end];
                let is_range = |c: char| c.is_ascii_digit() || matches!(c, ',' | ' ');
                if !range.chars().all(is_range) {
                    return Err(format!("{{{range}}} is no repetition"));
                }
                tokens.push(Token::Lark(format!("{{{range}}}")));
                &after[end + 1..]
            }
            ':' => {
                let after = after.strip_prefix(":=").ok_or("`:` that is not `::=`")?;
                tokens.push(Token::Is);
                after
            }
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..end].into()));
                &rest[end..]
            }
            other => return Err(format!("{other:?} means nothing here")),
        };
    }
    Ok(tokens)
}

/// Characters, each with whether it was escaped.
type Escaped = Vec<(char, bool)>;

/// The characters up to `end`, and what follows.
fn until(text: &str, end: char) -> Result<(Escaped, &str), String> {
    let mut found = Vec::new();
    let mut chars = text.chars();
    loop {
        match chars.next() {
            None => return Err(format!("there is no {end:?} at the end")),
            Some(c) if c == end => return Ok((found, chars.as_str())),
            Some('\\') => {
                let escaped = chars.next().ok_or("a backslash at the end")?;
                let digits = match escaped {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                let c = match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'x' | 'u' | 'U' => {
                        let code = chars.as_str().get(..digits).unwrap_or_default();
                        let number = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                        let c =
                            number.ok_or_else(|| format!("\\{escaped}{code} is no character"))?;
                        chars = chars.as_str()[digits..].chars();
                        c
                    }
                    c @ ('"' | '\\' | '[' | ']' | '-' | '^') => c,
                    c => return Err(format!("\\{c} is no escape")),
                };
                found.push((c, true));
            }
            Some(c) => found.push((c, false)),
        }
    }
}

/// A class of characters as a regular expression; every character by its number.
fn regex_class(class: &[(char, bool)]) -> Result<String, String> {
    let mut out = String::from("/[");
    for (index, (c, escaped)) in class.iter().enumerate() {
        let inside = index > 0 && index + 1 < class.len();
        match (c, escaped) {
            ('^', false) if index == 0 => out.push('^'),
            ('-', false) if inside => out.push('-'),
            _ => write!(out, "\\x{{{:x}}}", u32::from(*c)).map_err(|error| error.to_string())?,
        }
    }
    match out.len() > 2 {
        true => Ok(out + "]/"),
        false => Err("a class without a character".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_become_lark() {
        let gbnf = "# a list\nroot ::= item+ \"\\n\" # end\nitem ::= \"- \" [^\\n]{1,9}\n  | (\"é\" | my-Item)?\nmy-Item ::= .";
        let lark = "start: rule_1 + \"\\n\"\nrule_1: \"- \" /[^\\x{a}]/ {1,9} | ( \"é\" | rule_2 ) ?\nrule_2: /(.|\\n)/\n";
        assert_eq!(to_lark(gbnf).unwrap(), lark);
        assert_eq!(
            to_lark(r#"root ::= [a-z\-\]/_-]"#).unwrap(),
            "start: /[\\x{61}-\\x{7a}\\x{2d}\\x{5d}\\x{2f}\\x{5f}\\x{2d}]/\n"
        );
    }

    #[test]
    fn what_is_not_gbnf_is_refused_in_words() {
        for (gbnf, expected) in [
            ("a ::= \"x\"", "`root`"),
            ("root ::= other", "`other`"),
            ("root ::= \"x", "'\"'"),
            ("root ::= [", "']'"),
            ("root ::= []", "class"),
            ("root ::= \"\\q\"", "\\q"),
            ("root ::= \"\\ud800\"", "no character"),
            ("root ::= x{a}", "{a}"),
            ("\"x\" root ::= \"y\"", "expected a rule"),
            ("root ::= <x>", "'<'"),
            ("root ::= \"\\x", "no character"),
            ("root ::= ::= \"x\"", "::="),
        ] {
            let error = to_lark(gbnf).unwrap_err();
            assert!(error.contains(expected), "{gbnf}: {error}");
        }
    }
}

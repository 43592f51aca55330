//! Text from outside (samples, prompts, paths, configs) made safe to show.
//!
//! A model's sample can contain anything: markup, table pipes, fences, terminal escapes. Three rules, applied where
//! text enters a document and nowhere else: control characters become visible ones, markup characters become
//! entities or are escaped, and a fence is longer than any run of backticks it encloses.

/// Replaces what is invisible or illegal in XML: control characters by their pictures (`␛`), direction overrides and
/// noncharacters by `�`. Newlines and tabs stay.
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            '\u{80}'..='\u{9f}' => '\u{fffd}',
            // Bidirectional overrides and isolates could reorder the page around the sample.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            _ => c,
        })
        .collect()
}

/// Visible text on one line.
pub(crate) fn single_line(text: &str) -> String {
    visible(&text.replace("\r\n", "\n")).replace(['\n', '\t'], " ")
}

/// Text for HTML and SVG, in elements and in quoted attributes.
pub(crate) fn html(text: &str) -> String {
    let text = visible(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// Text for one line of Markdown, table cells included. Not for the start of a line, where `-` and `1.` mean something.
pub(crate) fn markdown(text: &str) -> String {
    let text = single_line(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '!' | '@' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// A fenced block of Markdown that `text` cannot close.
pub(crate) fn fenced(language: &str, text: &str) -> String {
    let text = visible(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let newline = if text.ends_with('\n') || text.is_empty() {
        ""
    } else {
        "\n"
    };
    format!("{fence}{language}\n{text}{newline}{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_cannot_be_left() {
        assert_eq!(html(r#"<script>"&'"#), "&lt;script&gt;&quot;&amp;&#39;");
        assert_eq!(
            html("a\u{1b}[31m\0\r\u{7f}\u{85}\u{202e}"),
            "a␛[31m␀␍␡\u{fffd}\u{fffd}"
        );
        assert_eq!(html("kept\n\tas is"), "kept\n\tas is");
    }

    #[test]
    fn markdown_cannot_be_left() {
        assert_eq!(
            markdown("a|b\n`c` <i>*d*"),
            "a\\|b \\`c\\` &lt;i&gt;\\*d\\*"
        );
        assert_eq!(fenced("", "x"), "```\nx\n```\n");
        assert_eq!(
            fenced("toml", "```\n````\n"),
            "`````toml\n```\n````\n`````\n"
        );
        assert_eq!(fenced("", ""), "```\n```\n");
    }
}

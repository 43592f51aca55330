//! How wide a text will be, without its font: viewers set it in whatever they have.

/// Width of a character in em: that of DejaVu Sans, which is wider than most usual fonts, so that the room kept for a
/// label is rather too much than too little.
fn em(character: char) -> f64 {
    match character {
        'i' | 'j' | 'l' | '\'' => 0.28,
        'I' | 'J' => 0.3,
        ' ' | '.' | ',' | '·' | ':' | ';' | '/' | '|' => 0.34,
        '-' | 'f' | '(' | ')' | '[' | ']' => 0.4,
        't' | 'r' | '"' => 0.46,
        's' | 'z' | 'c' | '_' | '*' => 0.55,
        'm' | 'M' | 'W' | '%' | '@' | '…' | '—' => 1.0,
        'w' | '+' | '−' | '=' | '<' | '>' | '×' | '≤' | '≥' | '±' | '→' | '#' | '&' | '~' => {
            0.86
        }
        'G' | 'O' | 'Q' => 0.79,
        'A'..='Z' => 0.77,
        // From here on scripts whose signs are squares.
        '\u{2E80}'.. => 1.0,
        _ => 0.64,
    }
}

/// Semi-bold type is this many times as wide as plain type.
pub(super) const BOLD: f64 = 1.1;

/// Width of a text at a size of type.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(em).sum::<f64>() * size
}

/// The size of type, down to three quarters of `size`, at which a text takes at most `room`.
pub(super) fn fitting(text: &str, size: f64, room: f64) -> f64 {
    let width = text_width(text, size);
    match width > room {
        true => ((size * room / width).max(0.75 * size) * 10.0).floor() / 10.0,
        false => size,
    }
}

/// A text cut to about `width` user units, with an ellipsis where something was cut: at its end, or in the middle of a path,
/// whose ends tell it from others.
pub(super) fn shortened(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width + 1e-6 {
        return text.to_owned();
    }
    let room = width - text_width("…", size);
    if text.contains('.') && !text.contains(' ') {
        let begin: String = within(text.chars(), size, room / 2.0).collect();
        let left = text.chars().count() - begin.chars().count();
        let room = room - text_width(&begin, size);
        let end: Vec<char> = within(text.chars().rev().take(left), size, room).collect();
        let end: String = end.into_iter().rev().collect();
        return format!(
            "{}…{}",
            begin.trim_end_matches('.'),
            end.trim_start_matches('.')
        );
    }
    let kept: String = within(text.chars(), size, room).collect();
    format!("{}…", kept.trim_end())
}

/// The first characters, as many as `room` holds.
fn within(
    characters: impl Iterator<Item = char>,
    size: f64,
    mut room: f64,
) -> impl Iterator<Item = char> {
    characters.take_while(move |character| {
        room -= em(*character) * size;
        room >= 0.0
    })
}

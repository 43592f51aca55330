//! Corpus BLEU, as sacrebleu 2 computes it by default: the number that papers on translation report.
//!
//! ```text
//! BLEU = 100 · BP · exp(¼ Σ_n ln p_n)        p_n = matching n-grams / n-grams of the hypotheses, n = 1 … 4
//! BP   = 1 if h ≥ r, else exp(1 − r/h)       h, r = tokens of all hypotheses, of all references
//! ```
//!
//! An n-gram matches as often as its own reference holds it at most. Counts are summed over the corpus before they are
//! divided. Case counts. Smoothing is `exp`: the k-th order without a match has `p_n = 1 / (2^k · n-grams)`. Without any
//! match at all, or without any n-gram of an order, BLEU is 0, as it is when every hypothesis is below four tokens.
//!
//! Tokens are those of NIST's `mteval-v13a`: punctuation is set apart by spaces, `.` and `,` not between digits, `-` only
//! after a digit. Only ASCII is punctuation; `“` and `…` stay part of their word.
//!
//! # Sources
//!
//! * Papineni, Roukos, Ward, Zhu 2002, *BLEU: a method for automatic evaluation of machine translation*: the formula.
//! * Post 2018, *A call for clarity in reporting BLEU scores*: sacrebleu, whose signature here is
//!   `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp`.

use std::collections::HashMap;

/// Longest n-gram.
const ORDER: usize = 4;

/// BLEU and what it is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bleu {
    /// BLEU, 0 to 100.
    pub score: f64,
    /// `p_n` in percent, smoothed.
    pub precisions: [f64; ORDER],
    /// `BP`.
    pub brevity_penalty: f64,
    /// `h`.
    pub hypothesis_length: usize,
    /// `r`.
    pub reference_length: usize,
}

/// BLEU of hypotheses against one reference each.
///
/// An empty hypothesis is one without n-grams; its reference still counts towards `r`. No sentences at all score 0.
///
/// # Panics
/// If there are not as many references as hypotheses.
pub fn bleu<H: AsRef<str>, R: AsRef<str>>(hypotheses: &[H], references: &[R]) -> Bleu {
    assert_eq!(
        hypotheses.len(),
        references.len(),
        "hypotheses and references"
    );
    let (mut matches, mut totals, mut bleu) = ([0; ORDER], [0; ORDER], Bleu::default());
    for (hypothesis, reference) in hypotheses.iter().zip(references) {
        let (hypothesis, reference) = (tokens(hypothesis.as_ref()), tokens(reference.as_ref()));
        bleu.hypothesis_length += hypothesis.len();
        bleu.reference_length += reference.len();
        for n in 1..=ORDER {
            let wanted = counts(&reference, n);
            let found = counts(&hypothesis, n);
            matches[n - 1] += found
                .iter()
                .map(|(gram, count)| (*count).min(wanted.get(gram).copied().unwrap_or(0)))
                .sum::<usize>();
            totals[n - 1] += found.values().sum::<usize>();
        }
    }
    let (h, r) = (bleu.hypothesis_length as f64, bleu.reference_length as f64);
    bleu.brevity_penalty = match h < r {
        true if h > 0.0 => (1.0 - r / h).exp(),
        true => 0.0,
        false => 1.0,
    };
    // Without a single match, or with nothing to compare, sacrebleu stops before any smoothing.
    if matches.iter().all(|count| *count == 0) {
        return bleu;
    }
    let mut halves = 1.0;
    for n in 0..ORDER {
        if totals[n] == 0 {
            return bleu;
        }
        bleu.precisions[n] = match matches[n] {
            0 => {
                halves *= 2.0;
                100.0 / (halves * totals[n] as f64)
            }
            count => 100.0 * count as f64 / totals[n] as f64,
        };
    }
    let mean = bleu.precisions.iter().map(|p| p.ln()).sum::<f64>() / ORDER as f64;
    bleu.score = bleu.brevity_penalty * mean.exp();
    bleu
}

fn counts(tokens: &[String], n: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for gram in tokens.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

/// The tokens of `mteval-v13a`.
fn tokens(line: &str) -> Vec<String> {
    let mut line = line
        .trim_end_matches(is_space)
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ");
    if line.contains('&') {
        for (entity, character) in [
            ("&quot;", "\""),
            ("&amp;", "&"),
            ("&lt;", "<"),
            ("&gt;", ">"),
        ] {
            line = line.replace(entity, character);
        }
    }
    // A space on either side lets the rules about neighbours hold at the ends too.
    let apart: Vec<char> = format!(" {line} ")
        .chars()
        .flat_map(|c| match is_punctuation(c) {
            true => vec![' ', c, ' '],
            false => vec![c],
        })
        .collect();
    // Each rule is a pass of non-overlapping matches from left to right, as a regular expression's substitution is.
    let point = |c: char| c == '.' || c == ',';
    let digit = |c: char| c.is_ascii_digit();
    let line = rewrite(&apart, |a, b| {
        (!digit(a) && point(b)).then(|| vec![a, ' ', b, ' '])
    });
    let line = rewrite(&line, |a, b| {
        (point(a) && !digit(b)).then(|| vec![' ', a, ' ', b])
    });
    let line = rewrite(&line, |a, b| {
        (digit(a) && b == '-').then(|| vec![a, ' ', b, ' '])
    });
    let line: String = line.into_iter().collect();
    line.split(is_space)
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

/// White space as Python's `str.split` sees it: Unicode's, and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// ASCII punctuation and symbols but `'`, and `.`, `,` and `-`, which the rules about digits treat.
fn is_punctuation(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | '!'..='&' | '('..='+' | ':'..='@' | '/')
}

/// Replaces pairs of neighbours, from left to right; both characters of a match are used up.
fn rewrite(line: &[char], rule: impl Fn(char, char) -> Option<Vec<char>>) -> Vec<char> {
    let (mut out, mut at) = (Vec::with_capacity(2 * line.len()), 0);
    while at < line.len() {
        let next = line.get(at + 1).and_then(|next| rule(line[at], *next));
        match next {
            Some(replacement) => {
                out.extend(replacement);
                at += 2;
            }
            None => {
                out.push(line[at]);
                at += 1;
            }
        }
    }
    out
}

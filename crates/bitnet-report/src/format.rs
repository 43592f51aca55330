//! Numbers as people read them: three significant digits and a unit.
//!
//! Every function takes any value at all; what is not a number comes out as [`NONE`].

/// Stands for what was not measured or is not a number.
pub const NONE: &str = "–";

/// Three significant digits, for numbers below 1000.
fn three_digits(x: f64) -> String {
    // The bounds are where rounding would carry into one more digit.
    let decimals = match x.abs() {
        a if a >= 99.95 => 0,
        a if a >= 9.995 => 1,
        _ => 2,
    };
    minus(format!("{x:.decimals$}"))
}

/// The typographic minus sign; no sign on a zero.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|b| matches!(b, b'0' | b'.')) => digits.to_owned(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// Scales by powers of 1000 and appends the prefix that was reached.
fn scaled(x: f64, prefixes: &[&str]) -> (String, String) {
    let (mut x, mut reached) = (x, 0);
    while x.abs() >= 999.5 && reached + 1 < prefixes.len() {
        x /= 1000.0;
        reached += 1;
    }
    (
        three_digits(x),
        prefixes
            .get(reached)
            .copied()
            .unwrap_or_default()
            .to_owned(),
    )
}

/// `1.23 MB`: decimal units, as disks and file managers count.
pub fn bytes(n: u64) -> String {
    if n < 1000 {
        return format!("{n} B");
    }
    let (digits, prefix) = scaled(n as f64, &["", "k", "M", "G", "T", "P", "E"]);
    format!("{digits} {prefix}B")
}

/// `12.3k tok/s`.
pub fn rate(per_second: f64) -> String {
    rate_of("tok", per_second)
}

/// `12.3k examples/s`, of any unit.
pub fn rate_of(unit: &str, per_second: f64) -> String {
    if !per_second.is_finite() {
        return NONE.to_owned();
    }
    let (digits, prefix) = scaled(per_second, &["", "k", "M", "G"]);
    format!("{digits}{prefix} {unit}/s")
}

/// `1.23M`, and every digit below ten thousand.
pub fn count(n: u64) -> String {
    if n < 10_000 {
        return integer(n);
    }
    let (digits, prefix) = scaled(n as f64, &["", "k", "M", "G", "T", "P", "E"]);
    format!("{digits}{prefix}")
}

/// `1,536,000`.
pub fn integer(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `38 ms`, `12.3 s`, `3 min 05 s`, `2 h 05 min`.
pub fn seconds(s: f64) -> String {
    if !s.is_finite() || s < 0.0 {
        return NONE.to_owned();
    }
    if s < 0.9995 {
        return format!("{} ms", three_digits(s * 1e3));
    }
    if s < 59.95 {
        return format!("{} s", three_digits(s));
    }
    // Casting saturates, so the far future stays in range.
    let whole = s.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        let minutes = (s / 60.0).round() as u64;
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// `1.23 µJ`, from picojoules.
pub fn picojoules(pj: f64) -> String {
    if !pj.is_finite() {
        return NONE.to_owned();
    }
    let (digits, prefix) = scaled(pj, &["p", "n", "µ", "m", "", "k"]);
    format!("{digits} {prefix}J")
}

/// `1.30×`, `0.067×`, `15.2×`.
pub fn ratio(r: f64) -> String {
    if !r.is_finite() {
        return NONE.to_owned();
    }
    let decimals = match r.abs() {
        a if a >= 99.95 => 0,
        a if a >= 9.995 => 1,
        a if a >= 0.0995 => 2,
        a if a >= 0.00995 => 3,
        _ => 4,
    };
    minus(format!("{r:.decimals$}×"))
}

/// A number with so many decimals; [`NONE`] where it is not finite.
pub fn fixed(x: f64, decimals: usize) -> String {
    if x.is_finite() {
        minus(format!("{x:.decimals$}"))
    } else {
        NONE.to_owned()
    }
}

/// Like [`fixed`], with a plus sign where it is positive.
pub fn signed(x: f64, decimals: usize) -> String {
    let text = fixed(x, decimals);
    let zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
    if x > 0.0 && x.is_finite() && !zero {
        format!("+{text}")
    } else {
        text
    }
}

/// `42.1 %`, from a share between 0 and 1.
pub fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{} %", fixed(share * 100.0, 1))
    } else {
        NONE.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_counts() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_234_567), "1.23 MB");
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(bytes(u64::MAX), "18.4 EB");
        assert_eq!(count(2000), "2,000");
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(integer(1_536_000), "1,536,000");
        assert_eq!(integer(12), "12");
    }

    #[test]
    fn rates_times_energies() {
        assert_eq!(rate(12_345.0), "12.3k tok/s");
        assert_eq!(rate(812.4), "812 tok/s");
        assert_eq!(rate_of("examples", 812.4), "812 examples/s");
        assert_eq!(rate(f64::NAN), NONE);
        assert_eq!(seconds(0.0384), "38.4 ms");
        assert_eq!(seconds(12.34), "12.3 s");
        assert_eq!(seconds(59.97), "1 min 00 s");
        assert_eq!(seconds(7502.0), "2 h 05 min");
        assert_eq!(seconds(3599.7), "1 h 00 min");
        assert_eq!(seconds(-1.0), NONE);
        assert!(seconds(f64::MAX).ends_with("min"));
        assert_eq!(picojoules(1_230_000.0), "1.23 µJ");
    }

    #[test]
    fn ratios_and_signs() {
        assert_eq!(ratio(1.304), "1.30×");
        assert_eq!(ratio(0.0667), "0.067×");
        assert_eq!(ratio(71.43), "71.4×");
        assert_eq!(ratio(f64::INFINITY), NONE);
        assert_eq!(signed(0.0431, 3), "+0.043");
        assert_eq!(signed(-0.0431, 3), "−0.043");
        assert_eq!(signed(0.0001, 3), "0.000");
        assert_eq!(signed(-0.0001, 3), "0.000");
        assert_eq!(fixed(-1.5, 1), "−1.5");
        assert_eq!(percent(0.4211), "42.1 %");
    }
}

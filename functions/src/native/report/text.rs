//! How figures and the words of others are written.

use std::borrow::Cow;

/// The text with each character that XML 1.0 cannot have, not even escaped, replaced by U+FFFD: control characters but tab, line feed
/// and carriage return, and U+FFFE and U+FFFF (<https://www.w3.org/TR/xml/#charsets>).
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(allowed) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|char| if allowed(char) { char } else { char::REPLACEMENT_CHARACTER }).collect())
}

const fn allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// The text, or its first `most` characters and an ellipsis.
pub(super) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// Micro-USD as dollars, to three significant digits; cents are always written, when there are any.
pub(super) fn usd(micro_usd: f64) -> String {
    let dollars = micro_usd / 1e6;
    if dollars <= 0.0 || !dollars.is_finite() {
        return "$0".to_owned();
    }
    // The place of the first digit: 0 for $1 to $9, -1 for tenths. What rounds up to the next place has one digit more than it needs.
    let places = (0..12_u8).find(|places| dollars * 10_f64.powi(i32::from(*places)) >= 1.0).unwrap_or(12);
    let decimals = if dollars >= 100.0 { 0 } else { usize::from(places).saturating_add(2).min(13) };
    let text = format!("{dollars:.decimals$}");
    let Some((whole, fraction)) = text.split_once('.') else { return format!("${text}") };
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("${whole}") } else { format!("${whole}.{fraction:0<2}") }
}

/// A whole cost in micro-USD, if it is known.
pub(super) fn cost(micro_usd: Option<u64>) -> String {
    micro_usd.map_or_else(|| "not known".to_owned(), |cost| usd(in_micro_usd(cost)))
}

#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
const fn in_micro_usd(cost: u64) -> f64 {
    cost as f64
}

/// A share of 0 to 1 as a percentage with one decimal.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Milliseconds as seconds, to the millisecond.
pub(super) fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_have_is_replaced_and_nothing_else() {
        assert_eq!(printable("a\u{0}b\u{1b}[31m\u{ffff}"), "a\u{fffd}b\u{fffd}[31m\u{fffd}");
        for kept in ["", "tab\tline\r\n", "é 漢 🦀 \u{85}\u{7f}", "<&>\"']]>"] {
            assert_eq!(printable(kept), kept);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(shortened("🦀🦀🦀", 3), "🦀🦀🦀");
        assert_eq!(shortened("🦀🦀🦀", 2), "🦀🦀…");
    }

    #[test]
    fn dollars_have_three_digits_that_count() {
        for (micro_usd, text) in [
            (0.0, "$0"),
            (-1.0, "$0"),
            (f64::NAN, "$0"),
            (1e-4, "$0.0000000001"),
            (123.456, "$0.000123"),
            (12_300.0, "$0.0123"),
            (500_000.0, "$0.50"),
            (999_999.0, "$1"),
            (1_000_000.0, "$1"),
            (1_204_000.0, "$1.20"),
            (98_765_432.0, "$98.77"),
            (100_000_000.0, "$100"),
            (1_234_567_890.0, "$1235"),
        ] {
            assert_eq!(usd(micro_usd), text, "{micro_usd}");
        }
        assert_eq!(cost(None), "not known");
    }

    #[test]
    fn time_and_shares_are_written_as_people_read_them() {
        assert_eq!([seconds(0), seconds(7), seconds(61_050)], ["0.000", "0.007", "61.050"]);
        assert_eq!([percent(0.0), percent(0.976_54), percent(1.0)], ["0.0 %", "97.7 %", "100.0 %"]);
    }
}

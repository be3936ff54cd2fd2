//! What is taken out of what a tool says: the values of secrets, as they are and in the ways they are commonly written elsewhere.
//! Knows no tool and no store. Nothing may be cut off before this has seen it: half a secret is not found.

use std::ops::Range;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::escapes::{View, WAYS};

/// From which length on a value is taken out, in bytes: a shorter one is a part of too much else.
const FROM_BYTES: usize = 6;
/// What stands in its place.
const IN_ITS_PLACE: &str = "[secret]";
/// How often a value may be escaped, in one way after the other: JSON in JSON, and so on.
const ESCAPED_AT_MOST: u32 = 2;

/// What is taken out. `Debug` shows none of it.
#[derive(Debug, Default)]
pub(crate) struct Redaction {
    /// What is looked for: values, and what encodings make of them.
    forms: Vec<SecretString>,
}

/// Where something is that has to go.
#[derive(Debug)]
struct Found {
    ranges: Vec<Range<usize>>,
    /// From where on everything may be the beginning of a secret whose rest was cut off; the text's length if nothing is.
    begun: usize,
}

impl Redaction {
    /// Takes out these values.
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut forms: Vec<String> = values.filter(|value| value.len() >= FROM_BYTES).flat_map(forms).collect();
        forms.sort_unstable();
        forms.dedup();
        Self { forms: forms.into_iter().map(SecretString::from).collect() }
    }

    /// What was said, as text, without these values. `cut` says that there was more of it, of which nothing is known: then what may
    /// be the beginning of a value at its end goes too.
    pub(crate) fn clean(&self, said: &[u8], cut: bool) -> String {
        let mut found = self.find(said, cut, ESCAPED_AT_MOST);
        if found.ranges.is_empty() && found.begun == said.len() {
            return String::from_utf8_lossy(said).into_owned();
        }
        found.ranges.sort_unstable_by_key(|range| range.start);
        let (mut clean, mut at) = (Vec::with_capacity(said.len()), 0);
        for Range { start, end } in found.ranges.into_iter().filter(|range| range.start < found.begun) {
            // One that overlaps with the one before goes with it.
            if start >= at {
                clean.extend_from_slice(said.get(at..start).unwrap_or_default());
                clean.extend_from_slice(IN_ITS_PLACE.as_bytes());
            }
            at = at.max(end);
        }
        clean.extend_from_slice(said.get(at..found.begun).unwrap_or_default());
        String::from_utf8_lossy(&clean).into_owned()
    }

    /// Everything that has to go, in the text as it stands and as those read it who undo an escaping.
    fn find(&self, text: &[u8], cut: bool, deeper: u32) -> Found {
        let mut found = Found { ranges: Vec::new(), begun: text.len() };
        for form in self.forms.iter().map(|form| form.expose_secret().as_bytes()) {
            found.ranges.extend(memmem::find_iter(text, form).map(|at| at..at.saturating_add(form.len())));
            if cut {
                found.begun = found.begun.min(begun(text, form));
            }
        }
        let ways = WAYS.iter().filter(|_| deeper > 0 && !self.forms.is_empty());
        for view in ways.filter_map(|way| View::of(text, way, cut)) {
            let inner = self.find(&view.text, cut, deeper.saturating_sub(1));
            found.ranges.extend(inner.ranges.into_iter().map(|range| view.place(range.start)..view.place(range.end)));
            if inner.begun < view.text.len() {
                found.begun = found.begun.min(view.place(inner.begun));
            }
        }
        found
    }
}

/// Where the text ends as the form begins; its length if it does not.
fn begun(text: &[u8], form: &[u8]) -> usize {
    let longest = form.len().saturating_sub(1).min(text.len());
    let starts = text.len().saturating_sub(longest)..text.len();
    starts.into_iter().find(|at| text.get(*at..).is_some_and(|end| form.starts_with(end))).unwrap_or(text.len())
}

/// The value, and how it looks in hexadecimal and within base64.
fn forms(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![value.to_owned(), hex.to_uppercase(), hex];
    if value.contains(' ') {
        // As forms in URLs write it.
        forms.push(value.replace(' ', "+"));
    }
    for before in 0..3_usize {
        let whole = Zeroizing::new(["\0".repeat(before).as_str(), value].concat());
        // The characters at both ends say something of what is beside the value too.
        let skipped = if before == 0 { 0 } else { before.saturating_add(1) };
        let kept = whole.len().saturating_mul(8) / 6;
        for text in [STANDARD_NO_PAD.encode(&*whole), URL_SAFE_NO_PAD.encode(&*whole)] {
            forms.extend(text.get(skipped..kept).map(str::to_owned));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ODD: &str = "p\"a/s+s \\<w>&o'r%41d~=";

    fn clean(values: &[&str], text: &str) -> String {
        Redaction::of(values.iter().copied()).clean(text.as_bytes(), false)
    }

    #[test]
    fn values_that_overlap_go_whole_whatever_their_names_and_lengths() {
        let both = ["abcdef", "abcdefGHIJKLMNOP"];
        assert_eq!(clean(&both, "<abcdefGHIJKLMNOP|abcdef>"), "<[secret]|[secret]>");
        assert_eq!(clean(&["uvwxyz", "xyzabc"], "<uvwxyzabc>"), "<[secret]>");
        assert_eq!(clean(&["abcdef", "ghijkl"], "<abcdefghijkl>"), "<[secret][secret]>");
        assert_eq!(clean(&["12345", ""], "12345"), "12345");
        assert_eq!(clean(&[], "a \\u0041"), "a \\u0041");
    }

    #[test]
    fn a_value_that_is_written_in_another_way_goes() {
        let json = Value::from(ODD).to_string();
        let percent = utf8_percent_encode(ODD, NON_ALPHANUMERIC).to_string();
        let unicode: String = ODD.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect();
        let html = ODD.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&#62;").replace('\'', "&#x27;");
        for written in [
            ODD.to_owned(),
            json.trim_start_matches('"').strip_suffix('"').unwrap().to_owned(),
            json.replace('/', "\\/").replace('<', "\\u003c").trim_matches('"').to_owned(),
            json!(json).to_string().trim_matches(['"', '\\']).to_owned(),
            unicode,
            percent.to_lowercase(),
            utf8_percent_encode(&percent, NON_ALPHANUMERIC).to_string(),
            percent.replace("%20", "+"),
            html.replace('"', "&quot;"),
            ODD.bytes().map(|byte| format!("{byte:02X}")).collect(),
            format!("{ODD:?}").trim_matches('"').to_owned(),
        ] {
            let text = format!("you sent {written} here");
            assert_eq!(clean(&[ODD], &text), "you sent [secret] here", "{text}");
        }
    }

    #[test]
    fn a_value_within_base64_goes_but_for_what_its_neighbours_are_a_part_of() {
        let wholes =
            ["", "a", "Bearer ", "user:"].map(|before| ["", "b", "bc"].map(|after| format!("{before}{ODD}{after}")));
        let texts = wholes.iter().flatten().flat_map(|whole| [STANDARD.encode(whole), URL_SAFE.encode(whole)]);
        for text in texts {
            let left = clean(&[ODD], &text);
            assert!(left.contains("[secret]") && left.len() <= "[secret]".len() + 20, "{text}: {left}");
        }
    }

    #[test]
    fn where_an_answer_was_cut_no_beginning_of_a_value_stays() {
        let value = "abcdefGHIJKLMNOP/\u{e9}";
        let redaction = Redaction::of(["abcdef", value].into_iter());
        let percent = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let json = "abcdefGHIJKLMNOP\\/\\u00e9";
        for written in [value, &percent, json] {
            let whole = format!("said {written}");
            for end in 5..whole.len() {
                let clean = redaction.clean(&whole.as_bytes()[..end], true);
                assert!(clean == "said " || clean == "said [secret]", "{end}: {clean}");
            }
            assert_eq!(redaction.clean(whole.as_bytes(), true), "said [secret]");
        }
        assert_eq!(redaction.clean(b"nothing of it%", true), "nothing of it%");
        assert_eq!(redaction.clean(b"it was a", false), "it was a");
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_value_and_none_makes_it_panic(text: String, value in "[ -~]{6,12}", at: prop::sample::Index, cut: bool) {
            let place = text.floor_char_boundary(at.index(text.len() + 1));
            let said = format!("{}{value}{}", &text[..place], &text[place..]);
            let redaction = Redaction::of([value.as_str()].into_iter());
            prop_assume!(!"[secret]".contains(&value));
            let clean = redaction.clean(said.as_bytes(), cut);
            prop_assert!(!clean.contains(&value) || clean.replace("[secret]", "").len() < clean.len(), "{}", clean);
            let _ = redaction.clean(text.as_bytes(), cut);
        }
    }
}

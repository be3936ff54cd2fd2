//! Escapings: how a text reads to those who undo one of them, and where what they read stands in it. Pure.

use std::ops::RangeInclusive;

/// One way to escape: what its escapes begin with, how long one may be, and how one at the beginning of a text is undone.
pub(super) struct Way {
    mark: u8,
    longest: usize,
    undo: fn(&[u8]) -> Option<Undone>,
}

/// What an escape stands for, and its length in bytes.
type Undone = (Vec<u8>, usize);

/// JSON and most programming languages, URLs, HTML.
pub(super) const WAYS: [Way; 3] = [
    Way { mark: b'\\', longest: 12, undo: backslash },
    Way { mark: b'%', longest: 3, undo: percent },
    Way { mark: b'&', longest: 10, undo: entity },
];

/// A text, its escapes undone.
#[derive(Debug)]
pub(super) struct View {
    pub(super) text: Vec<u8>,
    /// Where each of its bytes stands in the text as it was, and at last that text's length.
    places: Vec<usize>,
}

impl View {
    /// The text with its escapes undone; `None` when it has none. Of a text that was `cut`, an escape at the end that lacks its own
    /// end is left out.
    pub(super) fn of(text: &[u8], way: &Way, cut: bool) -> Option<Self> {
        memchr::memchr(way.mark, text)?;
        let (mut view, mut at) = (Self { text: Vec::with_capacity(text.len()), places: Vec::new() }, 0);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let undone = Some(rest).filter(|rest| rest.starts_with(&[way.mark])).map(way.undo);
            if cut && undone == Some(None) && rest.len() < way.longest {
                break;
            }
            if let Some(Some((bytes, length))) = undone {
                view.places.extend(bytes.iter().map(|_| at));
                view.text.extend(bytes);
                at = at.saturating_add(length);
                continue;
            }
            let next = rest
                .iter()
                .skip(1)
                .position(|byte| *byte == way.mark)
                .map_or(rest.len(), |next| next.saturating_add(1));
            let plain = rest.get(..next).unwrap_or(rest);
            view.places.extend(at..at.saturating_add(next));
            view.text.extend_from_slice(plain);
            at = at.saturating_add(next);
        }
        view.places.push(text.len());
        Some(view)
    }

    /// Where that place of it is in the text as it was.
    pub(super) fn place(&self, at: usize) -> usize {
        self.places.get(at).or(self.places.last()).copied().unwrap_or_default()
    }
}

/// `\n`, `\x41`, `\u0041`, `\ud83d\ude00`, and what stands for itself behind a backslash.
fn backslash(text: &[u8]) -> Option<Undone> {
    let unit = |at: usize| {
        let escaped = text.get(at..)?.starts_with(b"\\u").then(|| text.get(at.saturating_add(2)..at.saturating_add(6)));
        u16::try_from(number(escaped??, 16, 4..=4)?).ok()
    };
    match text.get(1)? {
        b'u' => {
            let units = [unit(0)?, unit(6).unwrap_or_default()];
            let read = char::decode_utf16(units).next()?.ok();
            let length = if read.is_some_and(|read| read.len_utf16() > 1) { 12 } else { 6 };
            Some((read.unwrap_or(char::REPLACEMENT_CHARACTER).to_string().into_bytes(), length))
        }
        b'x' => Some((vec![u8::try_from(number(text.get(2..4)?, 16, 2..=2)?).ok()?], 4)),
        b't' => Some((b"\t".to_vec(), 2)),
        b'n' => Some((b"\n".to_vec(), 2)),
        b'r' => Some((b"\r".to_vec(), 2)),
        other => Some((vec![*other], 2)),
    }
}

/// `%41`.
fn percent(text: &[u8]) -> Option<Undone> {
    Some((vec![u8::try_from(number(text.get(1..3)?, 16, 2..=2)?).ok()?], 3))
}

/// `&amp;`, `&#65;`, `&#x41;`.
fn entity(text: &[u8]) -> Option<Undone> {
    let end = text.iter().take(10).position(|byte| *byte == b';')?;
    let read = match text.get(1..end)? {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16, 1..=6)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10, 1..=7)?)?,
        _ => return None,
    };
    Some((read.to_string().into_bytes(), end.saturating_add(1)))
}

/// The number that these digits are, if they are as many.
fn number(digits: &[u8], radix: u32, many: RangeInclusive<usize>) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| many.contains(&digits.len()))?;
    u32::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn undone(way: &Way, text: &str) -> Option<String> {
        View::of(text.as_bytes(), way, false).map(|view| String::from_utf8_lossy(&view.text).into_owned())
    }

    #[test]
    fn escapes_are_undone_and_what_only_looks_like_one_is_left() {
        let [backslash, percent, html] = &WAYS;
        for (way, text, expected) in [
            (backslash, r#"a\"\\\/\u00e9\ud83d\ude00\x41\tz"#, "a\"\\/\u{e9}\u{1f600}A\tz"),
            (backslash, r"\ud83dx\u12\x4", "\u{fffd}x\\u12\\x4"),
            (percent, "a%41%c3%A9%4%zz%+1", "aA\u{e9}%4%zz%+1"),
            (html, "&amp;&#65;&#x41;&quot;&nope;& &#;&#x110000;", "&AA\"&nope;& &#;&#x110000;"),
        ] {
            assert_eq!(undone(way, text).as_deref(), Some(expected));
        }
        assert_eq!(undone(percent, "nothing"), None);
    }

    #[test]
    fn an_escape_that_was_cut_is_left_out() {
        for (way, text) in WAYS.iter().zip(["ab\\u00e", "ab%4", "ab&#x4"]) {
            assert_eq!(View::of(text.as_bytes(), way, true).unwrap().text, b"ab");
            assert_eq!(View::of(text.as_bytes(), way, false).unwrap().text, text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn every_byte_has_its_place(text: Vec<u8>, marks in r"[\\%&a-f0-9ux;#]{0,40}", cut: bool) {
            let whole = [&text, marks.as_bytes()].concat();
            for way in &WAYS {
                let Some(view) = View::of(&whole, way, cut) else { continue };
                prop_assert_eq!(view.places.len(), view.text.len() + 1);
                prop_assert!(view.places.is_sorted() && view.place(view.text.len()) == whole.len());
            }
        }
    }
}

//! Texts with places for secrets: `Bearer {{secret:WEATHER_KEY}}`. Knows no store.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{NAME_LIMIT, is_name};

/// What a place begins with, and what it ends with.
const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";

/// A place for a secret that is not written as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret is written {{{{secret:NAME}}}}, with a name of 1 to {NAME_LIMIT} of A-Z a-z 0-9 _ -")]
pub struct Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Secret(&'a str),
}

/// The names of the secrets that a template has places for, each once, in order of appearance.
///
/// # Errors
/// [`Malformed`] for a place that would never be filled: it would be sent as it stands.
pub fn names(template: &str) -> Result<Vec<&str>, Malformed> {
    let mut names = Vec::new();
    for part in parts(template)? {
        if let Part::Secret(name) = part
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// The template with these values in their places; made in one buffer, which is wiped.
pub(super) fn filled(template: &str, values: &BTreeMap<String, SecretString>) -> Result<SecretString, Malformed> {
    let value = |part| match part {
        Part::Text(text) => Ok(text),
        Part::Secret(name) => values.get(name).map(|value| value.expose_secret()).ok_or(Malformed),
    };
    let texts: Vec<&str> = parts(template)?.into_iter().map(value).collect::<Result<_, _>>()?;
    let mut whole = Zeroizing::new(String::with_capacity(texts.iter().map(|text| text.len()).sum()));
    texts.iter().for_each(|text| whole.push_str(text));
    Ok(SecretString::from(whole.as_str()))
}

fn parts(template: &str) -> Result<Vec<Part<'_>>, Malformed> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((before, inside)) = rest.split_once(OPEN) {
        let (name, after) = inside.split_once(CLOSE).ok_or(Malformed)?;
        if !is_name(name) {
            return Err(Malformed);
        }
        parts.extend([Part::Text(plain(before)?), Part::Secret(name)]);
        rest = after;
    }
    parts.push(Part::Text(plain(rest)?));
    Ok(parts)
}

/// Text without anything that looks as if it was meant to be a place for a secret.
fn plain(text: &str) -> Result<&str, Malformed> {
    let meant = |inside: &str| inside.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("secret"));
    if text.split("{{").skip(1).any(meant) { Err(Malformed) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_once_and_in_order() {
        assert_eq!(names("no place"), Ok(vec![]));
        assert_eq!(names("Bearer {{secret:KEY}}"), Ok(vec!["KEY"]));
        assert_eq!(names("{{secret:b-1}}:{{secret:A_2}}{{secret:b-1}}"), Ok(vec!["b-1", "A_2"]));
        assert_eq!(names("{{other}} {name} {{{{}}"), Ok(vec![]));
    }

    #[test]
    fn a_place_that_would_never_be_filled_is_refused() {
        let long = format!("{{{{secret:{}}}}}", "a".repeat(65));
        for template in [
            "{{secret:",
            "{{secret:}}",
            "{{secret:KEY}",
            "{{secret:KEY",
            "{{secret:a b}}",
            "{{secret: KEY}}",
            "{{ secret:KEY}}",
            "{{Secret:KEY}}",
            "{{secret KEY}}",
            "{{secrets.KEY}}",
            "{{secret:K\u{e9}Y}}",
            "{{secret:{{secret:KEY}}}}",
            "{{secret:KEY}} and {{secret:",
            &long,
        ] {
            assert_eq!(names(template), Err(Malformed), "{template}");
        }
        assert!(Malformed.to_string().contains("{{secret:NAME}}"));
    }

    #[test]
    fn what_a_value_says_is_not_filled_again() {
        let value = |text: &str| SecretString::from(text);
        let values = BTreeMap::from(
            [("A", value("{{secret:B}}")), ("B", value("{{secret:A}}"))].map(|(name, value)| (name.to_owned(), value)),
        );
        let whole = filled("<{{secret:A}}|{{secret:B}}>\u{e9}", &values).unwrap();
        assert_eq!(whole.expose_secret(), "<{{secret:B}}|{{secret:A}}>\u{e9}");
        assert_eq!(filled("{{secret:C}}", &values).unwrap_err(), Malformed);
    }
}

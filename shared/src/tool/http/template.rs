//! URL templates: `{name}` in the path or the query takes an argument, and nothing that is put in changes where the URL leads.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is wrong with a template, for its author.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("has a brace without its other, or a placeholder that is not 1 to 64 of A-Z a-z 0-9 _ . -")]
    Placeholder,
    #[error("takes no argument in its scheme, host or port")]
    Authority,
    #[error("must not contain a fragment (#)")]
    Fragment,
    #[error("takes no secret; headers do")]
    Secret,
}

/// A template, taken apart.
#[derive(Debug)]
pub(super) struct Template<'a> {
    /// Scheme, host and port, as they stand.
    origin: &'a str,
    /// The path's segments.
    path: Vec<Vec<Part<'a>>>,
    query: Option<Vec<Part<'a>>>,
}

#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

impl<'a> Template<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Flaw> {
        if text.contains("{{") {
            return Err(Flaw::Secret);
        }
        if text.contains('#') {
            return Err(Flaw::Fragment);
        }
        let authority = text.find("://").map_or(0, |at| at + 3);
        let end = text.get(authority..).and_then(|rest| rest.find(['/', '?'])).map_or(text.len(), |at| authority + at);
        let (origin, rest) = text.split_at(end);
        if origin.contains(['{', '}']) {
            return Err(Flaw::Authority);
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let path = path.split('/').map(parts).collect::<Result<_, _>>()?;
        Ok(Self { origin, path, query: query.map(parts).transpose()? })
    }

    /// The names of the arguments that it takes.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = &'a str> {
        self.path.iter().flatten().chain(self.query.iter().flatten()).filter_map(|part| match part {
            Part::Placeholder(name) => Some(*name),
            Part::Text(_) => None,
        })
    }

    /// The URL with these arguments; the error is for the model.
    pub(super) fn fill(&self, arguments: &Map<String, Value>) -> Result<String, String> {
        let segments: Vec<String> =
            self.path.iter().map(|parts| segment(parts, arguments)).collect::<Result<_, String>>()?;
        let mut url = format!("{}{}", self.origin, segments.join("/"));
        if let Some(query) = &self.query {
            url.push('?');
            for part in query {
                match part {
                    Part::Text(text) => url.push_str(text),
                    Part::Placeholder(name) => url.push_str(&encoded(&plain(name, arguments)?)),
                }
            }
        }
        Ok(url)
    }
}

/// The URL with these arguments added to its query: an array's elements one by one, nothing for `null`.
pub(super) fn with_query<'a>(mut url: String, arguments: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let mut joint = if url.contains('?') { '&' } else { '?' };
    for (name, value) in arguments {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values.iter().filter(|value| !value.is_null()) {
            url.push(joint);
            joint = '&';
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            url.push_str(&format!("{}={}", encoded(name), encoded(&text)));
        }
    }
    url
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, Flaw> {
    let mut parts = Vec::new();
    for (place, piece) in text.split('{').enumerate() {
        let text = if place == 0 {
            piece
        } else {
            let (name, text) = piece.split_once('}').filter(|(name, _)| is_name(name)).ok_or(Flaw::Placeholder)?;
            parts.push(Part::Placeholder(name));
            text
        };
        if text.contains('}') {
            return Err(Flaw::Placeholder);
        }
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// One segment of the path. What is put in stays within it, and cannot make it empty, `.` or `..`; nor can it once a server
/// decodes too much.
fn segment(parts: &[Part<'_>], arguments: &Map<String, Value>) -> Result<String, String> {
    let mut segment = String::new();
    let mut taken = None;
    for part in parts {
        match part {
            Part::Text(text) => segment.push_str(text),
            Part::Placeholder(name) => {
                let text = plain(name, arguments)?;
                if text.chars().any(char::is_control) || text.split(['/', '\\']).any(is_dots) {
                    return Err(unfit(name));
                }
                segment.push_str(&encoded(&text));
                taken = Some(*name);
            }
        }
    }
    match taken {
        Some(name) if segment.is_empty() || is_dots(&segment.to_ascii_lowercase().replace("%2e", ".")) => {
            Err(unfit(name))
        }
        _ => Ok(segment),
    }
}

fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..")
}

fn unfit(name: &str) -> String {
    format!("argument '{name}' has a value that cannot be part of a path")
}

/// An argument as text; nothing for one that is missing or `null`.
fn plain(name: &str, arguments: &Map<String, Value>) -> Result<String, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(Value::Array(_) | Value::Object(_)) => {
            Err(format!("argument '{name}' must be a string, a number or a boolean, to be part of a URL"))
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use url::Url;

    use super::*;

    fn fill(template: &str, arguments: Value) -> Result<String, String> {
        Template::parse(template).unwrap().fill(arguments.as_object().unwrap())
    }

    #[test]
    fn arguments_stand_where_their_names_stood() {
        let url = fill("https://api.test/a/{id}/b{n}?x={q}&y=1", json!({"id": "7/é?#", "n": 3, "q": "a b&c"})).unwrap();
        assert_eq!(url, "https://api.test/a/7%2F%C3%A9%3F%23/b3?x=a%20b%26c&y=1");
        assert_eq!(fill("https://api.test?x={q}", json!({})).unwrap(), "https://api.test?x=");
        assert_eq!(fill("https://api.test", json!({"q": 1})).unwrap(), "https://api.test");
    }

    #[test]
    fn no_argument_leaves_its_segment() {
        for value in [
            json!(".."),
            json!("."),
            json!(""),
            json!(null),
            json!("../x"),
            json!("a/../b"),
            json!("a\\.."),
            json!("a\nb"),
        ] {
            assert!(fill("https://api.test/a/{id}/b", json!({"id": value})).is_err(), "{value}");
        }
        for (template, value) in [(".{id}", "."), ("{id}.", "."), ("%2e{id}", "."), ("%2E{id}", "")] {
            let template = format!("https://api.test/a/{template}");
            assert!(fill(&template, json!({"id": value})).is_err(), "{template} with {value}");
        }
        assert!(fill("https://api.test/{id}", json!({})).is_err());
        assert!(fill("https://api.test/{id}", json!({"id": ["a"]})).is_err());
    }

    #[test]
    fn a_template_has_its_placeholders_in_path_and_query_only() {
        for (template, flaw) in [
            ("https://{host}/a", Flaw::Authority),
            ("{scheme}://api.test/a", Flaw::Authority),
            ("https://api.test:{port}/a", Flaw::Authority),
            ("https://api.test{path}", Flaw::Authority),
            ("{url}", Flaw::Authority),
            ("https://api.test/{a", Flaw::Placeholder),
            ("https://api.test/a}", Flaw::Placeholder),
            ("https://api.test/{}", Flaw::Placeholder),
            ("https://api.test/{a/b}", Flaw::Placeholder),
            ("https://api.test/{a{b}}", Flaw::Placeholder),
            ("https://api.test/a#{b}", Flaw::Fragment),
            ("https://api.test/?key={{secret:KEY}}", Flaw::Secret),
        ] {
            assert_eq!(Template::parse(template).unwrap_err(), flaw, "{template}");
        }
    }

    #[test]
    fn other_arguments_follow_in_the_query() {
        let arguments = json!({"a": [1, "b c", null], "d": {"e": true}, "f": null, "g&h": "="});
        let added = |url: &str| with_query(url.to_owned(), arguments.as_object().unwrap().iter());
        assert_eq!(added("https://api.test/"), "https://api.test/?a=1&a=b%20c&d=%7B%22e%22%3Atrue%7D&g%26h=%3D");
        assert!(added("https://api.test/?x=1").starts_with("https://api.test/?x=1&a=1&"));
    }

    proptest! {
        #[test]
        fn whatever_is_put_in_the_rest_of_the_url_stays(path in any::<String>(), query in any::<String>()) {
            let arguments = json!({"path": path, "query": query});
            if let Ok(text) = fill("https://api.test/v1/{path}/end?q={query}&z=1", arguments) {
                let url = Url::parse(&text).unwrap();
                prop_assert_eq!(url.origin().ascii_serialization(), "https://api.test");
                let segments: Vec<&str> = url.path_segments().unwrap().collect();
                prop_assert_eq!((segments.len(), segments[0], segments[2]), (3, "v1", "end"));
                let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
                prop_assert_eq!(pairs, [("q".to_owned(), query), ("z".to_owned(), "1".to_owned())]);
                prop_assert!(url.fragment().is_none());
            }
        }
    }
}

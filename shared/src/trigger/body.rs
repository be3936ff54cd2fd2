//! What the bytes of an event say: JSON, a form, or a text. Pure.

use serde_json::{Map, Value as Json};
use url::form_urlencoded;

use super::scheme::Headers;

/// Parts of headers' names that tell of secrets: what has one is not shown to templates.
const HIDDEN: [&str; 7] = ["authorization", "cookie", "signature", "token", "secret", "api-key", "x-amz-security"];

/// The body as templates know it.
pub(super) fn parsed(headers: &Headers, body: &[u8]) -> Json {
    if headers.one("content-type").is_some_and(|media| media.starts_with("application/x-www-form-urlencoded")) {
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(body) {
            // What is interactive on Slack has all in one field.
            let json = (name == "payload").then(|| serde_json::from_str(&value).ok()).flatten();
            fields.insert(name.into_owned(), json.unwrap_or_else(|| Json::String(value.into_owned())));
        }
        return Json::Object(fields);
    }
    serde_json::from_slice(body).unwrap_or_else(|_| Json::String(String::from_utf8_lossy(body).into_owned()))
}

/// The headers that templates may know.
pub(super) fn shown(headers: &Headers) -> Map<String, Json> {
    let told = |name: &str| !HIDDEN.iter().any(|part| name.contains(part));
    headers.all().filter(|(name, _)| told(name)).map(|(name, value)| (name.to_owned(), Json::from(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn bodies_are_json_forms_or_texts() {
        let form = headers(&[("content-type", "application/x-www-form-urlencoded; charset=utf-8")]);
        let plain = headers(&[]);
        assert_eq!(parsed(&plain, br#"{"a":1}"#), json!({"a": 1}));
        assert_eq!(parsed(&plain, b"a=1"), json!("a=1"));
        assert_eq!(parsed(&plain, b"\xff"), json!("\u{fffd}"));
        assert_eq!(parsed(&form, b"a=1&b=%20x"), json!({"a": "1", "b": " x"}));
        assert_eq!(parsed(&form, b"payload=%7B%22a%22%3A1%7D"), json!({"payload": {"a": 1}}));
        let deep = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
        assert_eq!(parsed(&plain, deep.as_bytes()), json!(deep));
    }

    #[test]
    fn headers_that_prove_something_are_not_shown() {
        let all = headers(&[
            ("authorization", "x"),
            ("x-hub-signature-256", "x"),
            ("x-muster-token", "x"),
            ("x-github-event", "push"),
        ]);
        assert_eq!(Json::Object(shown(&all)), json!({"x-github-event": "push"}));
    }
}

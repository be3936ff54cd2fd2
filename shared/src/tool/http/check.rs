//! What is refused when an agent with such a tool is saved, so that it does not come up in a run.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, HeaderValue, header};
use serde_json::{Map, Value};

use super::{KEY_PLACEHOLDER, template::Template};
use crate::{
    error::Problem,
    net::Guard,
    tool::{Http, Policy},
};

/// The most headers of a tool.
const HEADERS_LIMIT: usize = 32;
/// The longest value of a header, in bytes.
const HEADER_VALUE_LIMIT_BYTES: usize = 4_096;

/// Headers that belong to the connection, or to us.
const FORBIDDEN: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::ACCEPT_ENCODING,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What is wrong with this tool, by its fields `url`, `lookup_url` and `headers.<name>`. `parameters` is the schema of its arguments.
#[must_use]
pub fn check_http(guard: &Guard, http: &Http, policy: Policy, parameters: &Value) -> Vec<Problem> {
    let known: BTreeSet<&str> = parameters
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let mut problems: Vec<Problem> = check_url(guard, &http.url, &known).map(|text| problem("url", text)).collect();
    match (&http.lookup_url, policy) {
        (Some(lookup), Policy::Verify) => {
            let known = known.into_iter().chain([KEY_PLACEHOLDER]).collect();
            problems.extend(check_url(guard, lookup, &known).map(|text| problem("lookup_url", text)));
        }
        (None, Policy::Verify) => problems.push(problem("lookup_url", "is required by policy verify")),
        (Some(_), Policy::Read | Policy::Idempotent | Policy::Once) => {
            problems.push(problem("lookup_url", "is for policy verify only"));
        }
        (None, Policy::Read | Policy::Idempotent | Policy::Once) => {}
    }
    check_headers(&http.headers, &mut problems);
    problems
}

fn problem(field: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { field: field.into(), message: message.into() }
}

/// What is wrong with this template, if its arguments have these names.
fn check_url(guard: &Guard, url: &str, known: &BTreeSet<&str>) -> std::vec::IntoIter<String> {
    let template = match Template::parse(url) {
        Ok(template) => template,
        Err(flaw) => return vec![flaw.to_string()].into_iter(),
    };
    let unknown = template.placeholders().filter(|name| !known.contains(name));
    let mut texts: Vec<String> =
        unknown.map(|name| format!("'{{{name}}}' is not a property of the parameters")).collect();
    let examples: Map<String, Value> =
        template.placeholders().map(|name| (name.to_owned(), Value::from("x"))).collect();
    match template.fill(&examples).map(|url| guard.check(&url)) {
        Ok(Ok(_)) => {}
        Ok(Err(refusal)) => texts.push(refusal.to_string()),
        Err(text) => texts.push(text),
    }
    texts.into_iter()
}

/// Adds what is wrong with the headers of a tool, by `headers.<name>`.
pub(in crate::tool) fn check_headers(headers: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    if headers.len() > HEADERS_LIMIT {
        problems.push(problem("headers", format!("must be at most {HEADERS_LIMIT}")));
    }
    let mut seen = BTreeSet::new();
    for (name, value) in headers {
        let field = format!("headers.{name}");
        match HeaderName::try_from(name) {
            Err(_) => problems.push(problem(&field, "is not a header's name")),
            Ok(parsed) if FORBIDDEN.contains(&parsed) => problems.push(problem(&field, "cannot be set")),
            Ok(parsed) if !seen.insert(parsed.to_string()) => {
                problems.push(problem(&field, "is there twice, in capital and small letters"));
            }
            Ok(_) => {}
        }
        if value.len() > HEADER_VALUE_LIMIT_BYTES || HeaderValue::try_from(value).is_err() || !value.is_ascii() {
            let text = format!("must be at most {HEADER_VALUE_LIMIT_BYTES} printable ASCII characters");
            problems.push(problem(&field, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tool::Method;

    fn problems(url: &str, lookup_url: Option<&str>, headers: &[(&str, &str)], policy: Policy) -> Vec<String> {
        let http = Http {
            method: Method::Post,
            url: url.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            lookup_url: lookup_url.map(str::to_owned),
        };
        let parameters = json!({"type": "object", "properties": {"id": {"type": "string"}}});
        let found = check_http(&Guard::new(&[]).unwrap(), &http, policy, &parameters);
        found.into_iter().map(|problem| format!("{} {}", problem.field, problem.message)).collect()
    }

    #[test]
    fn a_tool_as_in_the_document_has_no_problem() {
        let headers = [("Authorization", "Bearer {{secret:KEY}}"), ("Idempotency-Key", "mine"), ("X-A", "")];
        let lookup = Some("https://api.test/v1/by-key/{idempotency_key}?of={id}");
        assert_eq!(problems("https://api.test/v1/{id}", lookup, &headers, Policy::Verify), Vec::<String>::new());
    }

    #[test]
    fn each_problem_names_its_field() {
        let one = |url: &str| {
            let found = problems(url, None, &[], Policy::Once);
            assert_eq!(found.len(), 1, "{url}: {found:?}");
            assert!(found[0].starts_with("url "), "{found:?}");
        };
        for url in [
            "https://api.test/{other}",
            "https://{id}/",
            "https://api.test/{id",
            "http://api.test/{id}",
            "https://127.0.0.1/{id}",
            "https://api.internal/{id}",
            "https://a@api.test/{id}",
            "https://api.test:25/{id}",
            "not a URL",
            "",
        ] {
            one(url);
        }
        let lookups = |lookup, policy| problems("https://api.test/", lookup, &[], policy);
        assert_eq!(lookups(None, Policy::Verify), ["lookup_url is required by policy verify"]);
        assert_eq!(lookups(Some("https://api.test/"), Policy::Once), ["lookup_url is for policy verify only"]);
        assert_eq!(lookups(Some("https://10.0.0.1/"), Policy::Verify), ["lookup_url must lead to a public address"]);
        assert_eq!(
            problems("https://api.test/{idempotency_key}", None, &[], Policy::Once),
            ["url '{idempotency_key}' is not a property of the parameters"]
        );
    }

    #[test]
    fn headers_of_the_connection_and_split_headers_are_refused() {
        for name in ["Host", "content-length", "Transfer-Encoding", "Connection", "keep-alive", "a b", "", "a:b", "é"]
        {
            let found = problems("https://api.test/", None, &[(name, "x")], Policy::Read);
            assert_eq!(found.len(), 1, "{name}: {found:?}");
        }
        for value in ["a\r\nX-B: c", "\0", "é", &"x".repeat(4_097)] {
            let found = problems("https://api.test/", None, &[("X-A", value)], Policy::Read);
            assert_eq!(found.len(), 1, "{value}: {found:?}");
        }
        assert_eq!(problems("https://api.test/", None, &[("X-A", "1"), ("x-a", "2")], Policy::Read).len(), 1);
    }
}

//! From a body or query to a typed value, with errors that name the field and speak JSON, not Rust. Knows no HTTP.

mod words;

use std::borrow::Cow;

use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IgnoredAny},
};
use serde_json::{Value, error::Category};
use shared::{Error, Result, error::Problem};

use self::words::problem;
use crate::unique::Unique;

/// Between a field and what is wrong with it, in the error of a type that reads its fields by itself.
const LOCATED: char = '\u{1f}';

/// The error of such a type: this field below it is wrong.
pub(crate) fn located<E: serde::de::Error>(field: &str, message: &str) -> E {
    E::custom(format!("{field}{LOCATED}{message}"))
}

/// A secret of the caller's own, which may be left out.
pub(crate) fn hidden<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

/// The value as a part of such a type.
pub(crate) fn within<T: DeserializeOwned, E: serde::de::Error>(value: Value) -> Result<T, E> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let Problem { field, message } = problem(String::new(), error.path(), &error.inner().to_string(), "field");
        located(&field, &message)
    })
}

/// The JSON object as `T`.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    expect_shape(body, b'{', "a JSON object")?;
    json(body)
}

/// Any JSON value.
pub(crate) fn value(body: &[u8]) -> Result<Value> {
    match body.trim_ascii() {
        [] => Err(Error::invalid("", "the body is empty; JSON is expected")),
        text => json(text),
    }
}

/// Each object of a JSON array as `T`; every bad one is named, with its index.
pub(crate) fn array<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>> {
    expect_shape(body, b'[', "a JSON array")?;
    each("", json(body)?)
}

/// Each object as `T`; every bad one is named, below `field`.
pub(crate) fn each<T: DeserializeOwned>(field: &str, values: Vec<Value>) -> Result<Vec<T>> {
    let mut items = Vec::with_capacity(values.len());
    let mut problems = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let at = format!("{field}[{index}]");
        if !value.is_object() {
            problems.push(Problem { field: at, message: "must be an object".to_owned() });
            continue;
        }
        match serde_path_to_error::deserialize(value) {
            Ok(item) => items.push(item),
            Err(error) => problems.push(problem(at, error.path(), &error.inner().to_string(), "field")),
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(Error::Invalid(problems)) }
}

/// The same, and each made into what it stands for, of which it is told its place; every bad one is named.
pub(crate) fn each_as<T: DeserializeOwned, U>(
    field: &str,
    values: Vec<Value>,
    made: impl Fn(&str, T) -> Result<U, Problem>,
) -> Result<Vec<U>> {
    let (mut all, mut problems) = (Vec::with_capacity(values.len()), Vec::new());
    for (index, value) in each::<T>(field, values)?.into_iter().enumerate() {
        match made(&format!("{field}[{index}]"), value) {
            Ok(one) => all.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(Error::Invalid(problems)) }
}

/// Each line that is not blank as JSON; every bad one is named, with its index.
pub(crate) fn lines(body: &[u8]) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    let mut problems = Vec::new();
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    for (index, line) in lines.enumerate() {
        match serde_json::from_slice(line) {
            Ok(value) => match unique(&format!("items[{index}]"), line) {
                Ok(()) => values.push(value),
                Err(problem) => problems.push(problem),
            },
            Err(error) => {
                let message = format!("is not valid JSON: {error}");
                problems.push(Problem { field: format!("items[{index}]"), message });
            }
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(Error::Invalid(problems)) }
}

/// A text with something in it: checked while the body is read, so that it is named with everything else that is wrong.
pub(crate) fn not_blank<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Err(D::Error::custom("must not be empty"));
    }
    Ok(text)
}

/// The query as `T`.
pub(crate) fn query<T: DeserializeOwned>(query: &str) -> Result<T> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        Error::Invalid(vec![problem(String::new(), error.path(), &error.inner().to_string(), "parameter")])
    })
}

/// The query in which each of these parameters is given once: the values of one that is there several times have commas between them.
pub(crate) fn joined(query: &str, lists: &[&str]) -> String {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match pairs.iter_mut().find(|(known, _)| *known == name && lists.contains(&&*name)) {
            Some((_, values)) => *values = Cow::Owned(format!("{values},{value}")),
            None => pairs.push((name, value)),
        }
    }
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let mut text = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut text).map_err(|error| match error.inner().classify() {
        Category::Data => {
            Error::Invalid(vec![problem(String::new(), error.path(), &error.inner().to_string(), "field")])
        }
        Category::Syntax if misplaced(body, error.inner()) => {
            Error::Invalid(vec![problem(String::new(), error.path(), "has the wrong type", "field")])
        }
        Category::Io | Category::Syntax | Category::Eof => not_json(error.inner()),
    })?;
    text.end().map_err(|error| not_json(&error))?;
    unique("", body).map_err(|problem| Error::Invalid(vec![problem]))?;
    Ok(value)
}

/// Refuses an object that has a key twice, also where any JSON will do and where serde keeps the last.
fn unique(field: &str, body: &[u8]) -> Result<(), Problem> {
    let mut text = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, Unique>(&mut text) {
        Ok(Unique) => Ok(()),
        Err(error) => Err(problem(field.to_owned(), error.path(), &error.inner().to_string(), "field")),
    }
}

/// Of a number where one of several words should be, serde_json says that it is no JSON.
fn misplaced(body: &[u8], error: &serde_json::Error) -> bool {
    error.to_string().starts_with("expected value") && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Derived types would take an array for an object; we do not.
fn expect_shape(body: &[u8], first: u8, expected: &str) -> Result<()> {
    let Some(found) = body.trim_ascii_start().first() else {
        return Err(Error::invalid("", format!("the body is empty; {expected} is expected")));
    };
    if *found == first {
        return Ok(());
    }
    json::<IgnoredAny>(body)?;
    Err(Error::invalid("", format!("the body must be {expected}")))
}

fn not_json(error: &serde_json::Error) -> Error {
    Error::invalid("", format!("the body is not valid JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Batch {
        items: Vec<Item>,
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Item {
        message: String,
        count: Option<u8>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Auto,
        Manual,
    }

    fn said<T>(outcome: Result<T>) -> String {
        outcome.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_bad_body_is_refused_with_its_field() {
        for (body, expected) in [
            (r#"{"items":[{"message":"a"},{"message":5}]}"#, "items[1].message: must be a string, not an integer"),
            (r#"{"items":[{"message":"a"},{}]}"#, "items[1].message: is required"),
            (
                r#"{"items":[{"message":"a","colour":1}]}"#,
                "items[0].colour: is not a known field; expected `message` or `count`",
            ),
            (r#"{"items":[{"message":"a","message":"b"}]}"#, "items[0].message: is given twice"),
            (r#"{"items":[{"message":"a","count":300}]}"#, "items[0].count: must be an integer from 0 to 255"),
            (
                r#"{"items":[{"message":"a","count":true}]}"#,
                "items[0].count: must be an integer from 0 to 255, not a boolean",
            ),
            (r#"{"items":{"a":1}}"#, "items: must be an array, not an object"),
            (r#"{"items":["a"]}"#, "items[0]: must be an object, not a string"),
            (r#"{"items":null}"#, "items: must be an array, not null"),
            (r#"{"items":[],"mode":"slow"}"#, "mode: must be `auto` or `manual`"),
            (r#"{"items":[],"mode":1}"#, "mode: has the wrong type"),
            (r#"{}"#, "items: is required"),
            ("[]", "the body must be a JSON object"),
            ("null", "the body must be a JSON object"),
            (" ", "the body is empty; a JSON object is expected"),
            ("{", "the body is not valid JSON: EOF while parsing an object at line 1 column 1"),
            (r#"{"items":[]} x"#, "the body is not valid JSON: trailing characters at line 1 column 14"),
        ] {
            assert_eq!(said(object::<Batch>(body.as_bytes())), expected, "{body}");
        }
        assert!(object::<Batch>(br#"{"items":[{"message":"a"}],"mode":"auto"}"#).is_ok());
    }

    #[test]
    fn a_key_that_is_given_twice_is_refused_wherever_it_stands() {
        for (body, expected) in [
            (r#"{"metadata":{"a":"b","a":"c"}}"#, "metadata.a: is given twice"),
            (r#"{"items":[{},{"message":"a","message":"b"}]}"#, "items[1].message: is given twice"),
            (r#"{"items":[{"inputs":{"a":[{"b":1,"c":{},"b":2}]}}]}"#, "items[0].inputs.a[0].b: is given twice"),
            (r#"{"a":1,"a":1}"#, "a: is given twice"),
        ] {
            assert_eq!(said(value(body.as_bytes())), expected, "{body}");
        }
        let twice = lines(b"{\"message\":\"a\"}\n{\"metadata\":{\"a\":1,\"a\":2}}");
        assert_eq!(said(twice), "items[1].metadata.a: is given twice");
        assert!(value(br#"{"a":{"a":1},"b":{"a":1},"c":[null,true,-1,1,1.5,"x"]}"#).is_ok());
    }

    #[test]
    fn every_bad_item_is_named() {
        let outcome = array::<Item>(br#"[{"message":"a"},{"message":1},[1],{"message":"b","x":1}]"#);
        let Err(Error::Invalid(problems)) = outcome else { panic!("accepted") };
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["[1].message", "[2]", "[3].x"]);
        assert_eq!(said(array::<Item>(b"{}")), "the body must be a JSON array");
    }

    #[test]
    fn a_body_too_deep_to_read_is_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(said(value(deep.as_bytes())).contains("recursion limit exceeded"));
    }

    #[test]
    fn a_bad_query_is_refused_with_its_parameter() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct List {
            limit: Option<u32>,
            after: Option<String>,
        }
        for (text, expected) in [
            ("limit=x", "limit: must be a whole number"),
            ("limit=-1", "limit: must be a whole number"),
            ("limit=", "limit: must be a whole number"),
            ("limit=5000000000", "limit: is too large"),
            ("colour=red", "colour: is not a known parameter; expected `limit` or `after`"),
            ("limit=1&limit=2", "limit: is given twice"),
        ] {
            assert_eq!(said(query::<List>(text)), expected, "{text}");
        }
        let list: List = query(&joined("after=a%2Cb&limit=5&after=c%26d", &["after"])).unwrap();
        assert_eq!((list.limit, list.after.as_deref()), (Some(5), Some("a,b,c&d")));
        assert_eq!(said(query::<List>(&joined("limit=1&limit=2", &["after"]))), "limit: is given twice");
        let list: List = query("limit=5&after=a%20b").unwrap();
        assert_eq!((list.limit, list.after.as_deref()), (Some(5), Some("a b")));
    }
}

//! What the OpenAPI document says of answers. Every answer that a test's client gets is held to it, so that each test of a call is one
//! of what is documented of it, too: its status, its content type, and each field of its body.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use functions::{Routes, Surface};
use http::Method;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::Answer;

/// The document.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_slice(&functions::openapi_document()).unwrap())
}

/// Fails unless this answer to a request for this path is documented.
pub(crate) fn assert_documented(method: &str, path: &str, answer: &Answer) {
    let place = format!("{method} {path}: {}", answer.code);
    let content = content_of(method, path, answer.code, &place);
    if content.is_empty() {
        assert!(answer.text.is_empty(), "{place}: documented without a body: {}", answer.text);
        return;
    }
    let media = answer.header("content-type").split(';').next().unwrap();
    let schema = content.get(media).or_else(|| content.get("*/*"));
    let schema = schema.unwrap_or_else(|| panic!("{place}: {media} is not documented"));
    if media == "application/json" {
        assert_fits(&place, &schema["schema"], answer);
    }
}

/// What the document says of bodies of this status, by content type.
fn content_of(method: &str, path: &str, code: u16, place: &str) -> Map<String, Value> {
    let bare = path.split('?').next().unwrap();
    let Ok((route, _)) = Routes::all().find(&Method::from_bytes(method.as_bytes()).unwrap(), bare) else {
        // What is no call of the document is refused, in its surface's words.
        assert!([404, 405].contains(&code), "{place}: there is no such call");
        let error = format!("#/components/schemas/{}ErrorBody", Surface::of(bare).name());
        return Map::from_iter([("application/json".to_owned(), json!({"schema": {"$ref": error}}))]);
    };
    let documented = &document()["paths"][route.path][method.to_lowercase()]["responses"][code.to_string()];
    assert!(documented.is_object(), "{place} is not documented for {}", route.name);
    documented["content"].as_object().cloned().unwrap_or_default()
}

fn assert_fits(place: &str, schema: &Value, answer: &Answer) {
    let body: Value = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{place}: no JSON: {error}"));
    let wrong: Vec<String> =
        validator(schema).iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{place}: not as documented: {wrong:?}\n{body}");
}

/// For this schema, which is part of the document; each is made once.
fn validator(schema: &Value) -> Arc<Validator> {
    static ALL: OnceLock<Mutex<HashMap<String, Arc<Validator>>>> = OnceLock::new();
    static PARTS: OnceLock<Value> = OnceLock::new();
    let mut all = ALL.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let made = all.entry(schema.to_string()).or_insert_with(|| {
        let whole = json!({
            "allOf": [closed(schema.clone())],
            "components": PARTS.get_or_init(|| closed(document()["components"].clone())),
        });
        Arc::new(jsonschema::options().with_draft(Draft::Draft202012).offline().build(&whole).unwrap())
    });
    Arc::clone(made)
}

/// The same where a field that is not documented is wrong. The document itself allows such fields, so that clients do, too.
fn closed(mut schema: Value) -> Value {
    close(&mut schema, &extended());
    schema
}

/// The types that others have fields besides: only both together know all fields.
fn extended() -> Vec<String> {
    fn find(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                if let (Some(reference), true) = (schema["$ref"].as_str(), fields.contains_key("properties")) {
                    found.extend(reference.rsplit('/').next().map(str::to_owned));
                }
                fields.values().for_each(|field| find(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| find(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    find(document(), &mut found);
    found
}

fn close(schema: &mut Value, extended: &[String]) {
    match schema {
        Value::Object(fields) => {
            let mixed = ["$ref", "oneOf", "anyOf", "allOf"].iter().any(|word| fields.contains_key(*word));
            if fields.get("properties").is_some_and(Value::is_object) {
                let word = if mixed { "unevaluatedProperties" } else { "additionalProperties" };
                fields.entry(word).or_insert(json!(false));
                if mixed {
                    return;
                }
            }
            for (_, field) in fields.iter_mut().filter(|(name, _)| !extended.contains(name)) {
                close(field, extended);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, extended)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

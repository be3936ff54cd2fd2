//! A body without what differs each time, so that the whole of it can be compared.

use serde_json::{Map, Value};
use shared::clock::Timestamp;
use uuid::Uuid;

/// The body with `<id>` for ids, `<time>` for moments, `<secret>` for keys and `<ms>` for durations.
pub(crate) fn redacted(body: &Value) -> Value {
    match body {
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                let elapsed = name.ends_with("_ms") && value.is_number();
                (name.clone(), if elapsed { "<ms>".into() } else { redacted(value) })
            };
            Value::Object(fields.iter().map(field).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::String(text) => of_text(text).unwrap_or(text).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => body.clone(),
    }
}

fn of_text(text: &str) -> Option<&'static str> {
    let id = text.rsplit('_').next().unwrap_or(text);
    if id.parse::<Uuid>().is_ok() {
        return Some("<id>");
    }
    if text.starts_with("ag_live_") {
        return Some("<secret>");
    }
    Timestamp::parse_rfc3339(text).map(|_| "<time>")
}

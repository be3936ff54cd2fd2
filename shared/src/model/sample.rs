//! The smallest value that satisfies a JSON Schema, for the scripted model: covers what such schemas are commonly made of.

use serde_json::{Map, Value};

/// How deep a schema is followed: one that refers to itself has no end.
const DEPTH: u8 = 16;
/// The most items and characters that are made because a schema asks for so many.
const MOST: u64 = 1_000;

/// A value that satisfies the schema: required properties only, the first of the values to choose from.
pub(super) fn of(schema: &Value) -> Value {
    at(schema, schema, DEPTH)
}

fn at(root: &Value, schema: &Value, depth: u8) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return Value::Null };
    if let Some(value) = schema.get("const").or_else(|| schema.pointer("/enum/0")).or_else(|| schema.get("default")) {
        return value.clone();
    }
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|to| root.pointer(to.strip_prefix('#')?));
    let choice = target.or_else(|| ["anyOf", "oneOf", "allOf"].into_iter().find_map(|key| schema.get(key)?.get(0)));
    if let Some(inner) = choice {
        return at(root, inner, depth);
    }
    let kind = schema.get("type");
    match kind.and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str())) {
        Some("string") => Value::String(text(schema)),
        Some("integer") => Value::from(least(schema).ceil() as i64),
        Some("number") => Value::from(least(schema)),
        Some("boolean") => Value::Bool(true),
        Some("array") => {
            let item = || schema.get("items").map_or(Value::Null, |items| at(root, items, depth));
            (0..size(schema, "minItems")).map(|_| item()).collect()
        }
        Some("null") => Value::Null,
        Some("object") => object(root, schema, depth),
        _ if schema.get("properties").is_some() => object(root, schema, depth),
        _ => Value::String(text(schema)),
    }
}

fn object(root: &Value, schema: &Value, depth: u8) -> Value {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let member = |name: &str| {
        let property = schema.get("properties").and_then(|properties| properties.get(name));
        (name.to_owned(), property.map_or(Value::Null, |property| at(root, property, depth)))
    };
    Value::Object(required.map(member).collect::<Map<_, _>>())
}

/// A text of a length that the schema allows.
fn text(schema: &Value) -> String {
    let text = "scripted";
    let (least, most) = (size(schema, "minLength"), schema.get("maxLength").and_then(Value::as_u64).unwrap_or(MOST));
    let length = least.max(most.min(8));
    text.chars().cycle().take(usize::try_from(length).unwrap_or(0)).collect()
}

fn size(schema: &Value, key: &str) -> u64 {
    schema.get(key).and_then(Value::as_u64).unwrap_or(0).min(MOST)
}

/// The least number that the schema allows, or the most when it sets only that, or zero.
fn least(schema: &Value) -> f64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|bound| bound + 1.0));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|bound| bound - 1.0));
    least.unwrap_or_else(|| most.map_or(0.0, |most| most.min(0.0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_has_what_its_schema_requires() {
        let schema = json!({
            "type": "object",
            "required": ["name", "n", "x", "ok", "tags", "kind", "one", "part", "maybe", "long", "none", "any"],
            "properties": {
                "name": {"type": "string"}, "left_out": {"type": "string"}, "n": {"type": "integer", "minimum": 2.5},
                "x": {"type": "number", "exclusiveMaximum": -3}, "ok": {"type": "boolean"},
                "tags": {"type": "array", "minItems": 2, "items": {"type": "string", "maxLength": 3}},
                "kind": {"enum": ["a", "b"]}, "one": {"const": 7}, "part": {"$ref": "#/$defs/part"},
                "maybe": {"type": ["integer", "null"]}, "long": {"type": "string", "minLength": 10}, "none": {"type": "null"},
                "any": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}
            },
            "$defs": {"part": {"properties": {"a": {"type": "array"}}, "required": ["a"]}}
        });
        let expected = json!({"name": "scripted", "n": 3, "x": -4.0, "ok": true, "tags": ["scr", "scr"], "kind": "a", "one": 7,
            "part": {"a": []}, "maybe": 0, "long": "scriptedsc", "none": null, "any": true});
        assert_eq!(of(&schema), expected);
    }

    #[test]
    fn a_schema_without_end_ends() {
        let schema = json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(of(&schema).to_string().len() < 400);
        assert_eq!(of(&json!({"type": "array", "minItems": 1e15, "items": {}})), json!([]));
        assert_eq!(of(&json!({"type": "array", "minItems": 5000})).as_array().map(Vec::len), Some(1_000));
        assert_eq!(of(&json!(true)), json!("scripted"));
    }
}

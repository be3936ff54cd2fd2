//! What a schema consists of, and how large values are. Knows no limits but of depth.

use serde_json::{Map, Value};

use super::SCHEMA_DEPTH_LIMIT;

/// How many bytes of text count for one part of an instance.
const TEXT_PART_BYTES: usize = 64;

/// How large an instance is.
#[derive(Default)]
pub(super) struct Size {
    /// Its values, and long texts as several.
    pub(super) parts: u64,
    /// How deep they are within each other; 0 for one alone.
    pub(super) depth: usize,
}

impl Size {
    pub(super) fn of(value: &Value) -> Self {
        let mut size = Self::default();
        size.add(value, 0);
        size
    }

    fn add(&mut self, value: &Value, depth: usize) {
        let text = match value {
            Value::String(text) => text.len(),
            Value::Object(fields) => fields.keys().map(String::len).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
        };
        self.parts = self.parts.saturating_add(1).saturating_add((text / TEXT_PART_BYTES) as u64);
        self.depth = self.depth.max(depth);
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(item, depth.saturating_add(1))),
            Value::Object(fields) => fields.values().for_each(|field| self.add(field, depth.saturating_add(1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Which parts below the one that a schema is applied to another is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Below<'a> {
    Property(&'a str),
    Item(usize),
    Any,
}

/// Keywords whose value is a schema, a list of schemas, or schemas by name, applied to the same part.
pub(super) const SAME: [&str; 4] = ["not", "if", "then", "else"];
pub(super) const SAME_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
pub(super) const SAME_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];
/// The same, applied to parts below.
pub(super) const BELOW: [&str; 7] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
pub(super) const BELOW_LISTS: [&str; 2] = ["prefixItems", "items"];
/// Keywords that make references other than those within the document, or that depend on how it was reached.
const NOT_KNOWN: [&str; 4] = ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"];

/// The schemas under these keywords, with the part that each is applied to.
pub(super) fn schemas<'a>(
    fields: &'a Map<String, Value>,
    single: &'static [&'static str],
    lists: &'static [&'static str],
    maps: &'static [&'static str],
) -> impl Iterator<Item = (Below<'a>, &'a Value)> {
    let found = |keywords: &'static [&'static str]| {
        keywords.iter().filter_map(|keyword| Some((*keyword, fields.get(*keyword)?)))
    };
    let single = found(single).filter(|(_, value)| !value.is_array()).map(|(_, schema)| (Below::Any, schema));
    let lists = found(lists).filter_map(|(_, value)| value.as_array());
    let lists = lists.flat_map(|items| items.iter().enumerate().map(|(index, schema)| (Below::Item(index), schema)));
    let maps = found(maps).filter_map(|(keyword, value)| Some((keyword, value.as_object()?)));
    let maps = maps.flat_map(|(keyword, named)| {
        let place = move |name: &'a str| if keyword == "properties" { Below::Property(name) } else { Below::Any };
        // `dependencies` may name properties instead.
        named.iter().filter(|(_, value)| !value.is_array()).map(move |(name, schema)| (place(name), schema))
    });
    single.chain(lists).chain(maps)
}

/// What is refused wherever it stands: too deep, references that are not followed, schemas with a name of their own.
pub(super) fn scan(value: &Value, depth: usize) -> Result<(), String> {
    let deeper = depth.saturating_add(1);
    match value {
        Value::Array(_) | Value::Object(_) if deeper > SCHEMA_DEPTH_LIMIT => {
            Err(format!("is nested more than {SCHEMA_DEPTH_LIMIT} deep"))
        }
        Value::Array(items) => items.iter().try_for_each(|item| scan(item, deeper)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            let named = depth > 0 && matches!(name.as_str(), "$id" | "$schema");
            if field.is_string() && (named || NOT_KNOWN.contains(&name.as_str())) {
                return Err(format!("has {name} where it is not supported"));
            }
            scan(field, deeper)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// How many values there are in the value, and itself.
pub(super) fn parts(value: &Value) -> u64 {
    Size::of(value).parts
}

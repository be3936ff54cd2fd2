//! JSON Schema (2020-12, and draft-07 where a schema says so) of a tool's arguments: whether a schema may be used, and whether a
//! model's call satisfies it. Schemas and arguments come from strangers, so the work for each is bounded before any of it is done.

mod bounds;
mod read;
mod walk;

use std::fmt::{self, Write};

use jsonschema::{Draft, PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

/// The largest schema, in bytes of JSON.
pub const SCHEMA_LIMIT_BYTES: usize = 64 * 1024;
/// The deepest schema: so many objects and arrays within each other.
pub const SCHEMA_DEPTH_LIMIT: usize = 32;
/// The largest arguments of one call, in bytes of JSON.
pub const ARGUMENTS_LIMIT_BYTES: usize = 256 * 1024;

/// The most that a model is told at once of what is wrong with its arguments.
const MESSAGES_LIMIT: usize = 5;
/// The longest message, and the longest value that one repeats, in characters.
const MESSAGE_LIMIT: usize = 300;
const VALUE_LIMIT: usize = 80;
/// The largest compiled pattern, and the largest cache of its matching, in bytes.
const PATTERN_LIMIT_BYTES: usize = 1024 * 1024;
/// Above so much work only the first thing that is wrong is looked for.
const ALL_WRONG_LIMIT: u64 = 200_000;

/// Whether a tool may have this schema of its arguments.
///
/// # Errors
/// What is wrong with it, for its author: it is no valid schema, not of an object, larger or deeper than the limits, refers to
/// something outside itself, has a pattern that cannot be matched in linear time, or may take too long to check.
pub fn check(schema: &Value) -> Result<(), String> {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err("must be a schema of an object: \"type\": \"object\"".to_owned());
    }
    bounds::check(schema)?;
    compiled(schema).map(drop)
}

/// Whether a model's answer may have this schema: of a value of any type.
///
/// # Errors
/// As [`check`].
pub fn check_output(schema: &Value) -> Result<(), String> {
    if !schema.is_object() {
        return Err("must be a JSON Schema: an object".to_owned());
    }
    bounds::check(schema)?;
    compiled(schema).map(drop)
}

/// Whether the instance satisfies the schema.
///
/// # Errors
/// At most 5 messages for a model to act on, each with the JSON pointer of what it is about.
pub fn validate(schema: &Value, instance: &Value) -> Result<(), Vec<String>> {
    let unusable = |why| vec![cut(format_args!("cannot be checked: the schema {why}"))];
    let work = bounds::work(schema, instance).map_err(unusable)?;
    let validator = compiled(schema).map_err(unusable)?;
    if validator.is_valid(instance) {
        return Ok(());
    }
    let mut messages: Vec<String> = if work > ALL_WRONG_LIMIT {
        validator.validate(instance).err().iter().map(message).collect()
    } else {
        validator.iter_errors(instance).take(MESSAGES_LIMIT).map(|error| message(&error)).collect()
    };
    if messages.is_empty() {
        messages.push("does not satisfy the schema".to_owned());
    }
    Err(messages)
}

/// The arguments of a call, as a model wrote them; an empty text is no arguments.
///
/// # Errors
/// What is wrong with them, for the model: no JSON object, a key twice, more than the schema allows.
pub fn arguments(schema: &Value, text: &str) -> Result<Map<String, Value>, String> {
    if text.len() > ARGUMENTS_LIMIT_BYTES {
        return Err(format!("the arguments are larger than {ARGUMENTS_LIMIT_BYTES} bytes"));
    }
    let text = if text.trim().is_empty() { "{}" } else { text };
    let read = read::json(text).map_err(|error| cut(format_args!("the arguments are not valid JSON: {error}")))?;
    let other = || "the arguments must be a JSON object".to_owned();
    if !read.is_object() {
        return Err(other());
    }
    validate(schema, &read).map_err(|messages| messages.join("\n"))?;
    let Value::Object(arguments) = read else { return Err(other()) };
    Ok(arguments)
}

/// The JSON value that a model's answer is, within a code fence too.
///
/// # Errors
/// What is wrong with it, for the model.
pub fn value(answer: &str) -> Result<Value, String> {
    let text = answer.trim();
    let fenced = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    let text = fenced.map_or(text, |text| text.strip_prefix("json").unwrap_or(text));
    read::json(text).map_err(|error| cut(format_args!("the answer is not valid JSON: {error}")))
}

/// The value that a model's answer is, if it satisfies the schema.
///
/// # Errors
/// What is wrong with it, for the model.
pub fn answer(schema: &Value, text: &str) -> Result<Value, String> {
    let value = value(text)?;
    validate(schema, &value).map_err(|messages| messages.join("\n"))?;
    Ok(value)
}

/// Nothing is fetched, and patterns are matched in linear time. What names the schema itself is left out, so that every
/// reference is one into it.
fn compiled(schema: &Value) -> Result<Validator, String> {
    let draft = draft(schema)?;
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$id");
        fields.remove("$schema");
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_LIMIT_BYTES).dfa_size_limit(PATTERN_LIMIT_BYTES);
    jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(patterns)
        .build(&schema)
        .map_err(|error| cut(format_args!("is not a valid schema: {}", message(&error))))
}

fn draft(schema: &Value) -> Result<Draft, String> {
    let Some(named) = schema.get("$schema") else { return Ok(Draft::Draft202012) };
    match named.as_str().map(|name| name.trim_end_matches('#')) {
        Some("https://json-schema.org/draft/2020-12/schema") => Ok(Draft::Draft202012),
        Some("http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema") => Ok(Draft::Draft7),
        _ => Err("$schema must be https://json-schema.org/draft/2020-12/schema or draft-07, or be left out".to_owned()),
    }
}

fn message(error: &ValidationError) -> String {
    let masked = error.masked_with("the value");
    let unknown = error.schema_path().as_str().ends_with("/additionalProperties");
    let pattern = matches!(error.kind(), ValidationErrorKind::Format { format } if format == "regex");
    let said: &dyn fmt::Display = if unknown && matches!(error.kind(), ValidationErrorKind::FalseSchema) {
        &"only properties that the schema names are allowed"
    } else if pattern {
        &NO_PATTERN
    } else if limited(VALUE_LIMIT, format_args!("{}", error.instance())).1 {
        &masked
    } else {
        error
    };
    match error.instance_path().as_str() {
        "" => cut(format_args!("{said}")),
        pointer => cut(format_args!("{pointer}: {said}")),
    }
}

/// Of a pattern, the crate says only that it is none.
const NO_PATTERN: &str =
    "is not a pattern that can be matched in linear time: no look-around, no back-references, not too large";

fn cut(text: fmt::Arguments) -> String {
    match limited(MESSAGE_LIMIT - 1, text) {
        (text, false) => text,
        (text, true) => text + "\u{2026}",
    }
}

/// The text up to so many characters, and whether there is more, which is not even made.
fn limited(most: usize, text: fmt::Arguments) -> (String, bool) {
    let mut limited = Limited { text: String::new(), left: most };
    let more = limited.write_fmt(text).is_err();
    (limited.text, more)
}

struct Limited {
    text: String,
    left: usize,
}

impl Write for Limited {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for character in more.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(character);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! What serde says is wrong, in the words of somebody who writes JSON.

use serde_path_to_error::{Path, Segment};
use shared::error::Problem;

use super::LOCATED;

/// What serde says, with the field in front and in JSON's words.
pub(super) fn problem(mut field: String, path: &Path, said: &str, noun: &str) -> Problem {
    for segment in path {
        match segment {
            Segment::Seq { index } => field.push_str(&format!("[{index}]")),
            Segment::Map { key } => push_name(&mut field, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let said = said.rfind(" at line ").map_or(said, |end| said.get(..end).unwrap_or(said));
    if let Some((below, message)) = said.split_once(LOCATED) {
        if !below.is_empty() {
            push_name(&mut field, below);
        }
        return Problem { field, message: message.to_owned() };
    }
    let message = explain(&mut field, said, noun);
    Problem { field, message }
}

fn explain(field: &mut String, said: &str, noun: &str) -> String {
    if let Some(name) = quoted_after(said, "missing field ") {
        push_name(field, name);
        return "is required".to_owned();
    }
    if let Some(name) = quoted_after(said, "duplicate field ") {
        push_last(field, name);
        return "is given twice".to_owned();
    }
    if let Some(name) = quoted_after(said, "unknown field ") {
        push_last(field, name);
        let known = said.split_once(", expected ").map_or(String::new(), |(_, known)| format!("; expected {known}"));
        return format!("is not a known {noun}{known}");
    }
    if said.starts_with("unknown variant ")
        && let Some((_, known)) = said.split_once(", expected ")
    {
        return format!("must be {known}");
    }
    let Some((found, expected)) = said.split_once(", expected ") else {
        return of_text(said).to_owned();
    };
    let expected = in_json(expected);
    match found.strip_prefix("invalid type: ") {
        Some(found) => {
            format!("must be {expected}, not {}", in_json(found.split([' ', '`', '"']).next().unwrap_or(found)))
        }
        None => format!("must be {expected}"),
    }
}

/// Why a text, as of a query, is not what it should be.
fn of_text(said: &str) -> &str {
    match said {
        "invalid digit found in string" | "cannot parse integer from empty string" => "must be a whole number",
        "number too large to fit in target type" => "is too large",
        "number too small to fit in target type" => "is too small",
        "invalid float literal" | "cannot parse float from empty string" => "must be a number",
        "provided string was not `true` or `false`" => "must be `true` or `false`",
        other => other,
    }
}

/// A type's name as somebody who writes JSON knows it.
fn in_json(name: &str) -> &str {
    match name {
        "string" | "character" | "string or map" => "a string",
        "integer" => "an integer",
        "floating" | "f32" | "f64" => "a number",
        "boolean" => "a boolean",
        "map" | "a map" => "an object",
        "sequence" | "a sequence" => "an array",
        "null" | "unit" | "Option" => "null",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer of 0 or more",
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum ") => "an object",
        other if other.starts_with("variant ") || other.starts_with("enum ") => "a string",
        other => other,
    }
}

fn quoted_after<'text>(said: &'text str, start: &str) -> Option<&'text str> {
    said.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

fn push_name(field: &mut String, name: &str) {
    if !field.is_empty() {
        field.push('.');
    }
    field.push_str(name);
}

/// Appends the name unless the path ends with it already.
fn push_last(field: &mut String, name: &str) {
    let there = field == name || field.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    if !there {
        push_name(field, name);
    }
}

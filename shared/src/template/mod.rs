//! Templates and expressions of users: what an event of a trigger becomes, or the results of a batch. Jinja as far as [`guard`] allows, with a
//! bound on its work, and no way to anything but what it is given. Strings stand in a text as they are, nothing for what is not there or `null`, any other value as JSON.

mod guard;
mod node;
mod sample;

use std::{io, sync::Arc};

use minijinja::{Environment, Error as Wrong, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use self::node::{Meter, node};
pub(crate) use self::sample::{sample, value_of};
use crate::{error::Problem, run::Prompt};

/// The most bytes of what templates of an event may come to, each by itself.
pub const RENDERED_LIMIT_BYTES: usize = 256 * 1024;
/// The most templates of a prompt: strings of its inputs.
pub const TEMPLATES_LIMIT: usize = 100;
/// The most rows that an event may be.
pub const ROWS_LIMIT: usize = 1_000;

/// What one text or expression may do (see [`Environment::set_fuel`]), and what those of one event may do together.
const FUEL: u64 = 200_000;
const FUEL_OF_EVENT: u64 = 2_000_000;
/// What a text may do that has to do with thousands of results.
const FUEL_OF_RESULTS: u64 = 1_000_000;
/// What is left for each, however many there are.
const FUEL_LEAST: u64 = 2_000;
/// The longest that is said of what is wrong, in characters.
const SAID_CHARS: usize = 300;
/// What is left out of the library's own: what makes large values of small ones, and what says nothing of an event.
const FILTERS_OUT: [&str; 12] =
    ["batch", "slice", "sum", "indent", "chain", "zip", "pprint", "format", "groupby", "safe", "escape", "e"];
const GLOBALS_OUT: [&str; 4] = ["range", "dict", "debug", "namespace"];

/// What templates know.
#[derive(Debug)]
pub(crate) struct Known {
    root: Vec<(&'static str, Value)>,
    meter: Arc<Meter>,
    fuel: u64,
    limit_bytes: usize,
}

impl Known {
    /// Of an event: these values by name.
    pub(crate) fn of_event(root: impl IntoIterator<Item = (&'static str, Json)>) -> Self {
        Self::new(root, FUEL, RENDERED_LIMIT_BYTES)
    }

    /// Of results, of which there may be thousands: these values by name. A text may have so many bytes.
    pub(crate) fn of_results(root: impl IntoIterator<Item = (&'static str, Json)>, limit_bytes: usize) -> Self {
        Self::new(root, FUEL_OF_RESULTS, limit_bytes)
    }

    fn new(root: impl IntoIterator<Item = (&'static str, Json)>, fuel: u64, limit_bytes: usize) -> Self {
        let meter = Meter::new();
        let root = root.into_iter().map(|(name, json)| (name, node(json, &meter))).collect();
        Self { root, meter, fuel, limit_bytes }
    }

    /// The same for one of so many rows.
    fn of_row(&self, row: &Value, rows: u64) -> Self {
        let mut root = self.root.clone();
        root.push(("row", row.clone()));
        let fuel = FUEL_OF_EVENT.checked_div(rows).unwrap_or(FUEL).clamp(FUEL_LEAST, FUEL);
        Self { root, meter: Arc::clone(&self.meter), fuel, limit_bytes: self.limit_bytes }
    }

    /// The same for each of these rows, which texts know as `row`.
    pub(crate) fn each(&self, rows: Vec<Json>) -> Vec<Self> {
        let many = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        rows.into_iter().map(|row| self.of_row(&node(row, &self.meter), many)).collect()
    }

    fn environment(&self) -> Environment<'static> {
        let mut environment = environment();
        environment.set_fuel(Some(self.fuel));
        environment
    }

    fn value(&self) -> Value {
        Value::from_pairs(self.root.iter().map(|(name, value)| (*name, value.clone())))
    }

    /// What a text comes to.
    pub(crate) fn text(&self, field: &str, source: &str) -> Result<String, Problem> {
        guard::text(source).map_err(|message| problem(field, message))?;
        self.begin(field)?;
        let environment = self.environment();
        let template = environment.template_from_str(source).map_err(|wrong| said(field, &wrong))?;
        let text = template.render(self.value()).map_err(|wrong| said(field, &wrong))?;
        self.unless_used_up(field)?;
        if text.len() > self.limit_bytes {
            return Err(problem(field, too_long(self.limit_bytes)));
        }
        self.came_to(field, text.len())?;
        Ok(text)
    }

    fn evaluated(&self, field: &str, source: &str) -> Result<Value, Problem> {
        guard::expression(source).map_err(|message| problem(field, message))?;
        self.begin(field)?;
        let environment = self.environment();
        let expression = environment.compile_expression(source).map_err(|wrong| said(field, &wrong))?;
        let value = expression.eval(self.value()).map_err(|wrong| said(field, &wrong))?;
        self.unless_used_up(field)?;
        Ok(value)
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, field: &str, source: &str) -> Result<bool, Problem> {
        let holds = self.evaluated(field, source)?.is_true();
        self.unless_used_up(field).map(|()| holds)
    }

    /// A JSON value in which strings are templates, filled; `None` for a string that is one expression which yields nothing.
    fn filled(&self, field: &str, value: &Json) -> Result<Option<Json>, Problem> {
        Ok(Some(match value {
            Json::String(source) => match one_expression(source) {
                Some(expression) => {
                    let value = self.evaluated(field, expression)?;
                    if value.is_undefined() {
                        return Ok(None);
                    }
                    let json = json(&value).map_err(|message| problem(field, message))?;
                    self.unless_used_up(field)?;
                    self.came_to(field, json.len())?;
                    serde_json::from_str(&json).map_err(|_| problem(field, "yields what is no JSON".to_owned()))?
                }
                None => Json::String(self.text(field, source)?),
            },
            Json::Array(items) => {
                let filled = items.iter().enumerate().map(|(index, item)| {
                    self.filled(&format!("{field}[{index}]"), item).map(Option::unwrap_or_default)
                });
                Json::Array(filled.collect::<Result<_, _>>()?)
            }
            Json::Object(fields) => Json::Object(self.all_filled(field, fields)?),
            Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        }))
    }

    fn all_filled(&self, field: &str, fields: &Map<String, Json>) -> Result<Map<String, Json>, Problem> {
        let mut all = Map::new();
        for (name, value) in fields {
            if let Some(filled) = self.filled(&format!("{field}.{name}"), value)? {
                all.insert(name.clone(), filled);
            }
        }
        Ok(all)
    }

    /// A prompt whose texts are templates, filled.
    pub(crate) fn prompt(&self, prompt: &Prompt) -> Result<Prompt, Problem> {
        Ok(match prompt {
            Prompt::Message(source) => Prompt::Message(self.text("message", source)?),
            Prompt::Inputs(inputs) => Prompt::Inputs(self.all_filled("inputs", inputs)?),
        })
    }

    /// What there is for each of the rows that an expression yields: 1 to [`ROWS_LIMIT`].
    pub(crate) fn rows(&self, field: &str, source: &str) -> Result<Vec<Self>, Problem> {
        let value = self.evaluated(field, source)?;
        let none = |_| problem(field, "must yield an array".to_owned());
        if !matches!(value.kind(), minijinja::value::ValueKind::Seq | minijinja::value::ValueKind::Iterable) {
            return Err(problem(field, "must yield an array".to_owned()));
        }
        let rows: Vec<Value> = value.try_iter().map_err(none)?.take(ROWS_LIMIT.saturating_add(1)).collect();
        self.unless_used_up(field)?;
        if rows.is_empty() || rows.len() > ROWS_LIMIT {
            return Err(problem(field, format!("must yield 1 to {ROWS_LIMIT} rows")));
        }
        let many = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(rows.iter().map(|row| self.of_row(row, many)).collect())
    }

    fn begin(&self, field: &str) -> Result<(), Problem> {
        if self.meter.begin() { Ok(()) } else { Err(problem(field, "does too much".to_owned())) }
    }

    fn came_to(&self, field: &str, bytes: usize) -> Result<(), Problem> {
        let too_much = || problem(field, "comes to too much, together with the others".to_owned());
        if self.meter.came_to(bytes) { Ok(()) } else { Err(too_much()) }
    }

    fn unless_used_up(&self, field: &str) -> Result<(), Problem> {
        if self.meter.used_up() { Err(problem(field, "does too much".to_owned())) } else { Ok(()) }
    }
}

/// What is wrong with a text template.
pub(crate) fn check_text(field: &str, source: &str) -> Result<(), Problem> {
    guard::text(source).map_err(|message| problem(field, message))?;
    environment().template_from_str(source).map(|_| ()).map_err(|wrong| said(field, &wrong))
}

/// What is wrong with an expression.
pub(crate) fn check_expression(field: &str, source: &str) -> Result<(), Problem> {
    if source.trim().is_empty() {
        return Err(problem(field, "must not be empty".to_owned()));
    }
    guard::expression(source).map_err(|message| problem(field, message))?;
    environment().compile_expression(source).map(|_| ()).map_err(|wrong| said(field, &wrong))
}

/// What is wrong with a prompt whose texts are templates.
pub(crate) fn check_prompt(prompt: &Prompt, problems: &mut Vec<Problem>) {
    match prompt {
        Prompt::Message(source) if source.trim().is_empty() => {
            problems.push(problem("message", "must not be empty".to_owned()));
        }
        Prompt::Message(source) => problems.extend(check_text("message", source).err()),
        Prompt::Inputs(inputs) => {
            let mut many = 0;
            for (name, value) in inputs {
                check_json(&format!("inputs.{name}"), value, &mut many, problems);
            }
            if many > TEMPLATES_LIMIT {
                problems.push(problem("inputs", format!("must have at most {TEMPLATES_LIMIT} strings")));
            }
        }
    }
}

fn check_json(field: &str, value: &Json, many: &mut usize, problems: &mut Vec<Problem>) {
    match value {
        Json::String(source) => {
            *many = many.saturating_add(1);
            let checked = match one_expression(source) {
                Some(expression) => check_expression(field, expression),
                None => check_text(field, source),
            };
            problems.extend(checked.err());
        }
        Json::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
            check_json(&format!("{field}[{index}]"), item, many, problems);
        }),
        Json::Object(fields) => fields.iter().for_each(|(name, value)| {
            check_json(&format!("{field}.{name}"), value, many, problems);
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// The expression that a string is, when it is one and nothing else: what it yields keeps its type.
pub(crate) fn one_expression(source: &str) -> Option<&str> {
    let inside = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    let inside = inside.strip_suffix('-').unwrap_or(inside);
    (!inside.contains("}}") && !inside.contains("{{") && !inside.contains("{%")).then_some(inside.trim())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    FILTERS_OUT.iter().for_each(|name| environment.remove_filter(name));
    GLOBALS_OUT.iter().for_each(|name| environment.remove_global(name));
    environment.add_filter("tojson", |value: &Value| json(value).map_err(|message| wrong(&message)));
    environment.set_formatter(written);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_recursion_limit(50);
    environment.set_fuel(Some(FUEL));
    environment
}

/// Writes a value into a text.
fn written(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Wrong> {
    let broken = |_| wrong("cannot be written");
    if value.is_undefined() || value.is_none() {
        return Ok(());
    }
    match value.as_str() {
        Some(text) => out.write_str(text).map_err(broken),
        None => out.write_str(&json(value).map_err(|message| wrong(&message))?).map_err(broken),
    }
}

fn wrong(message: &str) -> Wrong {
    Wrong::new(ErrorKind::InvalidOperation, message.to_owned())
}

/// The value as JSON, which is never made larger than it may be.
fn json(value: &Value) -> Result<String, String> {
    let mut bounded = Bounded(Vec::new());
    serde_json::to_writer(&mut bounded, value).map_err(|error| {
        if error.is_io() { too_long(RENDERED_LIMIT_BYTES) } else { "yields what is no JSON".to_owned() }
    })?;
    String::from_utf8(bounded.0).map_err(|_| "yields what is no JSON".to_owned())
}

/// Bytes, up to a bound.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > RENDERED_LIMIT_BYTES {
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_long(limit_bytes: usize) -> String {
    format!("comes to more than {limit_bytes} bytes")
}

fn problem(field: &str, message: String) -> Problem {
    Problem { field: field.to_owned(), message }
}

/// What the library says is wrong, with the line.
fn said(field: &str, wrong: &Wrong) -> Problem {
    let what = match (wrong.kind(), wrong.detail()) {
        (ErrorKind::OutOfFuel, _) => "does too much".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    let what: String = what.chars().take(SAID_CHARS).collect();
    problem(field, wrong.line().map_or(what.clone(), |line| format!("line {line}: {what}")))
}

#[cfg(test)]
mod tests;

//! The rows of a text file as items of a batch. Pure.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    agent::Inputs,
    batch::{ITEMS_LIMIT, Item},
    error::Problem,
    run::Prompt,
};

/// The column of a table that is the message; without it, the columns of a row are its inputs.
pub const COLUMN_MESSAGE: &str = "message";
/// So many rows are read of a file that has more than it may.
const MORE_THAN_ALL: usize = ITEMS_LIMIT + 1;
/// The most values of all rows together, and the most bytes of their names.
const VALUES_LIMIT: usize = 1_000_000;
const NAMES_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// How many bad lines are told.
const PROBLEMS_TOLD: usize = 100;
/// The column of a table that is the row's own id.
const COLUMN_CUSTOM_ID: &str = "custom_id";

/// A line of JSON: as an item of a batch in a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    custom_id: Option<String>,
    message: Option<String>,
    inputs: Option<Inputs>,
}

/// The items that the rows are: of `text/csv` the lines below the head; of JSON lines an object each; of any other text the lines that
/// are not blank, each a message.
pub(crate) fn read(media_type: &str, bytes: &[u8]) -> Result<Vec<Item>, Vec<Problem>> {
    let items = match media_type {
        "text/csv" => table(bytes),
        "application/x-ndjson" | "application/json" => json_lines(bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => {
                Ok(text.lines().filter(|line| !line.trim().is_empty()).take(MORE_THAN_ALL).map(plain).collect())
            }
            Err(_) => Err(vec![problem("is not a text".to_owned())]),
        },
    }?;
    check_number(items.len()).map(|()| items)
}

/// The rows themselves: of `text/csv` an object of strings each, by the head; of JSON lines the value; of any other text the line.
pub(crate) fn values(media_type: &str, bytes: &[u8]) -> Result<Vec<Value>, Vec<Problem>> {
    let rows = match media_type {
        "text/csv" => cells(bytes),
        "application/x-ndjson" | "application/json" => json_values(bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => {
                Ok(text.lines().filter(|line| !line.trim().is_empty()).take(MORE_THAN_ALL).map(Value::from).collect())
            }
            Err(_) => Err(vec![problem("is not a text".to_owned())]),
        },
    }?;
    check_number(rows.len()).map(|()| rows)
}

fn check_number(rows: usize) -> Result<(), Vec<Problem>> {
    if (1..=ITEMS_LIMIT).contains(&rows) {
        return Ok(());
    }
    Err(vec![problem(format!("must have 1 to {ITEMS_LIMIT} rows, not {rows}"))])
}

/// Refuses JSON with more values than there may be, by what stands between them.
fn check_values(bytes: &[u8]) -> Result<(), Vec<Problem>> {
    let between = bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if between > VALUES_LIMIT { Err(vec![problem("has too many values".to_owned())]) } else { Ok(()) }
}

fn json_values(bytes: &[u8]) -> Result<Vec<Value>, Vec<Problem>> {
    check_values(bytes)?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (number, line) in lines(bytes) {
        match serde_json::from_slice(line) {
            Ok(row) => rows.push(row),
            Err(_) if problems.len() >= PROBLEMS_TOLD => break,
            Err(error) => problems.push(problem(format!("line {number}: {error}"))),
        }
    }
    if problems.is_empty() { Ok(rows) } else { Err(problems) }
}

/// The lines that are not blank, with their numbers from 1 on.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = (1_usize..).zip(bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii));
    lines.filter(|(_, line)| !line.is_empty()).take(MORE_THAN_ALL)
}

fn cells(bytes: &[u8]) -> Result<Vec<Value>, Vec<Problem>> {
    let (head, rows) = table_of(bytes)?;
    let object =
        |row: &csv::StringRecord| head.iter().zip(row).map(|(name, cell)| (name.to_owned(), cell.into())).collect();
    Ok(rows.iter().map(|row| Value::Object(object(row))).collect())
}

fn problem(message: String) -> Problem {
    Problem { field: "file_id".to_owned(), message }
}

fn item(custom_id: Option<String>, prompt: Prompt) -> Item {
    Item { custom_id, prompt, mode: None, attachments: Vec::new() }
}

fn plain(line: &str) -> Item {
    item(None, Prompt::Message(line.to_owned()))
}

fn json_lines(bytes: &[u8]) -> Result<Vec<Item>, Vec<Problem>> {
    check_values(bytes)?;
    let (mut items, mut problems) = (Vec::new(), Vec::new());
    for (number, line) in lines(bytes) {
        let read = serde_json::from_slice::<Line>(line).map_err(|error| error.to_string());
        let made = read.and_then(|Line { custom_id, message, inputs }| match (message, inputs) {
            (Some(message), None) => Ok(item(custom_id, Prompt::Message(message))),
            (None, Some(inputs)) => Ok(item(custom_id, Prompt::Inputs(inputs))),
            _ => Err("must have a message or inputs".to_owned()),
        });
        match made {
            Ok(made) => items.push(made),
            Err(_) if problems.len() >= PROBLEMS_TOLD => break,
            Err(message) => problems.push(problem(format!("line {number}: {message}"))),
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(problems) }
}

/// The column `message` is the message; without one, all columns but `custom_id` are inputs of those names, as strings.
fn table(bytes: &[u8]) -> Result<Vec<Item>, Vec<Problem>> {
    let (head, rows) = table_of(bytes)?;
    let place = |name: &str| head.iter().position(|column| column == name);
    let (message, custom_id) = (place(COLUMN_MESSAGE), place(COLUMN_CUSTOM_ID));
    let mut items = Vec::new();
    for row in &rows {
        let own = custom_id.and_then(|at| row.get(at)).filter(|id| !id.is_empty()).map(str::to_owned);
        let prompt = match message {
            Some(at) => Prompt::Message(row.get(at).unwrap_or_default().to_owned()),
            None => {
                let columns = head.iter().zip(row).filter(|(name, _)| *name != COLUMN_CUSTOM_ID);
                Prompt::Inputs(columns.map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
            }
        };
        items.push(item(own, prompt));
    }
    Ok(items)
}

/// The head of a table and the lines below it.
fn table_of(bytes: &[u8]) -> Result<(csv::StringRecord, Vec<csv::StringRecord>), Vec<Problem>> {
    let wrong = |error: csv::Error| vec![problem(error.to_string())];
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(bytes);
    let head = reader.headers().map_err(wrong)?.clone();
    let place = |name: &str| head.iter().position(|column| column == name);
    let twice = head.iter().enumerate().find(|(index, name)| place(name) != Some(*index));
    if let Some((_, name)) = twice {
        return Err(vec![problem(format!("the column {name:?} is there twice"))]);
    }
    let (mut rows, mut cells, mut named) = (Vec::new(), 0_usize, 0_usize);
    for row in reader.records().take(MORE_THAN_ALL) {
        // Each row has the names of the columns with it.
        (cells, named) = (cells.saturating_add(head.len()), named.saturating_add(head.as_slice().len()));
        if cells > VALUES_LIMIT || named > NAMES_LIMIT_BYTES {
            return Err(vec![problem("has too many columns, or too long names of them, for so many rows".to_owned())]);
        }
        rows.push(row.map_err(wrong)?);
    }
    Ok((head, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn said(media_type: &str, text: &str) -> Result<Vec<(Option<String>, Prompt)>, String> {
        let items = read(media_type, text.as_bytes()).map_err(|problems| Error::Invalid(problems).to_string())?;
        Ok(items.into_iter().map(|item| (item.custom_id, item.prompt)).collect())
    }

    fn message(text: &str) -> Prompt {
        Prompt::Message(text.to_owned())
    }

    #[test]
    fn rows_are_items() {
        let id = |id: &str| Some(id.to_owned());
        let inputs = |value: Value| Prompt::Inputs(value.as_object().unwrap().clone());
        assert_eq!(said("text/plain", "one\n\n two\r\n"), Ok(vec![(None, message("one")), (None, message(" two"))]));
        assert_eq!(
            said("text/csv", "custom_id,message\na,\"one, \"\"two\"\"\"\n,three\n"),
            Ok(vec![(id("a"), message("one, \"two\"")), (None, message("three"))])
        );
        assert_eq!(
            said("text/csv", "\u{feff}city, country\nOslo,Norway\n"),
            Ok(vec![(None, inputs(serde_json::json!({"city": "Oslo", "country": "Norway"})))])
        );
        assert_eq!(
            said("application/x-ndjson", "{\"message\":\"a\"}\n\n{\"custom_id\":\"x\",\"inputs\":{\"n\":1}}"),
            Ok(vec![(None, message("a")), (id("x"), inputs(serde_json::json!({"n": 1})))])
        );
    }

    #[test]
    fn bad_rows_are_named() {
        for (media_type, text, wrong) in [
            ("text/plain", " \n", "file_id: must have 1 to 10000 rows, not 0"),
            (
                "text/csv",
                "a,b\n1\n",
                "file_id: CSV error: record 1 (line: 2, byte: 4): found record with 1 fields, but the previous record has 2 fields",
            ),
            ("text/csv", "a,a\n1,2\n", "file_id: the column \"a\" is there twice"),
            ("application/x-ndjson", "{}\n", "file_id: line 1: must have a message or inputs"),
        ] {
            assert_eq!(said(media_type, text), Err(wrong.to_owned()));
        }
        let wide = format!("{}\n{}", "n".repeat(10_000_000), "x\n".repeat(10));
        assert!(said("text/csv", &wide).unwrap_err().contains("too long names"));
        let deep = format!("{{\"inputs\":{{\"a\":[{}0]}}}}\n", "0,".repeat(VALUES_LIMIT));
        assert_eq!(said("application/x-ndjson", &deep), Err("file_id: has too many values".to_owned()));
        let many = "x\n".repeat(ITEMS_LIMIT + 1);
        assert_eq!(said("text/plain", &many), Err("file_id: must have 1 to 10000 rows, not 10001".to_owned()));
    }
}

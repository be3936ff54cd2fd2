//! Lines of CSV, as in RFC 4180: one a cell.
//!
//! A spreadsheet takes text for a formula that begins with `=`, `+`, `-` or `@`, also after blanks, and runs it (CWE-1236). Names and
//! answers are the words of others: such a text gets an apostrophe before it, which spreadsheets take for "this is text". A number
//! keeps its sign. Who needs the very text takes JSON.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use shared::evaluation::Cell;

use super::{
    super::evaluation_views::{ConfigurationView, EvaluationView},
    words::why,
};

/// A line.
#[derive(Debug, Serialize)]
struct Line<'a> {
    case: usize,
    custom_id: Option<Cow<'a, str>>,
    agent_id: &'a str,
    agent_version: u32,
    model: Cow<'a, str>,
    run_id: String,
    verdict: &'static str,
    why: Option<Cow<'a, str>>,
    cost_micro_usd: Option<u64>,
    judge_cost_micro_usd: Option<u64>,
    run_ms: u64,
    output: Option<Cow<'a, str>>,
}

impl<'a> Line<'a> {
    fn new(cell: &'a Cell, column: &'a ConfigurationView) -> Self {
        Self {
            case: cell.case,
            custom_id: cell.custom_id.as_deref().map(as_text),
            agent_id: &column.agent_id,
            agent_version: column.agent_version,
            model: as_text(&column.model),
            run_id: cell.run_id.prefixed(),
            verdict: cell.verdict.name(),
            why: why(cell).map(|why| Cow::Owned(as_text(&why).into_owned())),
            cost_micro_usd: cell.usage.cost_micro_usd(),
            judge_cost_micro_usd: cell.judge.cost_micro_usd(),
            run_ms: cell.run_ms,
            output: cell.output.as_deref().map(as_text),
        }
    }
}

/// The names of the columns.
const NAMES: [&str; 12] = [
    "case",
    "custom_id",
    "agent_id",
    "agent_version",
    "model",
    "run_id",
    "verdict",
    "why",
    "cost_micro_usd",
    "judge_cost_micro_usd",
    "run_ms",
    "output",
];

/// A line for each cell, after a line of names when they are the first.
pub(in super::super) fn lines(report: &EvaluationView, cells: &[Cell], first: bool) -> Bytes {
    let mut writer = ::csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let names = if first { writer.write_record(NAMES) } else { Ok(()) };
    let written = names.and_then(|()| {
        let placed = cells.iter().filter_map(|cell| Some((cell, report.configurations.get(cell.configuration)?)));
        placed.into_iter().try_for_each(|(cell, column)| writer.serialize(Line::new(cell, column)))
    });
    if let Err(error) = written {
        tracing::error!(%error, "a cell cannot be written as CSV");
    }
    writer.into_inner().map(Bytes::from).unwrap_or_default()
}

/// The text so that no spreadsheet takes it for a formula.
fn as_text(text: &str) -> Cow<'_, str> {
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let number = || text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte)) && text.parse::<f64>().is_ok();
    if formula && !number() { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use shared::{
        evaluation::{Finding, Verdict},
        run::Usage,
    };

    use super::{super::samples, *};

    fn read(bytes: &[u8]) -> Vec<Vec<String>> {
        let records = ::csv::Reader::from_reader(bytes).into_records();
        records.map(|record| record.unwrap().iter().map(ToOwned::to_owned).collect()).collect()
    }

    #[test]
    fn what_begins_like_a_formula_is_text_and_numbers_stay() {
        for formula in
            ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " \r\n=1", "\u{a0}=1", "＝1", "-", "-inf"]
        {
            assert_eq!(as_text(formula), format!("'{formula}"));
        }
        for text in ["", "a=1", "'=1", "-12", "+1.5e-3", "12", "1-2", "🦀"] {
            assert_eq!(as_text(text), text);
        }
    }

    #[test]
    fn every_cell_is_a_line_and_every_text_comes_back() {
        let report = samples::report(2);
        let output = "two\nlines, \"quoted\" <b>]]>\u{1}🦀".to_owned();
        let cells = [
            Cell { output: Some(output.clone()), ..samples::cell(0, 0, Verdict::Correct) },
            Cell { output: Some("=HYPERLINK(\"x\")".to_owned()), ..samples::cell(0, 1, Verdict::NoAnswer) },
            samples::cell(1, 0, samples::wrong(&["a, b", "c"])),
            samples::cell(1, 1, Verdict::Pending),
        ];
        let (begun, rest) = (lines(&report, &cells[..2], true), lines(&report, &cells[2..], false));
        let head = String::from_utf8(begun.to_vec()).unwrap();
        assert!(head.starts_with(&format!("{}\n", NAMES.join(","))), "{head}");
        let read = read(&[begun, rest].concat());
        assert_eq!(read.len(), 4);
        assert_eq!(read[0][11], output);
        assert_eq!(read[1][11], "'=HYPERLINK(\"x\")");
        assert_eq!(read[2][..5], ["1", "case-1", "agent_0", "1", "demo/model-0"]);
        assert_eq!(read[2][6..8], ["wrong", "validation 1: a, b; validation 2: c"]);
        assert_eq!([&read[1][6], &read[3][6]], ["no_answer", "pending"]);
    }

    #[test]
    fn a_cost_that_is_not_known_is_empty() {
        let findings = vec![Finding { holds: false, why_not: None }];
        let usage = Usage { unpriced_calls: 1, ..Usage::default() };
        let cell = Cell { usage, custom_id: None, ..samples::cell(3, 0, Verdict::Wrong(findings)) };
        let read = read(&lines(&samples::report(1), &[cell], true));
        assert_eq!([&read[0][1], &read[0][8]], ["", ""]);
        assert_eq!(read[0][7], "validation 1: does not hold");
    }
}

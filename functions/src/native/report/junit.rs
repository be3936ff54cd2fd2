//! JUnit XML, as CI systems read it: a suite for each configuration, a test for each case. A wrong answer is a failure, none is an error.
//!
//! There is no one standard of it: these are the elements and attributes that Ant's schema and Jenkins' have in common. Written in pieces: [`begin`], then for
//! each configuration [`suite_begins`], [`test_cases`] as often as needed and [`suite_ends`], then [`end`].

use std::{borrow::Cow, io};

use bytes::Bytes;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};
use shared::evaluation::{Cell, Verdict};

use super::{
    super::evaluation_views::{ConfigurationView, EvaluationView},
    text::{printable, seconds, shortened},
    words::{name, why},
};

/// How much of an answer is told of a test that failed, in characters: as much as a log needs.
const ANSWER_CHARS: usize = 2_000;

/// How much of the reasons goes into a line, in characters.
const MESSAGE_CHARS: usize = 300;

/// What a suite counts up to: it is said before its tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Tally {
    tests: u64,
    failures: u64,
    errors: u64,
    run_ms: u64,
}

impl Tally {
    /// Counts a cell.
    pub(in super::super) fn count(&mut self, cell: &Cell) {
        let one = |is: bool| u64::from(is);
        let other = Self {
            tests: 1,
            failures: one(matches!(cell.verdict, Verdict::Wrong(_))),
            errors: one(matches!(cell.verdict, Verdict::NoAnswer | Verdict::Pending)),
            run_ms: cell.run_ms,
        };
        self.add(other);
    }

    const fn add(&mut self, other: Self) {
        self.tests = self.tests.saturating_add(other.tests);
        self.failures = self.failures.saturating_add(other.failures);
        self.errors = self.errors.saturating_add(other.errors);
        self.run_ms = self.run_ms.saturating_add(other.run_ms);
    }

    fn attributes(self) -> [(&'static str, Cow<'static, str>); 4] {
        [
            ("tests", self.tests.to_string().into()),
            ("failures", self.failures.to_string().into()),
            ("errors", self.errors.to_string().into()),
            ("time", seconds(self.run_ms).into()),
        ]
    }
}

/// What goes before all suites.
pub(in super::super) fn begin(report: &EvaluationView, tallies: &[Tally]) -> Bytes {
    let mut all = Tally::default();
    tallies.iter().for_each(|tally| all.add(*tally));
    piece(|writer| {
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let root = BytesStart::new("testsuites").with_attributes([("name", report.id.as_str())]);
        writer.write_event(Event::Start(root.with_attributes(all.attributes())))
    })
}

/// What goes before a suite's tests. Its properties are the configuration's figures, those that are known.
pub(in super::super) fn suite_begins(report: &EvaluationView, column: &ConfigurationView, tally: Tally) -> Bytes {
    piece(|writer| {
        let name = name(column);
        let suite = BytesStart::new("testsuite")
            .with_attributes([("name", printable(&name)), ("timestamp", Cow::from(shortened_time(&report.created_at)))])
            .with_attributes(tally.attributes());
        writer.write_event(Event::Start(suite))?;
        writer.create_element("properties").write_inner_content(|writer| {
            properties(report, column).into_iter().try_for_each(|(name, value)| {
                let property = writer.create_element("property").with_attribute(("name", name));
                property.with_attribute(("value", printable(&value))).write_empty().map(drop)
            })
        })?;
        Ok(())
    })
}

/// A test for each cell; all are of the column.
pub(in super::super) fn test_cases<'a>(column: &ConfigurationView, cells: impl IntoIterator<Item = &'a Cell>) -> Bytes {
    let suite = name(column);
    piece(|writer| cells.into_iter().try_for_each(|cell| test_case(writer, &suite, cell)))
}

/// What goes after a suite's tests.
pub(in super::super) fn suite_ends() -> Bytes {
    piece(|writer| writer.write_event(Event::End(BytesEnd::new("testsuite"))))
}

/// What goes after all suites.
pub(in super::super) fn end() -> Bytes {
    piece(|writer| {
        writer.write_event(Event::End(BytesEnd::new("testsuites")))?;
        writer.write_event(Event::Text(BytesText::new("\n")))
    })
}

fn test_case(writer: &mut Writer<Vec<u8>>, suite: &str, cell: &Cell) -> io::Result<()> {
    let name = cell.custom_id.clone().unwrap_or_else(|| format!("case {}", cell.case));
    let time = seconds(cell.run_ms);
    let attributes = [("classname", printable(suite)), ("name", printable(&name)), ("time", Cow::from(time))];
    let test = writer.create_element("testcase").with_attributes(attributes);
    let element = match &cell.verdict {
        Verdict::Correct => return test.write_empty().map(drop),
        Verdict::Wrong(_) => "failure",
        Verdict::NoAnswer | Verdict::Pending => "error",
    };
    let why = why(cell).unwrap_or_else(|| "there is no verdict".to_owned());
    let mut told = why.clone();
    if let Some(output) = cell.output.as_deref() {
        told.push_str("\nanswer: ");
        told.push_str(&shortened(output, ANSWER_CHARS));
    }
    told.push_str("\nrun: ");
    told.push_str(&cell.run_id.prefixed());
    test.write_inner_content(|writer| {
        let element = writer.create_element(element);
        let message = shortened(&why, MESSAGE_CHARS);
        let element = element.with_attribute(("message", printable(&message)));
        let element = element.with_attribute(("type", cell.verdict.name()));
        element.write_text_content(BytesText::new(&printable(&told))).map(drop)
    })?;
    Ok(())
}

fn properties(report: &EvaluationView, column: &ConfigurationView) -> Vec<(&'static str, String)> {
    let text = |value: Option<u64>| value.map(|value| value.to_string());
    let all = [
        ("evaluation_id", Some(report.id.clone())),
        ("test_set_id", Some(report.test_set_id.clone())),
        ("agent_id", Some(column.agent_id.clone())),
        ("agent_version", Some(column.agent_version.to_string())),
        ("model", Some(column.model.clone())),
        ("correct", text(column.correct.map(u64::from))),
        ("attempts", Some(column.attempts.to_string())),
        ("cost_micro_usd", text(column.cost_micro_usd)),
        ("judge_cost_micro_usd", text(column.judge_cost_micro_usd)),
        ("price_per_correct_micro_usd", column.price_per_correct_micro_usd.map(|price| price.to_string())),
        ("no_price_reason", column.no_price_reason.map(ToOwned::to_owned)),
        ("p50_ms", text(column.p50_ms)),
        ("p95_ms", text(column.p95_ms)),
        ("unbeaten", column.unbeaten.map(|unbeaten| unbeaten.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The time to the second, without a zone (it is UTC): Ant's schema has it so.
fn shortened_time(time: &str) -> &str {
    time.get(..19).unwrap_or(time)
}

/// What is written; writing to memory does not fail.
fn piece(write: impl FnOnce(&mut Writer<Vec<u8>>) -> io::Result<()>) -> Bytes {
    let mut writer = Writer::new(Vec::new());
    if let Err(error) = write(&mut writer) {
        tracing::error!(%error, "a piece of XML cannot be written");
    }
    writer.into_inner().into()
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::{super::samples, *};

    const ODD: &str = "a<b attr=\"x\">&amp; ' ]]> \u{0}\u{1b}\u{fffe}\u{ffff}\t\r\n🦀 \u{202e}漢";

    fn written(report: &EvaluationView, cells: &[Cell]) -> String {
        let mut tallies = vec![Tally::default(); report.configurations.len()];
        cells.iter().for_each(|cell| tallies[cell.configuration].count(cell));
        let mut all = begin(report, &tallies).to_vec();
        for (index, (column, tally)) in report.configurations.iter().zip(tallies).enumerate() {
            all.extend(suite_begins(report, column, tally));
            for cell in cells.iter().filter(|cell| cell.configuration == index) {
                all.extend(test_cases(column, [cell]));
            }
            all.extend(suite_ends());
        }
        all.extend(end());
        String::from_utf8(all).unwrap()
    }

    fn all<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Vec<Node<'a, 'b>> {
        node.children().filter(|child| child.has_tag_name(name)).collect()
    }

    #[test]
    fn a_suite_for_each_configuration_and_a_test_for_each_case() {
        let report = samples::report(2);
        let cells = [
            samples::cell(0, 0, Verdict::Correct),
            samples::cell(0, 1, Verdict::NoAnswer),
            samples::cell(1, 0, samples::wrong(&["the answer is another text", "no"])),
            Cell { custom_id: None, run_ms: 61_002, output: None, ..samples::cell(1, 1, samples::wrong(&["no"])) },
        ];
        let text = written(&report, &cells);
        let document = Document::parse(&text).unwrap();
        let root = document.root_element();
        let counted = |node: Node<'_, '_>| {
            ["tests", "failures", "errors", "time"].map(|name| node.attribute(name).unwrap().to_owned())
        };
        assert_eq!((root.tag_name().name(), root.attribute("name")), ("testsuites", Some("eval_1")));
        assert_eq!(counted(root), ["4", "2", "1", "65.502"]);
        let suites = all(root, "testsuite");
        assert_eq!(suites.len(), 2);
        assert_eq!(suites[0].attribute("name"), Some("Clerk v1 / demo/model-0"));
        assert_eq!(suites[0].attribute("timestamp"), Some("2026-11-26T10:00:00"));
        assert_eq!(counted(suites[0]), ["2", "1", "0", "3.000"]);
        assert_eq!(counted(suites[1]), ["2", "1", "1", "62.502"]);
        let first = all(suites[0], "testcase");
        assert_eq!(first[0].attribute("classname"), suites[0].attribute("name"));
        assert_eq!((first[0].attribute("name"), first[0].attribute("time")), (Some("case-0"), Some("1.500")));
        assert!(!first[0].has_children());
        let failure = all(first[1], "failure")[0];
        let why = "validation 1: the answer is another text; validation 2: no";
        assert_eq!((failure.attribute("message"), failure.attribute("type")), (Some(why), Some("wrong")));
        assert_eq!(failure.text().unwrap(), format!("{why}\nanswer: Oslo\nrun: {}", samples::RUN));
        let second = all(suites[1], "testcase");
        assert_eq!(all(second[0], "error")[0].attribute("message"), Some("the run did not end well"));
        assert_eq!(second[1].attribute("name"), Some("case 1"));
    }

    #[test]
    fn any_text_is_well_formed_and_comes_back_but_for_what_xml_cannot_have() {
        let mut report = samples::report(1);
        report.configurations[0].agent_name = ODD.to_owned();
        report.configurations[0].model = ODD.to_owned();
        let cell = Cell {
            custom_id: Some(ODD.to_owned()),
            output: Some(ODD.to_owned()),
            ..samples::cell(0, 0, samples::wrong(&[ODD]))
        };
        let text = written(&report, &[cell]);
        let document = Document::parse(&text).unwrap();
        let clean = ODD.replace(['\u{0}', '\u{1b}', '\u{fffe}', '\u{ffff}'], "\u{fffd}");
        let suite = document.root_element().first_element_child().unwrap();
        assert_eq!(suite.attribute("name").unwrap(), format!("{clean} v1 / {clean}"));
        let model = suite.descendants().find(|node| node.attribute("name") == Some("model")).unwrap();
        assert_eq!(model.attribute("value"), Some(clean.as_str()));
        let test = all(suite, "testcase")[0];
        assert_eq!(test.attribute("name"), Some(clean.as_str()));
        let failure = all(test, "failure")[0];
        assert_eq!(failure.attribute("message").unwrap(), format!("validation 1: {clean}"));
        assert_eq!(failure.text().unwrap(), format!("validation 1: {clean}\nanswer: {clean}\nrun: {}", samples::RUN));
    }

    #[test]
    fn long_answers_are_cut() {
        let cell = Cell { output: Some("é".repeat(5_000)), ..samples::cell(0, 0, samples::wrong(&["x"])) };
        let text = written(&samples::report(1), &[cell]);
        Document::parse(&text).unwrap();
        assert!(text.contains(&format!("{}…", "é".repeat(ANSWER_CHARS))) && text.len() < 6_000);
    }
}

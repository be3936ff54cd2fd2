//! Whether a case was passed: all of its validations must hold of what the run said at its end.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    run::Status,
    test_set::{Kind, Validation, compiled},
    tool::schema,
};

/// A call that a model of the run asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The tool that it named.
    pub tool: String,
    /// The arguments, as the model wrote them.
    pub arguments: String,
}

/// What is known of a run when its case is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Where the run stands.
    pub status: Status,
    /// What its agent said at its end.
    pub answer: Option<String>,
    /// The calls that its models asked for, in order.
    pub asked: Vec<Asked>,
}

/// What came of one validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether it holds.
    pub holds: bool,
    /// Why it does not, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The run has not ended.
    Pending,
    /// All validations hold.
    Correct,
    /// One does not, at least: what came of each, in the case's order.
    Wrong(Vec<Finding>),
    /// The run has not ended well, so there is no answer: a miss.
    NoAnswer,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Correct => "correct",
            Self::Wrong(_) => "wrong",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// The verdict on a case. An error is a miss, also when tools were called before it.
#[must_use]
pub fn verdict(validations: &[Validation], said: &Said) -> Verdict {
    if !said.status.terminal() {
        return Verdict::Pending;
    }
    let Some(answer) = said.answer.as_deref().filter(|_| said.status == Status::Done) else {
        return Verdict::NoAnswer;
    };
    let finding = |validation: &Validation| {
        let why_not = holds(&validation.kind, answer, &said.asked).err();
        Finding { holds: why_not.is_none(), why_not }
    };
    let findings: Vec<Finding> = validations.iter().map(finding).collect();
    if findings.iter().all(|finding| finding.holds) { Verdict::Correct } else { Verdict::Wrong(findings) }
}

fn holds(kind: &Kind, answer: &str, asked: &[Asked]) -> Result<(), String> {
    let so = |holds: bool, why_not: &str| if holds { Ok(()) } else { Err(why_not.to_owned()) };
    match kind {
        Kind::Exact { expected: Value::String(expected) } => {
            so(answer.trim() == expected.trim(), "the answer is another text")
        }
        Kind::Exact { expected } => so(schema::value(answer)? == *expected, "the answer is another value"),
        Kind::ContentMatch { pattern } => so(compiled(pattern)?.is_match(answer), "the pattern does not match"),
        Kind::JsonSchema { schema: of } => schema::answer(of, answer).map(drop),
        Kind::ToolCall { tool_name, arguments } => {
            let mut calls = asked.iter().filter(|call| call.tool == *tool_name).peekable();
            so(calls.peek().is_some(), "no call of the tool was asked for")?;
            let Some(wanted) = arguments else { return Ok(()) };
            so(calls.any(|call| has_all(wanted, &call.arguments)), "no call of the tool had these arguments")
        }
    }
}

/// Whether the arguments, as a model wrote them, have all of these, each with an equal value.
fn has_all(wanted: &Map<String, Value>, written: &str) -> bool {
    match serde_json::from_str(written) {
        Ok(Value::Object(had)) => wanted.iter().all(|(name, value)| had.get(name) == Some(value)),
        Ok(_) | Err(_) => wanted.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(kinds: Value, said: &Said) -> Verdict {
        let kinds: Vec<Kind> = serde_json::from_value(kinds).unwrap();
        verdict(&kinds.into_iter().map(|kind| Validation { id: None, kind }).collect::<Vec<_>>(), said)
    }

    fn done(answer: &str) -> Said {
        Said { status: Status::Done, answer: Some(answer.to_owned()), asked: Vec::new() }
    }

    #[test]
    fn each_validation_holds_of_what_it_says_and_of_nothing_else() {
        let add = |arguments: &str| Asked { tool: "add".to_owned(), arguments: arguments.to_owned() };
        let said = |answer: &str, asked: &[Asked]| Said { asked: asked.to_vec(), ..done(answer) };
        let exact = |expected: Value| json!({"exact": {"expected": expected}});
        let content = |pattern: &str| json!({"content_match": {"pattern": pattern}});
        let schema = json!({"json_schema": {"schema": {"type": "object", "required": ["a"]}}});
        let tool = json!({"tool_call": {"tool_name": "add"}});
        let with = |arguments: Value| json!({"tool_call": {"tool_name": "add", "arguments": arguments}});
        for (kind, said, holds) in [
            (exact(json!("Oslo")), done(" Oslo\n"), true),
            (exact(json!("Oslo")), done("oslo"), false),
            (exact(json!("Oslo")), done("Oslo."), false),
            (exact(json!({"a": 1, "b": 2})), done("```json\n{\"b\": 2, \"a\": 1}\n```"), true),
            (exact(json!({"a": 1})), done("{\"a\": 2}"), false),
            (exact(json!(null)), done("null"), true),
            (exact(json!(4)), done("four"), false),
            (content("Os.o"), done("It is Oslo"), true),
            (content("^Os.o$"), done("It is Oslo"), false),
            (schema.clone(), done("{\"a\": null}"), true),
            (schema.clone(), done("{}"), false),
            (schema, done("a"), false),
            (tool.clone(), said("3", &[add("{}")]), true),
            (tool, done("3"), false),
            (with(json!({"a": 1})), said("3", &[add("{}"), add("{\"a\": 1, \"b\": 2}")]), true),
            (with(json!({"a": 1})), said("3", &[add("{\"a\": 2}")]), false),
            (with(json!({"a": 1})), said("3", &[add("no JSON")]), false),
            (with(json!({"a": 1})), said("3", &[Asked { tool: "sub".to_owned(), ..add("{\"a\": 1}") }]), false),
        ] {
            let is = judged(json!([kind]), &said);
            assert_eq!(is == Verdict::Correct, holds, "{kind} of {said:?}: {is:?}");
        }
    }

    #[test]
    fn all_must_hold_and_each_is_told() {
        let kinds = json!([{"content_match": {"pattern": "a"}}, {"content_match": {"pattern": "b"}}]);
        assert_eq!(judged(kinds.clone(), &done("ab")), Verdict::Correct);
        let why_not = Some("the pattern does not match".to_owned());
        let expected = vec![Finding { holds: true, why_not: None }, Finding { holds: false, why_not }];
        assert_eq!(judged(kinds.clone(), &done("a")), Verdict::Wrong(expected));
        for status in [Status::Error, Status::Interrupted] {
            assert_eq!(judged(kinds.clone(), &Said { status, ..done("ab") }), Verdict::NoAnswer);
        }
        for status in [Status::Queued, Status::Running, Status::Waiting] {
            assert_eq!(judged(kinds.clone(), &Said { status, ..done("ab") }), Verdict::Pending);
        }
        assert_eq!(judged(kinds, &Said { answer: None, ..done("") }), Verdict::NoAnswer);
    }
}

//! Whether a case was passed: all of its validations must hold of what the run said at its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    run::Status,
    test_set::{Kind, PASSING_SCORE, SCORES, Validation, compiled},
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

/// What came of asking a model about a validation that a model decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Opinion {
    /// A judge has scored the answer.
    Score {
        /// 1 to 10.
        score: u8,
        /// Why, in the judge's words.
        explanation: String,
    },
    /// The cosine similarity of the answer and the sentence, −1 to 1.
    Similarity(f64),
    /// None could be had, and why. Whoever asks has asked as often as it will.
    Failed(String),
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
    /// What models have said of its answer, by the number of the validation: none of those that they are still to be asked about.
    pub opinions: BTreeMap<usize, Opinion>,
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
    /// The run has not ended, or a model is still to be asked about its answer.
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

/// The verdict on a case. An error is a miss, also when tools were called before it; and so is an answer about which a model that was to
/// decide could not be asked: what nobody has seen to hold is not taken to hold.
#[must_use]
pub fn verdict(validations: &[Validation], said: &Said) -> Verdict {
    if !said.status.terminal() {
        return Verdict::Pending;
    }
    let Some(answer) = said.answer.as_deref().filter(|_| said.status == Status::Done) else {
        return Verdict::NoAnswer;
    };
    let opinion = |number: usize| said.opinions.get(&number);
    if (0..).zip(validations).any(|(number, of)| of.kind.asks_model() && opinion(number).is_none()) {
        return Verdict::Pending;
    }
    let finding = |(number, validation): (usize, &Validation)| {
        let why_not = holds(&validation.kind, answer, &said.asked, opinion(number)).err();
        Finding { holds: why_not.is_none(), why_not }
    };
    let findings: Vec<Finding> = (0..).zip(validations).map(finding).collect();
    if findings.iter().all(|finding| finding.holds) { Verdict::Correct } else { Verdict::Wrong(findings) }
}

fn holds(kind: &Kind, answer: &str, asked: &[Asked], opinion: Option<&Opinion>) -> Result<(), String> {
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
        Kind::LlmV0 { .. } => match opinion {
            Some(Opinion::Score { score, .. }) if *score >= PASSING_SCORE => Ok(()),
            Some(Opinion::Score { score, explanation }) => {
                let most = SCORES.end();
                Err(format!("the judge gives {score} of {most}, and {PASSING_SCORE} passes: {explanation}"))
            }
            other => Err(not_judged(other)),
        },
        Kind::SemanticSimilarity { threshold, .. } => match opinion {
            Some(Opinion::Similarity(similarity)) if similarity >= threshold => Ok(()),
            Some(Opinion::Similarity(similarity)) => {
                // Rounded down, for it is less.
                let similarity = (similarity * 1e4).floor() / 1e4;
                Err(format!("the similarity is {similarity:.4}, and {threshold} passes"))
            }
            other => Err(not_judged(other)),
        },
    }
}

fn not_judged(opinion: Option<&Opinion>) -> String {
    match opinion {
        Some(Opinion::Failed(why)) => format!("could not be judged: {why}"),
        Some(Opinion::Score { .. } | Opinion::Similarity(_)) | None => "could not be judged".to_owned(),
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
        let opinions = BTreeMap::new();
        Said { status: Status::Done, answer: Some(answer.to_owned()), asked: Vec::new(), opinions }
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

    #[test]
    fn what_a_model_decides_is_decided_by_what_it_said() {
        let judge = json!({"llm_v0": {"llm_criteria": "is polite"}});
        let similar = |threshold: f64| json!({"semantic_similarity": {"sentence": "a", "threshold": threshold}});
        let score = |score: u8| Opinion::Score { score, explanation: "curt".to_owned() };
        let failed = || Opinion::Failed("model_error: gone".to_owned());
        for (kind, opinion, why_not) in [
            (judge.clone(), score(10), None),
            (judge.clone(), score(7), None),
            (judge.clone(), score(6), Some("the judge gives 6 of 10, and 7 passes: curt")),
            (judge.clone(), score(1), Some("the judge gives 1 of 10, and 7 passes: curt")),
            (judge.clone(), failed(), Some("could not be judged: model_error: gone")),
            (judge, Opinion::Similarity(1.0), Some("could not be judged")),
            (similar(0.8), Opinion::Similarity(0.8), None),
            (similar(0.8), Opinion::Similarity(0.799_95), Some("the similarity is 0.7999, and 0.8 passes")),
            (similar(0.0), Opinion::Similarity(-0.01), Some("the similarity is -0.0100, and 0 passes")),
            (similar(0.0), Opinion::Similarity(f64::NAN), Some("the similarity is NaN, and 0 passes")),
            (similar(0.8), failed(), Some("could not be judged: model_error: gone")),
            (similar(0.8), score(10), Some("could not be judged")),
        ] {
            let said = Said { opinions: BTreeMap::from([(1, opinion.clone())]), ..done("a") };
            let kinds = json!([{"exact": {"expected": "a"}}, kind]);
            let expected = why_not.map_or(Verdict::Correct, |why_not| {
                let wrong = Finding { holds: false, why_not: Some(why_not.to_owned()) };
                Verdict::Wrong(vec![Finding { holds: true, why_not: None }, wrong])
            });
            assert_eq!(judged(kinds.clone(), &said), expected, "{kind} {opinion:?}");
            assert_eq!(judged(kinds.clone(), &done("a")), Verdict::Pending, "{kind} is not decided yet");
            assert_eq!(judged(kinds, &Said { answer: None, ..done("a") }), Verdict::NoAnswer, "{kind}");
        }
    }
}

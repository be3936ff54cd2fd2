//! What to do next: a pure fold of the journal. The same journal gives the same decision, whoever asks and whenever.

use serde_json::Value;

use crate::{
    agent::Definition,
    message::{Record, Slot},
    model::{Finish, ToolCall},
    run::Reason,
    tool::schema,
};

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Call the model; its answer fills the next slot.
    Call,
    /// Call the tools that the last answer asks for; their answers fill the next slots.
    Tools,
    /// Tell the model what is wrong with its answer; this text fills the next slot.
    Repair(String),
    /// Ask about the next criterion, in a run that grades another; this record fills the next slot.
    Ask(Record),
    /// End the run well.
    Finish(Option<Reason>),
    /// End the run badly.
    Fail(Reason, String),
}

/// The most tool calls of a run.
pub(super) const TOOL_CALLS_LIMIT: usize = 500;
/// What is wrong with an answer that ends too early.
const CUT_OFF: &str = "the answer was cut off: it is longer than the most tokens that an answer may have";

/// The decision that follows from what was said so far; `max_steps` is the most model calls.
pub(super) fn decide(journal: &[Slot], max_steps: u32, agent: &Definition) -> Next {
    let Some(last) = journal.last() else {
        return Next::Fail(Reason::ModelError, "the run has no input".to_owned());
    };
    match &last.record {
        Record::Input { .. } | Record::Repair { .. } => call(journal, max_steps),
        Record::Result { .. } if results(journal) < asked(journal).len() => Next::Tools,
        Record::Result { .. } => call(journal, max_steps),
        Record::Answer { tool_calls, .. } if !tool_calls.is_empty() => {
            if !agent.tools.is_empty() {
                return call_tools(journal);
            }
            let names: Vec<&str> = tool_calls.iter().map(|call| call.name.as_str()).collect();
            let message = format!("the model called tools, and the agent has none: {}", names.join(", "));
            Next::Fail(Reason::UnknownTool, message)
        }
        Record::Answer { text, finish, .. } => match (finish, &agent.output_schema) {
            (Finish::Filtered, _) => {
                Next::Fail(Reason::ContentFiltered, "the provider's filter stopped the answer".to_owned())
            }
            (finish, Some(schema)) => structured(journal, max_steps, schema, *finish, text),
            (Finish::Stop | Finish::Other | Finish::ToolCalls, None) => Next::Finish(None),
            (Finish::Length, None) => Next::Finish(Some(Reason::MaxTokens)),
        },
    }
}

/// What follows an answer that shall satisfy this schema: the model is told once what is wrong with it.
fn structured(journal: &[Slot], max_steps: u32, schema: &Value, finish: Finish, text: &str) -> Next {
    let answer = if finish == Finish::Length { Err(CUT_OFF.to_owned()) } else { schema::answer(schema, text) };
    let Err(wrong) = answer else { return Next::Finish(None) };
    let repaired = journal.iter().any(|slot| matches!(slot.record, Record::Repair { .. }));
    if repaired || answers(journal) >= max_steps {
        let message = format!("the model's answer is not what the output schema asks for: {wrong}");
        return Next::Fail(Reason::OutputInvalid, message);
    }
    Next::Repair(format!(
        "Your answer cannot be used:\n{wrong}\nAnswer again, with JSON that satisfies the JSON Schema, and with nothing else."
    ))
}

/// The tool calls that the last answer asks for.
pub(super) fn asked(journal: &[Slot]) -> &[ToolCall] {
    let last = journal.iter().rev().find_map(|slot| match &slot.record {
        Record::Answer { tool_calls, .. } => Some(tool_calls.as_slice()),
        Record::Input { .. } | Record::Repair { .. } | Record::Result { .. } => None,
    });
    last.unwrap_or_default()
}

/// How many tool calls have been answered since the last answer of the model.
fn results(journal: &[Slot]) -> usize {
    journal.iter().rev().take_while(|slot| matches!(slot.record, Record::Result { .. })).count()
}

fn call_tools(journal: &[Slot]) -> Next {
    let asked: usize = journal
        .iter()
        .map(|slot| match &slot.record {
            Record::Answer { tool_calls, .. } => tool_calls.len(),
            Record::Input { .. } | Record::Repair { .. } | Record::Result { .. } => 0,
        })
        .sum();
    if asked > TOOL_CALLS_LIMIT {
        let message = format!("the model asked for {asked} tool calls, and a run may make {TOOL_CALLS_LIMIT}");
        return Next::Fail(Reason::MaxToolCalls, message);
    }
    Next::Tools
}

fn call(journal: &[Slot], max_steps: u32) -> Next {
    if answers(journal) >= max_steps {
        return Next::Fail(Reason::MaxSteps, format!("the run made {max_steps} model calls, the most that it may"));
    }
    Next::Call
}

/// How many answers the model has given.
fn answers(journal: &[Slot]) -> u32 {
    let answers = journal.iter().filter(|slot| matches!(slot.record, Record::Answer { .. })).count();
    u32::try_from(answers).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{clock::Timestamp, message::ToolEnd, model::ModelName};

    fn slot(record: Record) -> Slot {
        record.at(Timestamp::from_millis(0))
    }

    fn agent(tools: bool) -> Definition {
        let tool = json!({"name": "a", "description": "", "parameters": {"type": "object"}, "policy": "read", "approval": "never",
            "on_unknown": "tell", "timeout_ms": 1, "type": "http", "method": "GET", "url": "https://a.example", "headers": {},
            "lookup_url": null});
        let tools: Vec<Value> = tools.then_some(tool).into_iter().collect();
        serde_json::from_value(json!({"name": "a", "description": "", "system_prompt": "", "model": "m", "max_steps": 1,
            "max_tokens": null, "temperature": null, "budget_micro_usd": null, "mode": "auto", "tools": tools, "metadata": {}}))
        .unwrap()
    }

    fn said(text: &str, finish: Finish) -> Slot {
        slot(Record::Answer {
            text: text.to_owned(),
            tool_calls: Vec::new(),
            finish,
            model: ModelName("m".to_owned()),
            tokens: None,
        })
    }

    fn answer(finish: Finish, tools: &[&str]) -> Slot {
        let tool_calls = tools
            .iter()
            .map(|name| ToolCall { id: "1".to_owned(), name: (*name).to_owned(), arguments: "{}".to_owned() })
            .collect();
        slot(Record::Answer {
            text: "said".to_owned(),
            tool_calls,
            finish,
            model: ModelName("m".to_owned()),
            tokens: None,
        })
    }

    #[test]
    fn the_decision_follows_from_the_last_slot() {
        let input = slot(Record::Input { text: "do it".to_owned(), inputs: None, attachments: Vec::new() });
        assert_eq!(decide(std::slice::from_ref(&input), 1, &agent(false)), Next::Call);
        assert!(matches!(decide(std::slice::from_ref(&input), 0, &agent(false)), Next::Fail(Reason::MaxSteps, _)));
        assert!(matches!(decide(&[], 1, &agent(false)), Next::Fail(..)));
        for (finish, next) in [
            (Finish::Stop, Next::Finish(None)),
            (Finish::Other, Next::Finish(None)),
            (Finish::Length, Next::Finish(Some(Reason::MaxTokens))),
        ] {
            assert_eq!(decide(&[input.clone(), answer(finish, &[])], 1, &agent(false)), next);
        }
        assert!(matches!(
            decide(&[input.clone(), answer(Finish::Filtered, &[])], 1, &agent(false)),
            Next::Fail(Reason::ContentFiltered, _)
        ));
        let calls = answer(Finish::ToolCalls, &["rm"]);
        assert!(matches!(decide(&[input, calls], 1, &agent(false)), Next::Fail(Reason::UnknownTool, _)));
    }

    #[test]
    fn tools_are_called_until_each_has_answered_and_then_the_model() {
        let result = slot(Record::Result {
            call_id: "1".to_owned(),
            tool: "a".to_owned(),
            content: String::new(),
            end: ToolEnd::Answered,
            attempts: 1,
            decision: None,
        });
        let mut journal = vec![
            slot(Record::Input { text: "do it".to_owned(), inputs: None, attachments: Vec::new() }),
            answer(Finish::Stop, &["a", "b"]),
        ];
        assert_eq!(decide(&journal, 2, &agent(true)), Next::Tools);
        journal.push(result.clone());
        assert_eq!(decide(&journal, 2, &agent(true)), Next::Tools);
        journal.push(result);
        assert_eq!(decide(&journal, 2, &agent(true)), Next::Call);
        assert!(matches!(decide(&journal, 1, &agent(true)), Next::Fail(Reason::MaxSteps, _)));
        journal.push(answer(Finish::Stop, &["a"; TOOL_CALLS_LIMIT]));
        assert!(matches!(decide(&journal, 9, &agent(true)), Next::Fail(Reason::MaxToolCalls, _)));
    }

    #[test]
    fn an_answer_that_the_schema_does_not_allow_is_repaired_once() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        let agent = Definition { output_schema: Some(schema), ..agent(false) };
        let input = slot(Record::Input { text: "do it".to_owned(), inputs: None, attachments: Vec::new() });
        for good in [r#"{"n": 1}"#, " {\"n\": 1}\n", "```json\n{\"n\": 1}\n```", "``` {\"n\": 1} ```"] {
            let journal = [input.clone(), said(good, Finish::Stop)];
            assert_eq!(decide(&journal, 1, &agent), Next::Finish(None), "{good}");
        }
        for (bad, finish, about) in [
            (r#"{"n": "x"}"#, Finish::Stop, "/n: "),
            (r#"{"n": 1, "n": 2}"#, Finish::Stop, "twice"),
            ("no", Finish::Other, "JSON"),
            (r#"{"n": 1}"#, Finish::Length, "cut off"),
        ] {
            let mut journal = vec![input.clone(), said(bad, finish)];
            let Next::Repair(text) = decide(&journal, 2, &agent) else { panic!("{bad}") };
            assert!(text.contains(about), "{text}");
            let Next::Fail(Reason::OutputInvalid, message) = decide(&journal, 1, &agent) else { panic!("{bad}") };
            assert!(message.contains(about), "{message}");
            journal.push(slot(Record::Repair { text }));
            assert_eq!(decide(&journal, 2, &agent), Next::Call);
            journal.push(said(bad, finish));
            assert!(matches!(decide(&journal, 9, &agent), Next::Fail(Reason::OutputInvalid, _)));
            journal.pop();
            journal.push(said(r#"{"n": 1}"#, Finish::Stop));
            assert_eq!(decide(&journal, 2, &agent), Next::Finish(None));
        }
        let filtered = [input, said("", Finish::Filtered)];
        assert!(matches!(decide(&filtered, 9, &agent), Next::Fail(Reason::ContentFiltered, _)));
    }
}

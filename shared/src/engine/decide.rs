//! What to do next: a pure fold of the journal. The same journal gives the same decision, whoever asks and whenever.

use crate::{
    message::{Record, Slot},
    model::{Finish, ToolCall},
    run::Reason,
};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Call the model; its answer fills the next slot.
    Call,
    /// Call the tools that the last answer asks for; their answers fill the next slots.
    Tools,
    /// End the run well.
    Finish(Option<Reason>),
    /// End the run badly.
    Fail(Reason, String),
}

/// The most tool calls of a run.
pub(super) const TOOL_CALLS_LIMIT: usize = 500;

/// The decision that follows from what was said so far; `max_steps` is the most model calls, `tools` whether the agent has any.
pub(super) fn decide(journal: &[Slot], max_steps: u32, tools: bool) -> Next {
    let Some(last) = journal.last() else {
        return Next::Fail(Reason::ModelError, "the run has no input".to_owned());
    };
    match &last.record {
        Record::Input { .. } => call(journal, max_steps),
        Record::Result { .. } if results(journal) < asked(journal).len() => Next::Tools,
        Record::Result { .. } => call(journal, max_steps),
        Record::Answer { tool_calls, .. } if !tool_calls.is_empty() => {
            if tools {
                return call_tools(journal);
            }
            let names: Vec<&str> = tool_calls.iter().map(|call| call.name.as_str()).collect();
            let message = format!("the model called tools, and the agent has none: {}", names.join(", "));
            Next::Fail(Reason::UnknownTool, message)
        }
        Record::Answer { finish, .. } => match finish {
            Finish::Stop | Finish::Other | Finish::ToolCalls => Next::Finish(None),
            Finish::Length => Next::Finish(Some(Reason::MaxTokens)),
            Finish::Filtered => {
                Next::Fail(Reason::ContentFiltered, "the provider's filter stopped the answer".to_owned())
            }
        },
    }
}

/// The tool calls that the last answer asks for.
pub(super) fn asked(journal: &[Slot]) -> &[ToolCall] {
    let last = journal.iter().rev().find_map(|slot| match &slot.record {
        Record::Answer { tool_calls, .. } => Some(tool_calls.as_slice()),
        Record::Input { .. } | Record::Result { .. } => None,
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
            Record::Input { .. } | Record::Result { .. } => 0,
        })
        .sum();
    if asked > TOOL_CALLS_LIMIT {
        let message = format!("the model asked for {asked} tool calls, and a run may make {TOOL_CALLS_LIMIT}");
        return Next::Fail(Reason::MaxToolCalls, message);
    }
    Next::Tools
}

fn call(journal: &[Slot], max_steps: u32) -> Next {
    let answers = journal.iter().filter(|slot| matches!(slot.record, Record::Answer { .. })).count();
    if u32::try_from(answers).unwrap_or(u32::MAX) >= max_steps {
        return Next::Fail(Reason::MaxSteps, format!("the run made {max_steps} model calls, the most that it may"));
    }
    Next::Call
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, message::ToolEnd, model::ModelName};

    fn slot(record: Record) -> Slot {
        record.at(Timestamp::from_millis(0))
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
        let input = slot(Record::Input { text: "do it".to_owned() });
        assert_eq!(decide(std::slice::from_ref(&input), 1, false), Next::Call);
        assert!(matches!(decide(std::slice::from_ref(&input), 0, false), Next::Fail(Reason::MaxSteps, _)));
        assert!(matches!(decide(&[], 1, false), Next::Fail(..)));
        for (finish, next) in [
            (Finish::Stop, Next::Finish(None)),
            (Finish::Other, Next::Finish(None)),
            (Finish::Length, Next::Finish(Some(Reason::MaxTokens))),
        ] {
            assert_eq!(decide(&[input.clone(), answer(finish, &[])], 1, false), next);
        }
        assert!(matches!(
            decide(&[input.clone(), answer(Finish::Filtered, &[])], 1, false),
            Next::Fail(Reason::ContentFiltered, _)
        ));
        let calls = answer(Finish::ToolCalls, &["rm"]);
        assert!(matches!(decide(&[input, calls], 1, false), Next::Fail(Reason::UnknownTool, _)));
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
        let mut journal = vec![slot(Record::Input { text: "do it".to_owned() }), answer(Finish::Stop, &["a", "b"])];
        assert_eq!(decide(&journal, 2, true), Next::Tools);
        journal.push(result.clone());
        assert_eq!(decide(&journal, 2, true), Next::Tools);
        journal.push(result);
        assert_eq!(decide(&journal, 2, true), Next::Call);
        assert!(matches!(decide(&journal, 1, true), Next::Fail(Reason::MaxSteps, _)));
        journal.push(answer(Finish::Stop, &["a"; TOOL_CALLS_LIMIT]));
        assert!(matches!(decide(&journal, 9, true), Next::Fail(Reason::MaxToolCalls, _)));
    }
}

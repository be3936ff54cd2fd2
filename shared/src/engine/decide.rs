//! What to do next: a pure fold of the journal. The same journal gives the same decision, whoever asks and whenever.

use crate::{
    message::{Record, Slot},
    model::Finish,
    run::Reason,
};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Call the model; its answer fills the next slot.
    Call,
    /// End the run well.
    Finish(Option<Reason>),
    /// End the run badly.
    Fail(Reason, String),
}

/// The decision that follows from what was said so far; `max_steps` is the most model calls.
pub(super) fn decide(journal: &[Slot], max_steps: u32) -> Next {
    let Some(last) = journal.last() else {
        return Next::Fail(Reason::ModelError, "the run has no input".to_owned());
    };
    match &last.record {
        Record::Input { .. } => call(journal, max_steps),
        Record::Answer { tool_calls, .. } if !tool_calls.is_empty() => {
            let names: Vec<&str> = tool_calls.iter().map(|call| call.name.as_str()).collect();
            Next::Fail(
                Reason::UnknownTool,
                format!("the model called tools that the agent does not have: {}", names.join(", ")),
            )
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
    use crate::{
        clock::Timestamp,
        model::{ModelName, ToolCall},
    };

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
        assert_eq!(decide(std::slice::from_ref(&input), 1), Next::Call);
        assert!(matches!(decide(std::slice::from_ref(&input), 0), Next::Fail(Reason::MaxSteps, _)));
        assert!(matches!(decide(&[], 1), Next::Fail(..)));
        for (finish, next) in [
            (Finish::Stop, Next::Finish(None)),
            (Finish::Other, Next::Finish(None)),
            (Finish::Length, Next::Finish(Some(Reason::MaxTokens))),
        ] {
            assert_eq!(decide(&[input.clone(), answer(finish, &[])], 1), next);
        }
        assert!(matches!(
            decide(&[input.clone(), answer(Finish::Filtered, &[])], 1),
            Next::Fail(Reason::ContentFiltered, _)
        ));
        assert!(matches!(decide(&[input, answer(Finish::ToolCalls, &["rm"])], 1), Next::Fail(Reason::UnknownTool, _)));
    }
}

//! Ids of tool calls: no two of a conversation are the same, and the same request and answer give the same ids.

use std::collections::BTreeSet;

use super::{Request, ToolCall, Turn};

/// The calls with an id for each that has none, or one that the conversation has already. `made` makes one from the call and a
/// number that counts the conversation's calls.
pub(super) fn unique(
    request: &Request,
    calls: Vec<ToolCall>,
    made: impl Fn(&ToolCall, usize) -> String,
) -> Vec<ToolCall> {
    let earlier = request.turns.iter().flat_map(calls_of);
    let mut taken: BTreeSet<String> = earlier.map(|call| call.id.clone()).collect();
    let mut number = request.turns.iter().flat_map(calls_of).count();
    let mut unique = |mut call: ToolCall| {
        while call.id.is_empty() || taken.contains(&call.id) {
            call.id = made(&call, number);
            number = number.saturating_add(1);
        }
        taken.insert(call.id.clone());
        call
    };
    calls.into_iter().map(&mut unique).collect()
}

/// An id for a call that has none.
pub(super) fn plain(_: &ToolCall, number: usize) -> String {
    format!("call_{number}")
}

fn calls_of(turn: &Turn) -> &[ToolCall] {
    if let Turn::Assistant { tool_calls, .. } = turn { tool_calls } else { &[] }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{ModelName, ToolMode};

    pub(in crate::model) fn request(model: &str, turns: Vec<Turn>) -> Request {
        Request {
            model: ModelName(model.to_owned()),
            system: "Be brief.".to_owned(),
            turns,
            tools: Vec::new(),
            tool_mode: ToolMode::Native,
            output_schema: None,
            deltas: None,
            max_tokens: 1_000,
            temperature: None,
            timeout_ms: 60_000,
        }
    }

    pub(in crate::model) fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
        ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
    }

    #[test]
    fn an_id_that_is_missing_or_taken_is_made_anew() {
        let earlier = vec![call("a", "x", "{}"), call("call_2", "x", "{}")];
        let request = request("m", vec![Turn::Assistant { text: String::new(), tool_calls: earlier }]);
        let calls = ["b", "", "a", "b"].map(|id| call(id, "x", "{}")).to_vec();
        let ids = |calls: Vec<ToolCall>| calls.into_iter().map(|call| call.id).collect::<Vec<_>>();
        assert_eq!(ids(unique(&request, calls, plain)), ["b", "call_3", "call_4", "call_5"]);
    }
}

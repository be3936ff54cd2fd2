//! What a prompt tells the scripted model to call: lines `call NAME {json}`, and `then` between what is called after the answers to
//! what stands before.

use super::{Request, ToolCall, Turn, call_id};

/// The longest name of a tool.
const NAME_LENGTH: usize = 64;

/// The calls that are due in answer to that request; none when the prompt wants none, or no further ones.
pub(super) fn due(request: &Request) -> Vec<ToolCall> {
    if request.tools.is_empty() {
        return Vec::new();
    }
    let since_user = request.turns.iter().rev().take_while(|turn| !matches!(turn, Turn::User { .. }));
    let calls = |turn: &&Turn| matches!(turn, Turn::Assistant { tool_calls, .. } if !tool_calls.is_empty());
    let rounds = since_user.filter(calls).count();
    let stage = stages(prompt(request), request).into_iter().nth(rounds).unwrap_or_default();
    call_id::unique(request, stage, call_id::plain)
}

/// What the user said last.
pub(super) fn prompt(request: &Request) -> &str {
    request.turns.iter().rev().find(|turn| matches!(turn, Turn::User { .. })).map_or("", Turn::text)
}

/// The tools' answers since the user spoke: names and contents.
pub(super) fn results(request: &Request) -> Vec<(&str, &str)> {
    let since_user = request.turns.iter().rev().take_while(|turn| !matches!(turn, Turn::User { .. }));
    let mut results: Vec<(&str, &str)> = since_user
        .filter_map(|turn| match turn {
            Turn::Tool { name, content, .. } => Some((name.as_str(), content.as_str())),
            Turn::User { .. } | Turn::Assistant { .. } => None,
        })
        .collect();
    results.reverse();
    results
}

fn stages(prompt: &str, request: &Request) -> Vec<Vec<ToolCall>> {
    let mut stages = vec![Vec::new()];
    for line in prompt.lines().map(str::trim) {
        if line == "then" {
            stages.push(Vec::new());
        } else if let Some((call, stage)) = line_call(line, request).zip(stages.last_mut()) {
            stage.push(call);
        }
    }
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// The call of one line. What follows the name is taken as it is, JSON or not, if it begins with a brace; without it the line is a
/// call only if there is such a tool.
fn line_call(line: &str, request: &Request) -> Option<ToolCall> {
    let rest = line.strip_prefix("call ")?.trim_start();
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let is_name = (1..=NAME_LENGTH).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let arguments = match arguments.trim() {
        "" if request.tools.iter().any(|tool| tool.name == name) => "{}",
        written if written.starts_with('{') => written,
        _ => return None,
    };
    is_name.then(|| ToolCall { id: String::new(), name: name.to_owned(), arguments: arguments.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Offer, call_id::tests};

    fn with_tool(turns: Vec<Turn>) -> Request {
        let tool = Offer { name: "now".to_owned(), description: String::new(), parameters: json!({}) };
        Request { tools: vec![tool], ..tests::request("demo/scripted", turns) }
    }

    fn told(calls: &[ToolCall]) -> Vec<(&str, &str, &str)> {
        calls.iter().map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str())).collect()
    }

    #[test]
    fn lines_of_a_prompt_are_calls_in_stages() {
        let prompt = "Please:\n  call add {\"a\": 1}\ncall add {\"a\":\r\ncall me later\ncall nobody\nthen\nthen\ncall now\ncall späť {}";
        let mut request = with_tool(vec![Turn::user(prompt)]);
        let first = due(&request);
        assert_eq!(told(&first), [("call_0", "add", "{\"a\": 1}"), ("call_1", "add", "{\"a\":")]);
        request.turns.push(Turn::Assistant { text: String::new(), tool_calls: first });
        for (id, content) in [("call_0", "1"), ("call_1", "no")] {
            request.turns.push(Turn::Tool {
                call_id: id.to_owned(),
                name: "add".to_owned(),
                content: content.to_owned(),
            });
        }
        let second = due(&request);
        assert_eq!(told(&second), [("call_2", "now", "{}")]);
        request.turns.push(Turn::Assistant { text: String::new(), tool_calls: second });
        assert!(due(&request).is_empty());
        assert_eq!(results(&request), [("add", "1"), ("add", "no")]);
        request.turns.push(Turn::user("call now"));
        assert_eq!(told(&due(&request)), [("call_3", "now", "{}")]);
        assert!(results(&request).is_empty());
        request.tools.clear();
        assert!(due(&request).is_empty(), "no tools, no calls");
    }
}

//! What a prompt tells the model to call: lines `call NAME {json}`, and `then` between what is called after the answers to what
//! stands before. The arguments are sent as they are written.

use serde_json::Value;

/// The calls of each round: name and arguments.
pub(crate) fn rounds(prompt: &str, tools: &[(String, Value)]) -> Vec<Vec<(String, String)>> {
    let mut rounds = vec![Vec::new()];
    for line in prompt.lines().map(str::trim) {
        if line == "then" {
            rounds.push(Vec::new());
        } else if let Some((call, round)) = call(line, tools).zip(rounds.last_mut()) {
            round.push(call);
        }
    }
    rounds.retain(|round| !round.is_empty());
    rounds
}

/// The answer that the prompt tells the model to give, when it calls nothing: what follows `say ` at the beginning of a line.
pub(crate) fn said(prompt: &str) -> Option<&str> {
    prompt.lines().find_map(|line| line.strip_prefix("say "))
}

/// Without arguments, a line is a call only if there is such a tool.
fn call(line: &str, tools: &[(String, Value)]) -> Option<(String, String)> {
    let rest = line.strip_prefix("call ")?.trim_start();
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let arguments = match arguments.trim() {
        "" if tools.iter().any(|(known, _)| known == name) => "{}",
        written if written.starts_with('{') => written,
        _ => return None,
    };
    Some((name.to_owned(), arguments.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_prompt_are_calls_in_rounds() {
        let tools = [("now".to_owned(), Value::Null)];
        let rounds =
            rounds("Please\n call add {\"a\": 1}\ncall add {\ncall me later\ncall nobody\nthen\ncall now", &tools);
        let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
        assert_eq!(rounds, [vec![call("add", "{\"a\": 1}"), call("add", "{")], vec![call("now", "{}")]]);
    }
}

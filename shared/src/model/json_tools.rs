//! Tools for models that have no mechanism for them: described in the system prompt, called by an answer in JSON. Knows no
//! provider.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Answer, ModelFault, Offer, Provider, Request, ToolCall, ToolMode, Turn, call_id};

const INSTRUCTIONS: &str = "\
You can call tools. Answer with one JSON object and nothing else. To call tools, one or several at once:
{\"tool_calls\": [{\"name\": \"<the tool's name>\", \"arguments\": {<the tool's arguments>}}]}
Their results come with the next message. When you need no tool, or no further one:
{\"answer\": <your answer>}
";

/// Calls the provider without its own mechanism for tools. The answer's text is given to `deltas` in one piece, at the end: before,
/// nobody knows whether it is text.
///
/// # Errors
/// Those of the provider.
pub(super) async fn call(provider: &dyn Provider, request: &Request) -> Result<Answer, ModelFault> {
    let answer = answered(request, provider.call(&asked(request)).await?);
    if let Some(deltas) = &request.deltas {
        deltas.give(&answer.text);
    }
    Ok(answer)
}

/// The request without tools that asks the same.
#[must_use]
pub fn asked(request: &Request) -> Request {
    let mut system = request.system.clone();
    if !system.is_empty() {
        system.push_str("\n\n");
    }
    system.push_str(INSTRUCTIONS);
    let shape = request.output_schema.as_ref().map_or_else(
        || "Your answer is a string.".to_owned(),
        |schema| format!("Your answer is a value that satisfies this JSON Schema: {schema}"),
    );
    let _ = write!(system, "{shape}\nThe tools:");
    for tool in &request.tools {
        let told = json!({"name": tool.name, "description": tool.description, "parameters": tool.parameters});
        let _ = write!(system, "\n{told}");
    }
    Request {
        system,
        turns: turns(request),
        tools: Vec::new(),
        tool_mode: ToolMode::Native,
        output_schema: schema(request),
        deltas: None,
        ..request.clone()
    }
}

/// The answer to `request`, read from the answer to what [`asked`] made of it. Text in neither of the two forms is the answer
/// itself.
#[must_use]
pub fn answered(request: &Request, answer: Answer) -> Answer {
    let Some(mut object) = object(&answer.text) else { return answer };
    if let Some(tool_calls) =
        object.remove("tool_calls").and_then(|calls| calls_of(&calls)).filter(|calls| !calls.is_empty())
    {
        let tool_calls = call_id::unique(request, tool_calls, call_id::plain);
        return Answer { text: String::new(), tool_calls, finish: answer.finish.with_calls(), ..answer };
    }
    match object.remove("answer") {
        Some(said) => Answer { text: text_of(said), ..answer },
        None => answer,
    }
}

fn turns(request: &Request) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut results: Vec<String> = Vec::new();
    for turn in &request.turns {
        if let Turn::Tool { name, content, .. } = turn {
            results.push(json!({"call": results.len() + 1, "name": name, "result": content}).to_string());
            continue;
        }
        turns.extend(told(&mut results));
        turns.push(match turn {
            Turn::Assistant { text, tool_calls } => {
                Turn::Assistant { text: as_written(request, text, tool_calls), tool_calls: Vec::new() }
            }
            other @ (Turn::User { .. } | Turn::Tool { .. }) => other.clone(),
        });
    }
    turns.extend(told(&mut results));
    turns
}

/// The results, as the user's message that the instructions announce.
fn told(results: &mut Vec<String>) -> Option<Turn> {
    let results = std::mem::take(results);
    (!results.is_empty()).then(|| Turn::user(format!("The tools' results:\n{}", results.join("\n"))))
}

/// What the model would have written to say that.
fn as_written(request: &Request, text: &str, tool_calls: &[ToolCall]) -> String {
    if tool_calls.is_empty() {
        let structured = request.output_schema.as_ref().and_then(|_| serde_json::from_str(text).ok());
        return json!({"answer": structured.unwrap_or_else(|| Value::from(text))}).to_string();
    }
    let calls = tool_calls.iter().map(|call| {
        let arguments = serde_json::from_str(&call.arguments).unwrap_or_else(|_| Value::from(call.arguments.as_str()));
        json!({"name": call.name, "arguments": arguments})
    });
    json!({"tool_calls": calls.collect::<Value>()}).to_string()
}

/// The JSON Schema of both forms, for providers that can be given one. A tool whose schema refers to parts of itself cannot stand
/// inside another: then there is none.
fn schema(request: &Request) -> Option<Value> {
    let answer = request.output_schema.clone().unwrap_or_else(|| json!({"type": "string"}));
    let inner = request.tools.iter().map(|tool| &tool.parameters).chain([&answer]);
    if inner.into_iter().any(refers) {
        return None;
    }
    let call = |tool: &Offer| {
        json!({"type": "object", "properties": {"name": {"type": "string", "enum": [tool.name]}, "arguments": tool.parameters},
            "required": ["name", "arguments"], "additionalProperties": false})
    };
    let calls: Value = request.tools.iter().map(call).collect();
    Some(json!({"type": "object", "additionalProperties": false,
        "properties": {"tool_calls": {"type": "array", "items": {"anyOf": calls}}, "answer": answer}}))
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key("$ref") || members.values().any(refers),
        Value::Array(items) => items.iter().any(refers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The JSON object that a text is, within a code fence or between other words too.
fn object(text: &str) -> Option<Map<String, Value>> {
    let (from, to) = (text.find('{')?, text.rfind('}')?);
    let parsed = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    parsed(text.trim())
        .or_else(|| {
            let fenced =
                text.split("```").nth(1).map(|block| block.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
            fenced.and_then(parsed)
        })
        .or_else(|| parsed(text.get(from..=to)?))
}

/// The calls, if each of them is one.
fn calls_of(calls: &Value) -> Option<Vec<ToolCall>> {
    let call = |call: &Value| {
        let arguments = match call.get("arguments") {
            None | Some(Value::Null) => "{}".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        Some(ToolCall { id: String::new(), name: call.get("name")?.as_str()?.to_owned(), arguments })
    };
    calls.as_array()?.iter().map(call).collect()
}

fn text_of(said: Value) -> String {
    if let Value::String(text) = said { text } else { said.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Finish,
        call_id::tests::{call, request},
    };

    fn with_tools(turns: Vec<Turn>) -> Request {
        let parameters = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
        let tool = Offer { name: "add".to_owned(), description: "Adds.".to_owned(), parameters };
        Request { tools: vec![tool], tool_mode: ToolMode::Json, ..request("ollama/small", turns) }
    }

    fn read(text: &str) -> Answer {
        let answer = Answer { text: text.to_owned(), tool_calls: Vec::new(), finish: Finish::Stop, tokens: None };
        answered(&with_tools(vec![Turn::user("hi")]), answer)
    }

    #[test]
    fn the_tools_are_told_in_the_system_prompt_and_asked_for_in_a_schema() {
        let asked = asked(&with_tools(vec![Turn::user("hi")]));
        assert!(asked.tools.is_empty() && asked.tool_mode == ToolMode::Native);
        assert!(asked.system.starts_with("Be brief.\n\nYou can call tools."));
        assert!(asked.system.contains(r#"{"name":"add","description":"Adds.","parameters":{"type":"object""#));
        let schema = asked.output_schema.unwrap();
        assert_eq!(schema["properties"]["answer"], json!({"type": "string"}));
        let call = &schema["properties"]["tool_calls"]["items"]["anyOf"][0]["properties"];
        assert_eq!((&call["name"]["enum"][0], &call["arguments"]["required"][0]), (&json!("add"), &json!("a")));
    }

    #[test]
    fn an_answer_with_a_schema_of_its_own_is_asked_for_within() {
        let wanted = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let request = Request { output_schema: Some(wanted.clone()), ..with_tools(vec![Turn::user("hi")]) };
        let asked = asked(&request);
        assert!(asked.system.contains(&format!("satisfies this JSON Schema: {wanted}")));
        assert_eq!(asked.output_schema.unwrap()["properties"]["answer"], wanted);
        assert_eq!(read(r#"{"answer": {"n": 1}}"#).text, r#"{"n":1}"#);
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_not_put_into_another() {
        let mut request = with_tools(vec![Turn::user("hi")]);
        request.tools[0].parameters = json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}});
        assert_eq!(asked(&request).output_schema, None);
    }

    #[test]
    fn earlier_calls_and_their_results_are_told_in_the_same_forms() {
        let calls = vec![call("1", "add", r#"{"a":1}"#), call("2", "add", "{broken")];
        let result = |id: &str, content: &str| Turn::Tool {
            call_id: id.to_owned(),
            name: "add".to_owned(),
            content: content.to_owned(),
        };
        let turns = vec![
            Turn::user("hi"),
            Turn::Assistant { text: String::new(), tool_calls: calls },
            result("1", "one"),
            result("2", "no JSON"),
            Turn::Assistant { text: "done".to_owned(), tool_calls: Vec::new() },
            Turn::user("again"),
        ];
        let asked = asked(&with_tools(turns));
        let said: Vec<&str> = asked.turns.iter().map(Turn::text).collect();
        assert_eq!(
            said,
            [
                "hi",
                r#"{"tool_calls":[{"name":"add","arguments":{"a":1}},{"name":"add","arguments":"{broken"}]}"#,
                "The tools' results:\n{\"call\":1,\"name\":\"add\",\"result\":\"one\"}\n\
                 {\"call\":2,\"name\":\"add\",\"result\":\"no JSON\"}",
                r#"{"answer":"done"}"#,
                "again"
            ]
        );
    }

    #[test]
    fn calls_are_read_from_plain_fenced_and_surrounded_json() {
        let bare = r#"{"tool_calls": [{"name": "add", "arguments": {"a": 1}}, {"name": "now"}]}"#;
        for text in [
            bare.to_owned(),
            format!("```json\n{bare}\n```"),
            format!("```\n{bare}```"),
            format!("I will call {{a tool}}:\n```json\n{bare}\n```"),
            format!("Sure!\n{bare}\nThat is it."),
        ] {
            let answer = read(&text);
            let calls = vec![call("call_0", "add", r#"{"a":1}"#), call("call_1", "now", "{}")];
            assert_eq!(
                (answer.text.as_str(), answer.finish, answer.tool_calls),
                ("", Finish::ToolCalls, calls),
                "{text}"
            );
        }
    }

    #[test]
    fn arguments_that_are_no_object_are_kept() {
        let answer =
            read(r#"{"tool_calls": [{"name": "add", "arguments": "{\"a\":"}, {"name": "add", "arguments": [1]}]}"#);
        let arguments: Vec<&str> = answer.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
        assert_eq!(arguments, ["{\"a\":", "[1]"]);
    }

    #[test]
    fn the_answer_is_told_from_calls_and_anything_else_is_plain_text() {
        assert_eq!(read(r#"{"answer": "42", "tool_calls": []}"#).text, "42");
        assert_eq!(read(r#"{"answer": 42}"#).text, "42");
        for text in [
            "",
            "plain",
            "{",
            "}{",
            r#"{"other": 1}"#,
            r#"{"tool_calls": [{"arguments": {}}]}"#,
            "[1]",
            "{\"tool_calls\": [",
        ] {
            let answer = read(text);
            assert_eq!((answer.text.as_str(), answer.finish, answer.tool_calls.len()), (text, Finish::Stop, 0));
        }
    }
}

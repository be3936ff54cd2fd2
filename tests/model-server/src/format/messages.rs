//! What of a conversation matters: what the user said last, and how many rounds of calls there were since.

use serde_json::{Map, Value};

/// What a part of a message is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Said,
    Call,
    Result,
}

/// The messages of a conversation.
pub(super) struct Messages<'a> {
    list: &'a [Value],
    content: &'static str,
    kind: fn(&Value) -> Kind,
}

impl<'a> Messages<'a> {
    /// Those below `key`, with their parts below `content`.
    pub(super) fn of(body: &'a Value, key: &str, content: &'static str, kind: fn(&Value) -> Kind) -> Messages<'a> {
        let list = body.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Messages { list, content, kind }
    }

    /// The text of the last message of the user.
    pub(super) fn prompt(&self) -> String {
        let last = self.list.iter().rev().find(|message| self.is_user(message));
        last.map_or_else(String::new, |message| text_of(&message[self.content]))
    }

    /// How many messages with calls there are since the user's last one.
    pub(super) fn rounds_done(&self) -> usize {
        self.list
            .iter()
            .rev()
            .take_while(|message| !self.is_user(message))
            .filter(|message| self.calls(message))
            .count()
    }

    /// Results of calls are the user's messages too in some formats.
    fn is_user(&self, message: &Value) -> bool {
        let parts = message[self.content].as_array();
        message["role"] == "user"
            && parts.is_none_or(|parts| parts.is_empty() || parts.iter().any(|part| (self.kind)(part) == Kind::Said))
    }

    fn calls(&self, message: &Value) -> bool {
        let beside = message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
        beside || message[self.content].as_array().into_iter().flatten().any(|part| (self.kind)(part) == Kind::Call)
    }
}

/// The text of a message's content: a string, or the texts of its parts.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

/// Names and schemas of the tools that are offered there.
pub(super) fn offered(tools: &Value, name: &str, schema: &str) -> Vec<(String, Value)> {
    let tool = |tool: &Value| {
        let schema = tool.pointer(schema).cloned().unwrap_or(Value::Object(Map::new()));
        Some((tool.pointer(name)?.as_str()?.to_owned(), schema))
    };
    tools.as_array().into_iter().flatten().filter_map(tool).collect()
}

//! MCP's messages over HTTP, as far as the way to the server must know them.

use http::{HeaderMap, HeaderName, header};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, RequestId};
use serde_json::Value;

/// The longest session id, in bytes.
const SESSION_ID_LIMIT: usize = 1_024;

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// What a message is, as far as it matters here.
pub(super) struct Message {
    /// The id of the answer that is waited for, if one is.
    pub(super) id: Option<RequestId>,
    pub(super) calls: bool,
    pub(super) discovers: bool,
}

impl Message {
    pub(super) fn of(message: &ClientJsonRpcMessage) -> Self {
        let ClientJsonRpcMessage::Request(request) = message else {
            return Self { id: None, calls: false, discovers: false };
        };
        Self {
            id: Some(request.id.clone()),
            calls: matches!(request.request, ClientRequest::CallToolRequest(_)),
            discovers: matches!(request.request, ClientRequest::DiscoverRequest(_)),
        }
    }
}

/// How many values a JSON text has, about: without taking room for them.
pub(super) fn values(text: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped): (usize, _, _) = (0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' | b',' if !in_string => count = count.saturating_add(1),
            _ => {}
        }
    }
    count
}

/// Whether the message answers the request of this id.
pub(super) fn answers(message: &Value, id: &RequestId) -> bool {
    let theirs = message.get("id");
    let same = match id {
        RequestId::Number(number) => theirs.and_then(Value::as_i64) == Some(*number),
        RequestId::String(text) => theirs.and_then(Value::as_str) == Some(text),
    };
    same && (message.get("result").is_some() || message.get("error").is_some())
}

pub(super) fn session_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(SESSION)?.to_str().ok()?;
    (1..=SESSION_ID_LIMIT).contains(&id.len()).then(|| id.to_owned())
}

/// The media type, without its parameters.
pub(super) fn media(headers: &HeaderMap) -> String {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_counted_outside_of_texts() {
        for (text, count) in [("", 0), ("[]", 1), ("[1,[2],{}]", 5), (r#"{"a":",[{\",","b":1}"#, 2), (r#"["\\",1]"#, 2)]
        {
            assert_eq!(values(text.as_bytes()), count, "{text}");
        }
    }

    #[test]
    fn an_answer_has_the_id_that_was_asked_with_and_a_result_or_an_error() {
        let id = RequestId::Number(3);
        for (message, expected) in [
            (json!({"id": 3, "result": null}), true),
            (json!({"id": 3, "error": {}}), true),
            (json!({"id": 3, "method": "ping"}), false),
            (json!({"id": "3", "result": {}}), false),
            (json!({"id": 4, "result": {}}), false),
            (json!({"result": {}}), false),
            (json!([{"id": 3, "result": {}}]), false),
        ] {
            assert_eq!(answers(&message, &id), expected, "{message}");
        }
    }
}

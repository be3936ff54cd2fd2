//! What a model is given of a server's answer to a call: text and JSON within a limit; of pictures and the like, that there are some.

use serde_json::Value;

use crate::tool::{Outcome, within_limit};

/// The longest text of an error, in characters.
const ERROR_CHARS: usize = 1_000;

/// The outcome that this JSON-RPC message is.
pub(super) fn answer(message: &Value) -> Outcome {
    let failure = |content: String| Outcome::Answered { content, failed: true, passing: false };
    let Some(result) = message.get("result") else {
        let said = message.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given");
        return failure(format!("the MCP server refused the call: {}", short(said)));
    };
    match result.get("resultType").and_then(Value::as_str) {
        None | Some("complete") => {}
        Some("input_required") => {
            return failure("the tool asks for something in the middle of a call, which is not supported".to_owned());
        }
        Some(_) => {
            return failure(
                "the tool goes on without its answer, which is not supported: it may still take place".to_owned(),
            );
        }
    }
    let failed = result.get("isError").and_then(Value::as_bool) == Some(true);
    Outcome::Answered { content: text(result), failed, passing: false }
}

/// The text parts one after the other, then the structured content, unless the only text is just that.
fn text(result: &Value) -> String {
    let blocks = result.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut parts: Vec<String> = blocks.iter().map(part).collect();
    if let Some(structured) = result.get("structuredContent").filter(|structured| !structured.is_null()) {
        let same = |text: &String| serde_json::from_str::<Value>(text).is_ok_and(|value| value == *structured);
        if !parts.iter().any(same) {
            parts.push(structured.to_string());
        }
    }
    let text = parts.join("\n");
    if text.is_empty() { "[no content]".to_owned() } else { within_limit(text, false) }
}

fn part(block: &Value) -> String {
    let text = |name: &str| block.get(name).and_then(Value::as_str);
    let resource = |name: &str| block.get("resource").and_then(|resource| resource.get(name)).and_then(Value::as_str);
    match text("type") {
        Some("text") => text("text").unwrap_or_default().to_owned(),
        Some("image" | "audio") => named(text("mimeType"), text("data")),
        Some("resource_link") => {
            format!("[{}: {}]", short(text("name").unwrap_or("link")), short(text("uri").unwrap_or_default()))
        }
        Some("resource") => match resource("text") {
            Some(text) => text.to_owned(),
            None => named(resource("mimeType"), resource("blob")),
        },
        Some(_) | None => "[content of an unknown type]".to_owned(),
    }
}

/// That there are so many bytes of that type, which are in base64.
fn named(media: Option<&str>, base64: Option<&str>) -> String {
    let encoded = base64.unwrap_or_default().trim_end_matches('=').len();
    let media: String = media.unwrap_or("unknown type").chars().filter(|c| !c.is_control()).take(100).collect();
    format!("[{media}, {} bytes]", thousands(encoded.saturating_mul(3) / 4))
}

/// The number with commas between its thousands.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits.get(..first).unwrap_or_default().to_owned();
    for group in digits.get(first..).unwrap_or_default().as_bytes().chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&String::from_utf8_lossy(group));
    }
    text
}

/// The beginning of what a server says, where only a hint is needed.
pub(super) fn short(text: &str) -> String {
    text.chars().take(ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tool::ANSWER_LIMIT_BYTES;

    fn said(result: Value) -> (String, bool) {
        let outcome = answer(&json!({"jsonrpc": "2.0", "id": 1, "result": result}));
        let Outcome::Answered { content, failed, passing: false } = outcome else { panic!("{outcome:?}") };
        (content, failed)
    }

    #[test]
    fn text_is_given_and_everything_else_is_named() {
        let blocks = json!([
            {"type": "text", "text": "one"},
            {"type": "image", "mimeType": "image/png", "data": "A".repeat(16_460)},
            {"type": "audio", "data": "AAAA"},
            {"type": "resource", "resource": {"uri": "file:///a", "text": "two"}},
            {"type": "resource", "resource": {"uri": "file:///b", "mimeType": "application/pdf", "blob": "AA=="}},
            {"type": "resource_link", "name": "c", "uri": "https://example.com/c"},
            {"type": "hologram"},
        ]);
        let expected = "one\n[image/png, 12,345 bytes]\n[unknown type, 3 bytes]\ntwo\n[application/pdf, 1 bytes]\n\
                        [c: https://example.com/c]\n[content of an unknown type]";
        assert_eq!(said(json!({"content": blocks})), (expected.to_owned(), false));
        assert_eq!(said(json!({"content": [], "isError": true})), ("[no content]".to_owned(), true));
        assert_eq!(said(json!({})).0, "[no content]");
    }

    #[test]
    fn structured_content_is_given_once() {
        let structured = json!({"a": 1});
        let twice = json!({"content": [{"type": "text", "text": "{ \"a\": 1 }"}], "structuredContent": structured});
        assert_eq!(said(twice).0, "{ \"a\": 1 }");
        let beside = json!({"content": [{"type": "text", "text": "made"}], "structuredContent": structured});
        assert_eq!(said(beside).0, "made\n{\"a\":1}");
    }

    #[test]
    fn a_long_answer_is_cut_and_a_long_error_too() {
        let long = said(json!({"content": [{"type": "text", "text": "é".repeat(ANSWER_LIMIT_BYTES)}]})).0;
        assert!(long.len() <= ANSWER_LIMIT_BYTES && long.ends_with("the answer is too long.]"));
        let error = json!({"error": {"code": -32603, "message": "x".repeat(9_000)}});
        let Outcome::Answered { content, failed: true, passing: false } = answer(&error) else { panic!() };
        assert!(content.starts_with("the MCP server refused the call: xxx") && content.len() < 1_100);
        assert!(said(json!({"resultType": "input_required"})).1);
        assert!(said(json!({"resultType": "task"})).1);
        assert!(!said(json!({"resultType": "complete", "content": []})).1);
    }

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 12, 123, 1_234, 123_456, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}

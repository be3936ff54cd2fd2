//! Answers of a given shape, and tools for models that have no mechanism for them.

use std::sync::{Arc, Mutex};

use model_server::Format;
use serde_json::{Value, json};
use shared::model::{Deltas, Finish, Request, ToolMode, Turn, settings::Vendor};

use super::{SYSTEM, VENDORS, models, request, server, tools};

fn schema() -> Value {
    json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false})
}

/// Where a format's body has a schema for the answer.
const fn place(format: Format) -> Option<&'static str> {
    match format {
        Format::OpenAi => Some("/response_format/json_schema/schema"),
        Format::Anthropic => Some("/output_config/format/schema"),
        Format::Gemini => Some("/generationConfig/responseJsonSchema"),
        Format::Bedrock | Format::Ollama => None,
    }
}

#[tokio::test]
async fn a_schema_is_sent_where_the_vendor_takes_one_and_told_in_words_elsewhere() {
    let server = server().await;
    let models = models(&server);
    for with_tools in [false, true] {
        for (vendor, format, ..) in VENDORS {
            let offered = if with_tools { tools::tools() } else { Vec::new() };
            let name = format!("{}/fake", vendor.prefix());
            let request = Request { output_schema: Some(schema()), tools: offered, ..request(&models, &name) };
            models.call(&request).await.unwrap();
            let body = server.last(format).unwrap().body;
            let sent = place(format).and_then(|place| body.pointer(place));
            let never_with_tools = matches!(vendor, Vendor::Gemini | Vendor::Mistral);
            let expected = (place(format).is_some() && !(with_tools && never_with_tools)).then(schema);
            assert_eq!(sent, expected.as_ref(), "{vendor:?} {with_tools}: {body}");
            let in_words = body.to_string().contains("satisfies this JSON Schema");
            // A server of other models that speaks Anthropic's format may ignore it, as hosts behind OpenRouter do.
            let maybe_ignored = matches!(vendor, Vendor::OpenRouter | Vendor::Anthropic);
            assert_eq!(in_words, sent.is_none() || maybe_ignored, "{vendor:?} {with_tools}");
            let any_json = vendor == Vendor::Ollama && !with_tools;
            assert_eq!(body.get("format"), any_json.then_some(&json!("json")), "{vendor:?}");
        }
    }
}

#[tokio::test]
async fn a_schema_that_a_vendor_or_a_model_does_not_take_is_told_in_words() {
    let server = server().await;
    let models = models(&server);
    let list = json!({"type": "array", "items": {"type": "string"}});
    for (model, schema) in [("openai/fake", list), ("anthropic/claude-3-haiku-fake", schema())] {
        let format = if model.starts_with("openai") { Format::OpenAi } else { Format::Anthropic };
        let request = Request { output_schema: Some(schema), ..request(&models, model) };
        models.call(&request).await.unwrap();
        let body = server.last(format).unwrap().body;
        assert_eq!(place(format).and_then(|place| body.pointer(place)), None, "{model}");
        assert!(body.to_string().contains("satisfies this JSON Schema"), "{model}");
    }
}

#[tokio::test]
async fn a_model_of_anthropics_own_is_given_the_schema_alone() {
    let server = server().await;
    let models = models(&server);
    let request = Request { output_schema: Some(schema()), ..request(&models, "anthropic/claude-sonnet-4-5-fake") };
    models.call(&request).await.unwrap();
    let body = server.last(Format::Anthropic).unwrap().body;
    assert_eq!(body.pointer("/output_config/format/schema"), Some(&schema()));
    assert!(!body.to_string().contains("satisfies this JSON Schema"), "{body}");
}

#[tokio::test]
async fn tools_in_json_are_described_and_called_in_text() {
    let server = server().await;
    let models = models(&server);
    let heard: Arc<Mutex<String>> = Arc::default();
    let writer = Arc::clone(&heard);
    for (vendor, format, ..) in VENDORS {
        let name = format!("{}/fake", vendor.prefix());
        let json_mode = |prompt: &str| Request { tool_mode: ToolMode::Json, ..tools::asking(&models, &name, prompt) };
        let prompt = r#"say ```json {"tool_calls": [{"name": "add", "arguments": {"a": 1}}, {"name": "now"}]} ```"#;
        let answer = models.call(&json_mode(prompt)).await.unwrap();
        let calls: Vec<_> =
            answer.tool_calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
        assert_eq!(calls, [("add", r#"{"a":1}"#), ("now", "{}")], "{vendor:?}");
        assert_eq!((answer.text.as_str(), answer.finish), ("", Finish::ToolCalls), "{vendor:?}");

        let body = server.last(format).unwrap().body;
        let told = body.to_string();
        assert!(told.contains(SYSTEM) && told.contains("Tells the time."), "{vendor:?}");
        assert!(body.get("tools").is_none() && body.get("toolConfig").is_none(), "{vendor:?}");
        if let Some(place) = place(format) {
            assert!(
                body.pointer(place).is_some_and(|schema| schema["properties"]["tool_calls"].is_object()),
                "{vendor:?}"
            );
        }

        let mut last = json_mode(r#"say {"answer": "It is 3."}"#);
        let writer = Arc::clone(&writer);
        last.deltas = Some(Deltas::new(move |text| writer.lock().unwrap().push_str(text)));
        assert_eq!(models.call(&last).await.unwrap().text, "It is 3.", "{vendor:?}");
        assert_eq!(std::mem::take(&mut *heard.lock().unwrap()), "It is 3.", "never the JSON around it: {vendor:?}");
        let plain = models.call(&json_mode("say just words")).await.unwrap();
        assert_eq!((plain.text.as_str(), plain.finish), ("just words", Finish::Stop), "{vendor:?}");
    }
}

#[tokio::test]
async fn the_scripted_model_calls_tools_and_keeps_to_a_schema() {
    let server = server().await;
    let models = models(&server);
    let mut request = tools::asking(&models, "demo/scripted-l0", tools::SCRIPT);
    let first = models.call(&request).await.unwrap();
    assert_eq!((first.tool_calls.len(), first.finish), (2, Finish::ToolCalls));
    request.turns = vec![Turn::user("count")];
    request.output_schema = Some(schema());
    assert_eq!(models.call(&request).await.unwrap().text, r#"{"n":0}"#);
    assert_eq!(server.stats().calls, 0);
}

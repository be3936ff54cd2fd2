//! Tools and images: what each vendor is sent of them, and what of its answers arrives.

use std::collections::BTreeSet;

use bytes::Bytes;
use model_server::{Format, Server};
use serde_json::{Value, json};
use shared::model::{
    Answer, FaultKind, Finish, Image, ModelFault, Offer, Request, ToolCall, Turn, catalogue::Models, settings::Vendor,
};

use super::{VENDORS, models, request, server};

pub(super) const SCRIPT: &str = "call add {\"a\": 1}\ncall add {\"a\": 2}\nthen\ncall now";

pub(super) fn tools() -> Vec<Offer> {
    let offer = |name: &str, description: &str, parameters: Value| Offer {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters,
    };
    let add = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    vec![offer("add", "Adds.", add), offer("now", "Tells the time.", json!({"type": "object", "properties": {}}))]
}

/// A request of one message, with tools.
pub(super) fn asking(models: &Models, model: &str, prompt: &str) -> Request {
    Request { turns: vec![Turn::user(prompt)], tools: tools(), ..request(models, model) }
}

async fn ask(server: &Server, vendor: Vendor, parts: &str, prompt: &str) -> Result<Answer, ModelFault> {
    let models = models(server);
    models.call(&asking(&models, &format!("{}/fake{parts}", vendor.prefix()), prompt)).await
}

/// Name, description and schema of each tool, as that format's body has them.
fn offered(format: Format, body: &Value) -> Vec<(Value, Value, Value)> {
    let (list, inner, schema) = match format {
        Format::OpenAi | Format::Ollama => (&body["tools"], "/function", "/parameters"),
        Format::Anthropic => (&body["tools"], "", "/input_schema"),
        Format::Gemini => (&body["tools"][0]["functionDeclarations"], "", "/parametersJsonSchema"),
        Format::Bedrock => (&body["toolConfig"]["tools"], "/toolSpec", "/inputSchema/json"),
    };
    let tool = |tool: &Value| {
        let tool = tool.pointer(inner).unwrap();
        (tool["name"].clone(), tool["description"].clone(), tool.pointer(schema).unwrap().clone())
    };
    list.as_array().unwrap().iter().map(tool).collect()
}

/// A call or a result of a conversation.
#[derive(Debug, PartialEq, Clone)]
enum Part {
    /// Id, name, arguments.
    Call(Value, Value, Value),
    /// The call's id, its name where the format has one, and the content.
    Result(Value, Value, Value),
}

/// The calls and results that a body has, message by message.
fn parts(format: Format, body: &Value) -> Vec<Vec<Part>> {
    let key = if format == Format::Gemini { "contents" } else { "messages" };
    let messages = body[key].as_array().unwrap().iter();
    messages.map(|message| parts_of(format, message)).filter(|parts| !parts.is_empty()).collect()
}

fn parts_of(format: Format, message: &Value) -> Vec<Part> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match format {
        Format::OpenAi | Format::Ollama => {
            let call = |call: &Value| {
                let arguments = &call["function"]["arguments"];
                let parsed =
                    arguments.as_str().map_or_else(|| arguments.clone(), |text| serde_json::from_str(text).unwrap());
                Part::Call(call["id"].clone(), call["function"]["name"].clone(), parsed)
            };
            let result = (message["role"] == "tool")
                .then(|| Part::Result(message["tool_call_id"].clone(), Value::Null, message["content"].clone()));
            list(&message["tool_calls"]).iter().map(call).chain(result).collect()
        }
        Format::Anthropic => list(&message["content"])
            .iter()
            .filter_map(|part| match part["type"].as_str()? {
                "tool_use" => Some(Part::Call(part["id"].clone(), part["name"].clone(), part["input"].clone())),
                "tool_result" => Some(Part::Result(part["tool_use_id"].clone(), Value::Null, part["content"].clone())),
                _ => None,
            })
            .collect(),
        Format::Bedrock => list(&message["content"])
            .iter()
            .filter_map(|part| {
                let (call, result) = (&part["toolUse"], &part["toolResult"]);
                if call.is_object() {
                    return Some(Part::Call(call["toolUseId"].clone(), call["name"].clone(), call["input"].clone()));
                }
                let content = result["content"][0]["text"].clone();
                result.is_object().then(|| Part::Result(result["toolUseId"].clone(), Value::Null, content))
            })
            .collect(),
        Format::Gemini => list(&message["parts"])
            .iter()
            .filter_map(|part| {
                let (call, result) = (&part["functionCall"], &part["functionResponse"]);
                if call.is_object() {
                    return Some(Part::Call(call["id"].clone(), call["name"].clone(), call["args"].clone()));
                }
                let content = result["response"]["content"].clone();
                result.is_object().then(|| Part::Result(result["id"].clone(), result["name"].clone(), content))
            })
            .collect(),
    }
}

fn arguments(answer: &Answer) -> Vec<(&str, Value)> {
    let parsed = |call: &ToolCall| serde_json::from_str(&call.arguments).unwrap();
    answer.tool_calls.iter().map(|call| (call.name.as_str(), parsed(call))).collect()
}

/// The conversation goes on: the calls, and an answer to each.
fn answered(request: &mut Request, answer: &Answer) {
    let Answer { text, tool_calls, .. } = answer.clone();
    request.turns.push(Turn::Assistant { text, tool_calls });
    for (number, call) in answer.tool_calls.iter().enumerate() {
        let content = format!("result {number}");
        request.turns.push(Turn::Tool { call_id: call.id.clone(), name: call.name.clone(), content });
    }
}

#[tokio::test]
async fn tools_are_offered_called_and_answered_in_every_format() {
    let server = server().await;
    let models = models(&server);
    for (vendor, format, ..) in VENDORS {
        let mut request = asking(&models, &format!("{}/fake", vendor.prefix()), SCRIPT);
        let first = models.call(&request).await.unwrap();
        let body = server.last(format).unwrap().body;
        let expected: Vec<_> =
            tools().into_iter().map(|tool| (json!(tool.name), json!(tool.description), tool.parameters)).collect();
        assert_eq!(offered(format, &body), expected, "{vendor:?}");
        assert_eq!((first.text.as_str(), first.finish), ("", Finish::ToolCalls), "{vendor:?}");
        assert_eq!(arguments(&first), [("add", json!({"a": 1})), ("add", json!({"a": 2}))], "{vendor:?}");

        answered(&mut request, &first);
        let second = models.call(&request).await.unwrap();
        assert_eq!(arguments(&second), [("now", json!({}))], "{vendor:?}");
        check_exchange(vendor, &parts(format, &server.last(format).unwrap().body), &first);

        answered(&mut request, &second);
        let last = models.call(&request).await.unwrap();
        assert!(last.tool_calls.is_empty() && last.finish == Finish::Stop, "{vendor:?}");
        assert!(last.text.starts_with("fake-"), "{vendor:?}");
        let ids: BTreeSet<&str> =
            first.tool_calls.iter().chain(&second.tool_calls).map(|call| call.id.as_str()).collect();
        assert_eq!(ids.len(), 3, "no id twice in a conversation: {vendor:?} {ids:?}");
    }
    assert_eq!((server.tool_calls_of("add"), server.tool_calls_of("now")), (14, 7));
}

/// Two calls and their results, each with the id of the call where the format has ids.
fn check_exchange(vendor: Vendor, sent: &[Vec<Part>], first: &Answer) {
    let sent_id = |number: usize| match (&sent[0][number], vendor) {
        // Mistral takes nine letters and digits, and this server's ids are longer.
        (Part::Call(id, ..), Vendor::Mistral) => {
            assert!(
                id.as_str().is_some_and(|id| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric())),
                "{id}"
            );
            id.clone()
        }
        (_, Vendor::Gemini | Vendor::Ollama) => Value::Null,
        _ => json!(first.tool_calls[number].id),
    };
    let ids = [sent_id(0), sent_id(1)];
    let calls = [1, 2].map(|n| Part::Call(ids[n - 1].clone(), json!("add"), json!({"a": n}))).to_vec();
    let name = if vendor == Vendor::Gemini { json!("add") } else { Value::Null };
    let results = [0, 1].map(|n| Part::Result(ids[n].clone(), name.clone(), json!(format!("result {n}")))).to_vec();
    let one_message = matches!(vendor, Vendor::Anthropic | Vendor::Bedrock | Vendor::Gemini);
    let expected = if one_message {
        vec![calls, results]
    } else {
        std::iter::once(calls).chain(results.into_iter().map(|result| vec![result])).collect()
    };
    assert_eq!(sent, expected, "{vendor:?}");
}

#[tokio::test]
async fn arguments_that_do_not_parse_arrive_as_they_were_written() {
    let server = server().await;
    let models = models(&server);
    for (vendor, format, ..) in VENDORS {
        let name = format!("{}/fake", vendor.prefix());
        let mut request = asking(&models, &name, "call add {\"a\": 1}\ncall add {\"a\": 1, ]\nthen\ncall now");
        let answer = models.call(&request).await.unwrap();
        let written: Vec<&str> = answer.tool_calls.iter().map(|call| call.arguments.as_str()).collect();
        assert_eq!(written.last(), Some(&"{\"a\": 1, ]"), "{vendor:?}");
        assert_eq!((written.len(), answer.finish), (2, Finish::ToolCalls), "{vendor:?}");
        assert!(answer.tokens.is_some_and(|tokens| tokens.output == 24), "{vendor:?}");
        if format == Format::OpenAi {
            assert_eq!(written[0], "{\"a\": 1}", "to the space: {vendor:?}");
        }
        // Vendors refuse arguments that are no object: it goes back within one.
        answered(&mut request, &answer);
        models.call(&request).await.unwrap();
        let sent = parts(format, &server.last(format).unwrap().body);
        let Part::Call(.., arguments) = &sent[0][1] else { panic!("{vendor:?}: {sent:?}") };
        assert_eq!(arguments, &json!({"unreadable_arguments": "{\"a\": 1, ]"}), "{vendor:?}");
    }
}

#[tokio::test]
async fn calls_are_told_whatever_reason_the_answer_gives() {
    let server = server().await;
    for (vendor, ..) in VENDORS {
        server.reset();
        let wrong = ask(&server, vendor, "-n", SCRIPT).await.unwrap();
        assert_eq!((wrong.tool_calls.len(), wrong.finish), (2, Finish::ToolCalls), "{vendor:?}");
        let cut = ask(&server, vendor, "-k1", SCRIPT).await.unwrap();
        assert_eq!((cut.tool_calls.len(), cut.finish), (2, Finish::Length), "{vendor:?}");
        assert_eq!(cut.tool_calls[1].arguments, "{\"a\"", "{vendor:?}");
        let cut = ask(&server, vendor, "-k1-n", SCRIPT).await.unwrap();
        assert_eq!((cut.tool_calls[1].arguments.as_str(), cut.finish), ("{\"a\"", Finish::ToolCalls), "{vendor:?}");
    }
}

#[tokio::test]
async fn another_vendors_ids_are_sent_in_a_form_that_this_one_takes() {
    let server = server().await;
    let models = models(&server);
    for (vendor, format, ..) in VENDORS {
        let mut request = asking(&models, &format!("{}/fake", vendor.prefix()), "hi");
        let call = ToolCall { id: "call#add#0".to_owned(), name: "add".to_owned(), arguments: "{}".to_owned() };
        let made =
            Answer { text: "Let me see.".to_owned(), tool_calls: vec![call], finish: Finish::ToolCalls, tokens: None };
        answered(&mut request, &made);
        models.call(&request).await.unwrap();
        let sent = parts(format, &server.last(format).unwrap().body);
        let (Part::Call(of_call, ..), Part::Result(of_result, ..)) = (&sent[0][0], &sent[1][0]) else {
            panic!("{sent:?}")
        };
        let strict = matches!(vendor, Vendor::Anthropic | Vendor::Bedrock | Vendor::Mistral);
        assert!(!strict || of_call.as_str().unwrap().bytes().all(|b| b.is_ascii_alphanumeric()), "{vendor:?}");
        assert!(of_call == of_result || vendor == Vendor::Ollama, "{vendor:?}: {of_call} {of_result}");
    }
}

fn with_image(models: &Models, vendor: Vendor, media_type: &str) -> Request {
    let image = Image { media_type: media_type.to_owned(), data: Bytes::from_static(b"\x89PNG") };
    let turn = Turn::User { text: "What is this?".to_owned(), images: vec![image] };
    Request { turns: vec![turn], ..request(models, &format!("{}/fake", vendor.prefix())) }
}

#[tokio::test]
async fn an_image_is_sent_in_every_format() {
    let server = server().await;
    let models = models(&server);
    for (vendor, format, ..) in VENDORS {
        models.call(&with_image(&models, vendor, "image/png")).await.unwrap();
        let body = server.last(format).unwrap().body;
        let (pointer, expected) = match format {
            Format::OpenAi => ("/messages/1/content/1/image_url/url", json!("data:image/png;base64,iVBORw==")),
            Format::Anthropic => (
                "/messages/0/content/1/source",
                json!({"type": "base64", "media_type": "image/png", "data": "iVBORw=="}),
            ),
            Format::Gemini => {
                ("/contents/0/parts/1/inline_data", json!({"mime_type": "image/png", "data": "iVBORw=="}))
            }
            Format::Bedrock => {
                ("/messages/0/content/1/image", json!({"format": "png", "source": {"bytes": "iVBORw=="}}))
            }
            Format::Ollama => ("/messages/1/images/0", json!("iVBORw==")),
        };
        assert_eq!(body.pointer(pointer), Some(&expected), "{vendor:?}: {body}");
        assert!(body.to_string().contains("What is this?"), "{vendor:?}");
    }
}

#[tokio::test]
async fn an_image_that_not_every_vendor_takes_is_refused_before_it_is_sent() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        let fault = models.call(&with_image(&models, vendor, "image/tiff")).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Refused, "{vendor:?}");
    }
    assert_eq!(server.stats().calls, 0);
}

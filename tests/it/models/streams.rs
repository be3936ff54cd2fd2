//! Streams: they make the same answers, and what breaks them is told.

use std::sync::{Arc, Mutex};

use model_server::Server;
use shared::{
    clock::Timestamp,
    id::OrgId,
    model::{
        Answer, Deltas, FaultKind, Finish, ModelFault, Request, ToolCall, Turn, catalogue::Models, retry::Next,
        settings::Vendor,
    },
};

use super::{VENDORS, models, request, server, tools};

/// The answer to the same request in one piece and in several, and these.
async fn both(models: &Models, request: Request) -> (Answer, Answer, Vec<String>) {
    let whole = models.call(&request).await.unwrap();
    let (streamed, heard) = streamed(models, request).await;
    (whole, streamed.unwrap(), heard)
}

async fn streamed(models: &Models, mut request: Request) -> (Result<Answer, ModelFault>, Vec<String>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let writer = Arc::clone(&heard);
    request.deltas = Some(Deltas::new(move |text| writer.lock().unwrap().push(text.to_owned())));
    let answer = models.call(&request).await;
    let heard = heard.lock().unwrap().clone();
    (answer, heard)
}

fn saying(models: &Models, vendor: Vendor, parts: &str) -> Request {
    let turns = vec![Turn::user("say one two three four five six seven eight, nine ten élève 🙂 twelve")];
    Request { turns, ..request(models, &format!("{}/fake-o9-h7{parts}", vendor.prefix())) }
}

/// Names and arguments; ids come from the request, and one that is streamed is another.
fn calls(answer: &Answer) -> Vec<(&str, serde_json::Value)> {
    let call =
        |call: &ToolCall| serde_json::from_str(&call.arguments).unwrap_or_else(|_| call.arguments.clone().into());
    answer.tool_calls.iter().map(|of| (of.name.as_str(), call(of))).collect()
}

#[tokio::test]
async fn a_streamed_answer_is_the_one_that_comes_whole() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        let (whole, streamed, heard) = both(&models, saying(&models, vendor, "")).await;
        assert_eq!((&streamed.text, streamed.finish), (&whole.text, whole.finish), "{vendor:?}");
        assert_eq!(heard.concat(), whole.text, "{vendor:?}");
        assert!(heard.len() >= 5, "{vendor:?}: {heard:?}");
        let (of_whole, of_stream) = (whole.tokens.unwrap(), streamed.tokens.unwrap());
        assert_eq!(of_stream.output, of_whole.output, "{vendor:?}");
        assert_eq!(of_stream.cached_input, of_whole.cached_input, "{vendor:?}");
        assert!(of_stream.input.abs_diff(of_whole.input) < 20, "{vendor:?}: {of_stream:?} {of_whole:?}");
        let cut = Request { max_tokens: 3, ..saying(&models, vendor, "") };
        assert_eq!(both(&models, cut).await.1.finish, Finish::Length, "{vendor:?}");
    }
    assert_eq!(server.stats().streams, 14);
}

#[tokio::test]
async fn streamed_calls_are_the_ones_that_come_whole() {
    let server = server().await;
    let models = models(&server);
    let broken = "call add {\"a\": 1, \"ü\": [2]}\ncall add {\"a\": 1, ]\ncall now";
    for (vendor, ..) in VENDORS {
        server.reset();
        for (parts, prompt, count) in [("", tools::SCRIPT, 2), ("", broken, 3), ("-n", broken, 3), ("-k1", broken, 3)] {
            let name = format!("{}/fake{parts}", vendor.prefix());
            let (whole, streamed, heard) = both(&models, tools::asking(&models, &name, prompt)).await;
            assert_eq!(calls(&streamed), calls(&whole), "{vendor:?} {parts}");
            assert_eq!((streamed.tool_calls.len(), streamed.finish), (count, whole.finish), "{vendor:?} {parts}");
            assert!(streamed.text.is_empty() && heard.is_empty(), "{vendor:?} {parts}");
            let mut ids: Vec<&str> = streamed.tool_calls.iter().map(|call| call.id.as_str()).collect();
            ids.dedup();
            assert_eq!(ids.len(), count, "{vendor:?}: {ids:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_lost_and_the_next_attempt_succeeds() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        for (parts, kind) in [
            ("-s1", FaultKind::Lost),
            ("-z1", FaultKind::Lost),
            ("-m1", FaultKind::Incomprehensible),
            ("-v1", FaultKind::Lost),
            ("-r1", FaultKind::Lost),
            ("-g1", FaultKind::Incomprehensible),
        ] {
            server.reset();
            let (broken, heard) = streamed(&models, saying(&models, vendor, parts)).await;
            let fault = broken.expect_err(&format!("{vendor:?} {parts}"));
            // Bedrock's framing tells an unreadable stream and one that ends in an error by the same error.
            let kinds = if vendor == Vendor::Bedrock { &[kind, FaultKind::Lost][..] } else { &[kind][..] };
            assert!(kinds.contains(&fault.kind) && fault.status.is_none(), "{vendor:?} {parts}: {fault:?}");
            assert_eq!(heard.is_empty(), matches!(parts, "-r1" | "-g1"), "{vendor:?} {parts}");
            let again = streamed(&models, saying(&models, vendor, parts)).await.0;
            assert!(again.is_ok(), "{vendor:?} {parts}");
            assert_eq!(server.stats().calls, 2, "{vendor:?} {parts}");
        }
    }
}

#[tokio::test]
async fn a_call_within_a_stream_that_breaks_is_never_told() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        server.reset();
        for parts in ["-s1", "-z1"] {
            let name = format!("{}/fake{parts}", vendor.prefix());
            let answer = streamed(&models, tools::asking(&models, &name, "call add {\"a\": 1}\ncall now")).await.0;
            assert_eq!(answer.unwrap_err().kind, FaultKind::Lost, "{vendor:?} {parts}");
        }
    }
}

#[tokio::test]
async fn a_refused_stream_is_the_fault_that_its_status_says() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        for (parts, kind, status) in [
            ("-e9-x500", FaultKind::Busy, 500),
            ("-e9-x429-a2", FaultKind::RateLimited, 429),
            ("-e9-x401", FaultKind::Refused, 401),
        ] {
            let fault = streamed(&models, saying(&models, vendor, parts)).await.0.unwrap_err();
            assert_eq!((fault.kind, fault.status), (kind, Some(status)), "{vendor:?} {parts}");
            assert_eq!(fault.retry_after_ms, parts.contains("a2").then_some(2_000), "{vendor:?} {parts}");
            assert_eq!(fault.message, format!("HTTP {status}: injected failure"), "{vendor:?}");
        }
    }
    assert_eq!(server.stats().streams, 0);
}

#[tokio::test]
async fn a_stream_that_stands_still_ends_at_the_calls_timeout() {
    let server = server().await;
    let models = models(&server);
    for (vendor, ..) in VENDORS {
        server.reset();
        let request = Request { timeout_ms: 150, ..saying(&models, vendor, "-i1") };
        let (answer, heard) = streamed(&models, request).await;
        let fault = answer.unwrap_err();
        assert_eq!((fault.kind, heard.is_empty()), (FaultKind::Lost, false), "{vendor:?}");
        assert!(fault.message.contains("within 150 ms"), "{vendor:?}: {fault}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_busy_for_a_stream_too() {
    let server = server().await;
    let models = models(&server);
    drop::<Server>(server);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    for (vendor, ..) in VENDORS {
        let fault = streamed(&models, saying(&models, vendor, "")).await.0.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Busy, "{vendor:?}: {fault:?}");
    }
}

#[tokio::test]
async fn neither_key_nor_address_is_in_a_streams_fault() {
    let server = server().await;
    let host = server.addr().to_string();
    let models = super::models_at(&format!("http://canary-user:canary-word@{host}"));
    for parts in ["-e9-x401", "-s9", "-z9", "-m9", "-v9", "-r9"] {
        for (vendor, ..) in VENDORS {
            let fault = streamed(&models, saying(&models, vendor, parts)).await.0.unwrap_err();
            let shown = format!("{fault} {fault:?}");
            assert!(!shown.contains("canary") && !shown.contains(&host), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_model_that_keeps_failing_is_left_alone() {
    let server = server().await;
    let models = models(&server);
    let org = OrgId::new(Timestamp::from_millis(0));
    let failing = |name: &str| Request { turns: vec![Turn::user("hi")], ..request(&models, name) };
    let open = failing("openai/fake-e999-x503");
    for _ in 0..20 {
        assert_eq!(models.held_back_ms(org, &open.model), None);
        assert_eq!(models.call(&open).await.unwrap_err().kind, FaultKind::Busy);
    }
    let fault = models.call(&open).await.unwrap_err();
    assert_eq!((fault.kind, server.stats().calls), (FaultKind::CircuitOpen, 20));
    let wait_ms = fault.retry_after_ms.unwrap();
    assert!((9_000..=10_000).contains(&wait_ms));
    assert_eq!(models.next(org, &open.model, 9, &fault, 0.0, u64::MAX), Next::Yield(wait_ms));
    assert!(models.held_back_ms(org, &open.model).is_some());
    assert!(models.call(&failing("openai/fake")).await.is_ok(), "another model");
    let same = failing("mistral/fake-e999-x503");
    assert_eq!(models.call(&same).await.unwrap_err().kind, FaultKind::Busy, "another vendor");
    for _ in 0..30 {
        assert_eq!(models.call(&failing("openai/fake-e999-x429")).await.unwrap_err().kind, FaultKind::RateLimited);
    }
    assert_eq!(models.held_back_ms(org, &failing("openai/fake-e999-x429").model), None, "a limit is no failing");
}

//! What holds for every path of every surface: unknown paths, wrong methods, bad bodies, errors.

mod odd;

use std::convert::Infallible;

use bytes::Bytes;
use functions::{BODY_LIMIT_BYTES, Envelope, Response, Routes, Surface};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shared::{Error, Scope, error::Problem};

use crate::harness::Muster;

fn request(method: &str, path: &str, body: impl Into<Bytes>) -> http::Request<Bytes> {
    let builder = http::Request::builder().method(method).uri(path).header("x-request-id", "test-1");
    builder.body(body.into()).unwrap()
}

async fn read(response: Response) -> (u16, http::HeaderMap, Value) {
    let (parts, body) = response.into_parts();
    let Ok::<_, Infallible>(body) = body.collect().await;
    let bytes = body.to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    (parts.status.as_u16(), parts.headers, body)
}

pub(crate) async fn ask(method: &str, path: &str) -> (u16, http::HeaderMap, Value) {
    let muster = Muster::on_sqlite().await;
    read(functions::handle(&muster.app, request(method, path, "")).await).await
}

#[tokio::test]
async fn an_unknown_path_is_answered_in_its_surfaces_body() {
    let message = "path not found";
    for (path, expected) in [
        (
            "/v1/nothing",
            json!({"error": {"type": "not_found", "code": "not_found", "message": message, "retryable": false}, "request_id": "test-1"}),
        ),
        ("/api/v1/resource/nothing", json!({"success": false, "errorType": "NotFound", "message": message})),
        ("/api/nothing", json!({"error": message})),
        ("/api/v1/nothing", json!({"error": {"code": "NOT_FOUND", "message": message}})),
    ] {
        let (status, headers, body) = ask("GET", path).await;
        assert_eq!((status, body), (404, expected), "{path}");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-request-id"], "test-1");
    }
    for path in ["/", "/nothing", "/health/", "/openapi.json/", "/%6fpenapi.json"] {
        assert_eq!(ask("GET", path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_refused_with_the_right_ones() {
    for method in ["POST", "DELETE", "HEAD", "BREW"] {
        let (status, headers, body) = ask(method, "/api/v1/health").await;
        assert_eq!((status, headers["allow"].to_str().unwrap()), (405, "GET"), "{method}");
        assert_eq!(body["error"]["code"], "INVALID_REQUEST");
    }
    let (status, _, body) = ask("PUT", "/openapi.json").await;
    assert_eq!((status, &body["error"]["code"]), (405, &json!("method_not_allowed")));
}

#[tokio::test]
async fn the_service_says_that_it_is_up() {
    for path in ["/health", "/api/v1/health"] {
        let (status, _, body) = ask("GET", path).await;
        assert_eq!((status, &body["status"]), (200, &json!("healthy")));
        assert!(body["version"].is_string());
    }
}

#[tokio::test]
async fn a_bad_body_is_refused_with_its_field() {
    for (body, param) in [
        ("", Value::Null),
        ("{", Value::Null),
        ("[]", Value::Null),
        ("{}", json!("text")),
        (r#"{"text": 1}"#, json!("text")),
        (r#"{"text": "a", "colour": 1}"#, json!("colour")),
        (r#"{"text": "a", "text": "b"}"#, json!("text")),
        (r#"{"text": "a", "items": [{"count": 1}, {"count": "x"}]}"#, json!("items[1].count")),
        (r#"{"text": "a", "items": [{"count": 1, "colour": 1}]}"#, json!("items[0].colour")),
    ] {
        let (status, _, answer) = odd::ask(request("POST", "/v1/notes", body)).await;
        assert_eq!((status, answer["error"].get("param").cloned().unwrap_or_default()), (400, param), "{body}");
        assert_eq!(answer["error"]["code"], "invalid_input", "{body}");
    }
    assert_eq!(odd::ask(request("POST", "/v1/notes", r#"{"text": "a"}"#)).await.0, 200);
}

#[tokio::test]
async fn a_body_of_more_than_6_mib_is_refused() {
    let note = |bytes: usize| Bytes::from(format!(r#"{{"text":"{}"}}"#, "a".repeat(bytes - r#"{"text":""}"#.len())));
    assert_eq!(odd::ask(request("POST", "/v1/notes", note(BODY_LIMIT_BYTES))).await.0, 200);
    let (status, _, body) = odd::ask(request("POST", "/v1/notes", note(BODY_LIMIT_BYTES + 1))).await;
    assert_eq!((status, &body["error"]["code"]), (413, &json!("too_large")));
}

#[tokio::test]
async fn a_panic_is_an_internal_error_that_says_nothing() {
    let (status, _, body) = odd::ask(request("GET", "/v1/panic", "")).await;
    assert_eq!((status, &body["error"]["message"]), (500, &json!("internal error")));
    assert!(!body.to_string().contains("secret"));
}

#[tokio::test]
async fn the_headers_that_mean_something_are_read_or_refused() {
    let with = |name: &str, value: &str| {
        let mut request = request("POST", "/v1/notes", r#"{"text": "a"}"#);
        request.headers_mut().insert(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        odd::ask(request)
    };
    assert_eq!(with("idempotency-key", "order 7").await.2["idempotency_key"], "order 7");
    for bad in ["", &"k".repeat(256), "tab\there"] {
        let (status, _, body) = with("idempotency-key", bad).await;
        assert_eq!((status, &body["error"]["param"]), (400, &json!("Idempotency-Key")), "{bad}");
    }
    assert_eq!(with("authorization", "bearer ag_x").await.2["key"], "ag_x");
    assert_eq!(with("authorization", "Basic ag_x").await.2["key"], Value::Null);
    assert_eq!(with("x-request-id", "My-id_7").await.1["x-request-id"], "My-id_7");
    for bad in ["", "two words", &"r".repeat(129)] {
        let made: uuid::Uuid = with("x-request-id", bad).await.1["x-request-id"].to_str().unwrap().parse().unwrap();
        assert_eq!(made.get_version_num(), 7);
    }
}

#[tokio::test]
async fn an_id_is_read_as_its_surface_writes_it() {
    let plain = "019a2b3c-4d5e-7f60-8123-456789abcdef";
    let prefixed = format!("agent_{plain}");
    for (path, status) in [
        (format!("/v1/agents/{prefixed}"), 200),
        (format!("/v1/agents/{plain}"), 404),
        (format!("/v1/agents/run_{plain}"), 404),
        ("/v1/agents/1".to_owned(), 404),
        ("/v1/agents/%ff".to_owned(), 404),
    ] {
        let (found, _, body) = odd::ask(request("GET", &path, "")).await;
        assert_eq!(found, status, "{path}");
        assert!(found == 200 || body["error"]["code"] == "not_found", "{path}: {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_late_is_kept_alive_with_spaces() {
    let muster = Muster::on_sqlite().await;
    let response = Routes::new(&odd::ROUTES).handle(&muster.app, request("GET", "/v1/late", "")).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let Ok::<_, Infallible>(body) = response.into_body().collect().await;
    assert_eq!(body.to_bytes(), "    7", "one at once, and after 15, 30 and 45 seconds more");
    let (status, _, body) = odd::ask(request("GET", "/v1/late-error", "")).await;
    assert_eq!((status, &body["error"]["code"]), (200, &json!("conflict")));
}

#[test]
fn every_error_looks_as_its_surface_says() {
    let fault = || Box::<dyn std::error::Error + Send + Sync>::from("secret");
    let problems =
        ["items[3].message", "mode"].map(|field| Problem { field: field.to_owned(), message: "is bad".to_owned() });
    let known = vec!["demo/scripted".to_owned()];
    let model = Error::UnknownModel { field: "model".to_owned(), name: "acme/x".to_owned(), known, variable: None };
    let forbidden = Error::Forbidden { message: "no".to_owned(), missing: vec![Scope::RunsWrite] };
    let limited = Error::RateLimited {
        limit: "100 requests per minute".to_owned(),
        requests_per_minute: Some(100),
        retry_after_ms: 1_500,
    };
    let errors = [
        Error::Invalid(problems.to_vec()),
        model,
        Error::Unauthorized,
        forbidden,
        Error::NotFound("agent"),
        Error::MethodNotAllowed { allowed: "GET, POST".to_owned() },
        Error::Conflict("it has ended".to_owned()),
        Error::IdempotencyMismatch,
        Error::TooLarge { limit_bytes: 5 },
        limited,
        Error::Unavailable(fault()),
        Error::Internal(fault()),
    ];
    let mut seen = String::new();
    for error in &errors {
        for surface in Surface::ALL {
            let envelope = Envelope::new(surface, "r".to_owned());
            let response = envelope.refuse(error);
            let headers = ["allow", "retry-after", "www-authenticate"];
            let headers = headers.iter().filter_map(|name| response.headers().get(*name)?.to_str().ok());
            let headers: String = headers.map(|value| format!(" [{value}]")).collect();
            let body = String::from_utf8(surface.body(error, "r").to_vec()).unwrap();
            seen.push_str(&format!("{} {}{headers} {body}\n", surface.name(), response.status().as_u16()));
        }
    }
    assert!(!seen.contains("secret"));
    assert_eq!(seen, include_str!("http/errors.txt"), "\n{seen}");
}

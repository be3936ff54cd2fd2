//! What the service says of itself: models, limits, health; and what every answer has.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    the_models_that_can_be_called_are_listed_with_prices,
    the_limits_that_hold_are_told,
    health_and_the_document_need_no_key,
    an_answer_bears_the_id_of_its_request,
    every_call_but_the_open_ones_needs_a_key,
);

async fn the_models_that_can_be_called_are_listed_with_prices(muster: Muster) {
    let models = muster.us.get("/v1/models").await.ok();
    let named = |name: &str| models["data"].as_array().unwrap().iter().find(|model| model["name"] == name).cloned();
    assert_eq!(
        named("demo/scripted"),
        Some(json!({
            "name": "demo/scripted", "provider": "demo", "aliases": ["scripted"],
            "price": {
                "input_micro_usd_per_million": 250_000, "cached_input_micro_usd_per_million": 25_000,
                "output_micro_usd_per_million": 2_000_000,
            },
        }))
    );
    assert_eq!(named("anthropic/claude-haiku-4-5"), None, "there is no key for it");
}

async fn the_limits_that_hold_are_told(muster: Muster) {
    let mut expected = json!({
        "requests_per_minute": 6_000, "in_flight": 200, "body_bytes": 6_291_456, "message_bytes": 4_194_304,
        "batch_items_inline": 1_000, "batch_items": 10_000, "page_entries": 100, "run_ms": "<ms>", "chat_runs": 200, "files": 10_000, "files_bytes": 10_737_418_240_u64,
        "budgets": [],
    });
    assert_eq!(muster.us.get("/v1/limits").await.shape(200), expected);
    let limited = json!({"requests_per_minute": 0, "in_flight": 7, "month_budget_micro_usd": 9});
    let key = muster.us.new_key(limited).await;
    expected["requests_per_minute"] = json!(0);
    expected["in_flight"] = json!(7);
    let month = muster.app.now().month();
    expected["budgets"] =
        json!([{"budget": "key month", "limit_micro_usd": 9, "committed_micro_usd": 0, "period": month}]);
    assert_eq!(key.get("/v1/limits").await.shape(200), expected);
}

async fn health_and_the_document_need_no_key(muster: Muster) {
    let nobody = muster.us.with("authorization", "none");
    assert_eq!(nobody.get("/health").await.ok()["status"], "healthy");
    assert_eq!(nobody.get("/openapi.json").await.ok()["openapi"], "3.1.0");
}

async fn an_answer_bears_the_id_of_its_request(muster: Muster) {
    let us = muster.us.with("x-request-id", "order-7");
    let answer = us.get("/v1/runs/1").await;
    assert_eq!(answer.header("x-request-id"), "order-7");
    assert_eq!(text(&answer.body, "request_id"), "order-7");
    let made = muster.us.get("/v1/runs/1").await;
    assert_eq!(made.header("x-request-id"), text(&made.body, "request_id"));
}

async fn every_call_but_the_open_ones_needs_a_key(muster: Muster) {
    let nobody = muster.us.with("authorization", "none");
    for route in functions::Route::all() {
        let path = route.path.replace(['{', '}'], "");
        let query = if route.name == "upload_file" { "?token=none" } else { "" };
        let answer = nobody.send(route.method.as_str(), &format!("{path}{query}"), "{}").await;
        let expected = match (route.operation.needs_key(), route.name) {
            (true, _) => 401,
            // Whoever has a file's address may upload it, and this is none.
            (false, "upload_file") => 404,
            // An event proves itself, and this does not.
            (false, "receive_hook" | "cotool_run_trigger") => 401,
            (false, _) => 200,
        };
        assert_eq!(answer.code, expected, "{}", route.name);
        assert_ne!(answer.body, Value::Null, "{}", route.name);
    }
}

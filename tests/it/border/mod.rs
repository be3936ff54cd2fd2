//! What holds at the border for every call that the OpenAPI document names, and so for new ones by themselves: whose things a call reaches,
//! and with which keys. A call whose smallest valid request cannot be made by rule has it in [`bodies`]. One with ids under a name that is
//! not known fails until `things.rs` says what they are of, and one that `scopes.rs` does not name fails, too.

mod calls;
mod keys;
mod scopes;
mod tenants;
mod things;

use serde_json::{Value, json};

use self::things::Kind;

/// Bodies that say what their schemas do not: that one of several fields must be given, or what a text must be.
fn bodies(call: &str) -> Value {
    match call {
        "create_run" | "stream_run" => json!({"message": "hello"}),
        "create_batch" => json!({"items": [{"message": "hello"}]}),
        "create_file" => json!({"media_type": "text/plain", "data": "aGVsbG8="}),
        "add_test_cases" => {
            json!({"items": [{"message": "hello", "validations": [{"exact": {"expected": "x"}}]}]})
        }
        "create_webhook" => json!({"url": "https://hooks.example.com/", "events": ["run.done"]}),
        "redeliver_webhook" => json!({"since": "2026-01-01T00:00:00Z"}),
        "create_trigger" => json!({"rows": "body.l", "message": "x"}),
        "update_trigger" => json!({"rows": "body.l"}),
        "create_schedule" => json!({"file_id": Kind::File.token()}),
        "decide_run_approval" => json!({"approval_id": "appr_019a2b3c-4d5e-7f60-8123-456789abcdef"}),
        _ => Value::Null,
    }
}

/// What a body needs besides, for an id in that place.
fn besides(call: &str, place: &str) -> Value {
    match (call, place) {
        ("create_trigger", "body.from.agent_id") => json!({"source": "run"}),
        _ => Value::Null,
    }
}

//! Which scope opens which call: the whole table, and each call tried with a key of each scope alone.

use functions::Surface;
use serde_json::json;
use shared::Scope;

use super::{
    calls::{self, Call, Request},
    things::Things,
};
use crate::harness::{Answer, Muster, on_every_backend};

on_every_backend!(a_scope_opens_what_the_table_says_and_nothing_else);

/// The calls that each scope opens by itself; `any` are open to every key. A call that is in no row, or in two, fails the test.
const TABLE: &[(&str, &[&str])] = &[
    ("any", &["get_limits", "list_models"]),
    (
        "agents:read",
        &[
            "list_agents",
            "get_agent",
            "list_agent_versions",
            "cotool_list_agents",
            "cotool_get_agent",
            "cotool_list_agent_versions",
            "cotool_list_system_prompts",
            "coagent_list_agents",
            "coagent_get_agent",
            "coagent_list_providers",
            "coagent_get_provider",
            "coagent_list_provider_models",
        ],
    ),
    (
        "agents:write",
        &[
            "create_agent",
            "update_agent",
            "update_agents",
            "delete_agent",
            "restore_agent_version",
            "cotera_update_agent",
            "cotool_create_agent",
            "cotool_update_agent",
            "cotool_update_agents",
            "cotool_copy_agent",
            "cotool_create_system_prompt",
            "coagent_create_agent",
        ],
    ),
    (
        "runs:read",
        &[
            "list_runs",
            "get_run",
            "list_run_messages",
            "list_run_events",
            "list_run_approvals",
            "explain_run",
            "list_batches",
            "get_batch",
            "list_batch_results",
            "list_files",
            "get_file",
            "get_file_content",
            "list_test_sets",
            "get_test_set",
            "list_test_cases",
            "list_evaluations",
            "get_evaluation",
            "list_evaluation_results",
            "list_webhooks",
            "get_webhook",
            "list_webhook_deliveries",
            "list_schedules",
            "get_schedule",
            "list_next_times",
            "list_firings",
            "list_triggers",
            "get_trigger",
            "list_trigger_events",
            "test_trigger",
            "cotool_list_triggers",
            "cotool_get_trigger_fields",
            "get_budgets",
            "list_usage",
            "cotera_get_chat_status",
            "cotera_list_chat_messages",
            "cotera_list_chats",
            "cotool_get_run",
            "cotool_get_run_status",
            "cotool_get_run_result",
            "cotool_list_agent_runs",
            "cotool_list_agent_chats",
            "cotool_list_chats",
            "cotool_get_chat_history",
            "cotool_get_chat_meta",
            "coagent_get_logs",
            "coagent_list_sessions",
            "coagent_filter_logs",
            "coagent_list_testsets",
            "coagent_get_testset",
            "coagent_get_testset_run",
        ],
    ),
    (
        "runs:write",
        &[
            "create_trigger",
            "update_trigger",
            "delete_trigger",
            "rotate_trigger_secret",
            "cotool_save_trigger",
            "cotool_update_trigger",
            "cotool_set_trigger_status",
            "create_run",
            "stream_run",
            "cancel_run",
            "decide_run_approval",
            "create_batch",
            "cancel_batch",
            "retry_batch",
            "create_file",
            "delete_file",
            "create_test_set",
            "delete_test_set",
            "add_test_cases",
            "create_evaluation",
            "cancel_evaluation",
            "create_webhook",
            "update_webhook",
            "delete_webhook",
            "rotate_webhook_secret",
            "redeliver_webhook",
            "test_webhook",
            "create_schedule",
            "update_schedule",
            "delete_schedule",
            "run_schedule",
            "cotera_chat",
            "cotera_chat_batch",
            "cotool_run_sync",
            "cotool_run_async",
            "cotool_interrupt_chat",
            "cotool_give_feedback",
            "coagent_record_logs",
            "coagent_complete",
            "coagent_create_testset",
            "coagent_create_testset_run",
        ],
    ),
    ("keys:manage", &["create_key", "list_keys", "revoke_key", "rotate_key", "put_budgets"]),
    (
        "secrets:write",
        &[
            "put_secret",
            "list_secrets",
            "delete_secret",
            "coagent_create_provider",
            "coagent_update_provider",
            "coagent_delete_provider",
        ],
    ),
];

/// What Cotool calls the permission that a key without this scope lacks.
const PERMISSIONS: [(&str, &str); 6] = [
    ("agents:read", "agent.read"),
    ("agents:write", "agent.create"),
    ("runs:read", "agent.read"),
    ("runs:write", "agent.execute"),
    ("keys:manage", "setting.perms.manage"),
    ("secrets:write", "tool.manage"),
];

/// The scope that the call asks for, as the table says.
fn needed(call: &Call) -> &'static str {
    let rows: Vec<&str> =
        TABLE.iter().filter(|(_, calls)| calls.contains(&call.name)).map(|(scope, _)| *scope).collect();
    assert_eq!(rows.len(), 1, "in how many rows is {}? {rows:?}", call.name);
    rows[0]
}

/// Whether a refused key is told which scope it lacks, in the surface's own words.
fn tells(call: &Call, answer: &Answer, scope: &str) -> bool {
    let body = &answer.body;
    match call.surface {
        Surface::Native => body["error"]["details"]["missing_scopes"] == json!([scope]),
        Surface::Cotera => body["info"]["missingScopes"] == json!([scope]),
        Surface::Cotool => {
            PERMISSIONS.iter().any(|(name, perm)| *name == scope && body["missingPerms"] == json!([perm]))
        }
        Surface::Coagent => body["error"]["code"] == "FORBIDDEN",
    }
}

/// A request for it with something wrong in its body, and in its query if it takes one.
fn malformed(call: &Call) -> Request {
    let request = call.request();
    if call.takes_query() { request.with_other_query().with_bad_body() } else { request.with_bad_body() }
}

async fn a_scope_opens_what_the_table_says_and_nothing_else(muster: Muster) {
    let things = Things::made(&muster.us, "OURS").await;
    let mut all = calls::with_key();
    for name in TABLE.iter().flat_map(|(_, calls)| *calls) {
        assert!(all.iter().any(|call| call.name == *name), "there is no call {name}");
    }
    // Those that take something away come last.
    all.sort_by_key(|call| call.method == "DELETE");
    let mut keys = Vec::new();
    for scope in Scope::ALL {
        keys.push((scope.name(), muster.us.new_key(json!({"scopes": [scope.name()], "requests_per_minute": 0})).await));
    }
    let mut wrong = Vec::new();
    for open in [false, true] {
        for call in &all {
            let needed = needed(call);
            for (scope, client) in keys.iter().filter(|(scope, _)| (needed == "any" || needed == *scope) == open) {
                let answer = call.request().send(client, &things, "").await;
                let as_expected = if open {
                    ![401, 403].contains(&answer.code)
                } else {
                    answer.code == 403 && tells(call, &answer, needed)
                };
                if !as_expected {
                    wrong.push(format!("{} with {scope} alone: {} {:.200}", call.name, answer.code, answer.text));
                }
                // What is wrong with a request is told only to who may make it.
                let told = !open
                    && call.surface == Surface::Cotool
                    && malformed(call).send(client, &things, "").await.code != 403;
                if told {
                    wrong.push(format!("{} malformed, with {scope} alone, is not refused for that", call.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

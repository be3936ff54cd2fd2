//! What was used, added up: the same as what the runs say, whichever way it is told apart.

use serde_json::{Value, json};

use crate::{
    harness::{Muster, on_every_backend, text},
    reaper::{HOUR_MS, LEASE_AND_MORE_MS},
};

on_every_backend!(
    usage_is_what_the_runs_say,
    usage_is_told_apart_and_paged,
    usage_is_kept_by_the_day_on_which_calls_began,
    usage_is_the_organisations_own,
    what_is_no_usage_is_refused_with_its_field,
);

async fn entries(muster: &Muster, query: &str) -> Vec<Value> {
    muster.us.get(&format!("/v1/usage{query}")).await.ok()["data"].as_array().unwrap().clone()
}

fn sum(bodies: &[Value], field: &str) -> u64 {
    bodies.iter().map(|body| body[field].as_u64().unwrap_or_else(|| panic!("{field} of {body}"))).sum()
}

/// Answered, failed, cut off, without a price, in a batch.
async fn mixed(muster: &Muster) -> Vec<String> {
    let mut agents = Vec::new();
    for model in ["openai/fake", "openai/fake-e1", "openai/fake-l20-r1", "openai/fake-l1"] {
        let agent = muster.us.agent(model).await;
        for n in 0..3 {
            muster.us.run(&agent, &format!("{model} {n}")).await;
        }
        agents.push(agent);
    }
    let items: Vec<Value> = (0..20).map(|n| json!({"message": n.to_string()})).collect();
    muster.us.post(&format!("/v1/agents/{}/batches", agents[0]), json!({"items": items})).await.status(202);
    muster.drain().await;
    agents
}

async fn usage_is_what_the_runs_say(muster: Muster) {
    mixed(&muster).await;
    let runs = muster.us.get("/v1/runs?limit=100").await.ok()["data"].as_array().unwrap().clone();
    assert!(runs.len() == 32 && runs.iter().all(|run| run["status"] == "done"));
    let of_runs: Vec<Value> = runs.iter().map(|run| run["usage"].clone()).collect();
    let used = entries(&muster, "?group_by=model").await;
    for field in ["model_calls", "input_tokens", "output_tokens", "cached_input_tokens"] {
        assert_eq!(sum(&used, field), sum(&of_runs, field), "{field}");
    }
    assert_eq!(sum(&used, "model_calls"), 38, "every attempt counts");
    let priced: Vec<Value> = runs.iter().filter(|run| !run["cost_micro_usd"].is_null()).cloned().collect();
    assert_eq!(sum(&used, "priced_micro_usd"), sum(&priced, "cost_micro_usd"));
    let unpriced = used.iter().find(|entry| entry["model"] == "openai/fake-l1").unwrap();
    assert_eq!(json!([unpriced["cost_micro_usd"], unpriced["unpriced_calls"]]), json!([null, 3]));
}

async fn usage_is_told_apart_and_paged(muster: Muster) {
    let agents = mixed(&muster).await;
    let by_agent = entries(&muster, "?group_by=agent,model").await;
    assert_eq!(by_agent.len(), 4);
    for agent in &agents {
        assert_eq!(by_agent.iter().filter(|entry| entry["agent_id"] == *agent).count(), 1);
    }
    assert!(by_agent.iter().all(|entry| entry["day"].is_null() && entry["key_id"].is_null()));
    let by_key = entries(&muster, "?group_by=key").await;
    let own = text(&muster.us.get("/v1/keys").await.ok()["data"][0], "id");
    assert_eq!((by_key.len(), text(&by_key[0], "key_id")), (1, own));
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = muster.us.get(&format!("/v1/usage?group_by=agent,model&limit=3{after}")).await.ok();
        paged.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => after = format!("&after={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, by_agent);
    let other = muster.us.get(&format!("/v1/usage?group_by=key{after}")).await;
    assert_eq!(other.param(), "after", "a cursor of another list");
}

async fn usage_is_kept_by_the_day_on_which_calls_began(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let day = |at: &str| at[..10].to_owned();
    let first = day(&muster.in_ms(0));
    muster.us.run(&agent, "one").await;
    muster.drain().await;
    muster.pass(40 * 24 * HOUR_MS);
    let last = day(&muster.in_ms(0));
    muster.us.run(&agent, "two").await;
    muster.us.run(&agent, "three").await;
    muster.drain().await;
    let days = |entries: &[Value]| entries.iter().map(|entry| json!([entry["day"], entry["model_calls"]])).collect();
    let all: Value = days(&entries(&muster, &format!("?from={first}")).await);
    assert_eq!(all, json!([[first, 1], [last, 2]]));
    let recent: Value = days(&entries(&muster, "").await);
    assert_eq!(recent, json!([[last, 2]]));
    let old: Value = days(&entries(&muster, &format!("?from={first}&to={first}")).await);
    assert_eq!(old, json!([[first, 1]]));
    muster.pass(LEASE_AND_MORE_MS);
}

async fn usage_is_the_organisations_own(muster: Muster) {
    mixed(&muster).await;
    let theirs = muster.them.get("/v1/usage").await.ok();
    assert_eq!(theirs, json!({"data": [], "has_more": false, "next_cursor": null}));
    let writer = muster.us.new_key(json!({"scopes": ["runs:write"]})).await;
    writer.get("/v1/usage").await.status(403);
}

async fn what_is_no_usage_is_refused_with_its_field(muster: Muster) {
    for (query, param) in [
        ("from=yesterday", "from"),
        ("from=2026-02-30", "from"),
        ("to=2026-11-26T00:00:00Z", "to"),
        ("from=2026-11-26&to=2026-11-25", "to"),
        ("from=2020-01-01", "from"),
        ("group_by=colour", "group_by"),
        ("group_by=", "group_by"),
        ("limit=0", "limit"),
        ("page=1", "page"),
    ] {
        assert_eq!(muster.us.get(&format!("/v1/usage?{query}")).await.param(), param, "{query}");
    }
}

//! Triggers that times start: schedules, by the names of the Cotool surface.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(times_start_an_agent, what_is_no_cron_is_refused);

async fn times_start_an_agent(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let id = agent.trim_start_matches("agent_");
    let path = format!("/api/agents/{id}/trigger");
    let fields = us.get(&format!("{path}/cron/fields")).await.ok();
    assert_eq!(fields["data"]["additionalFields"][0], json!({"name": "message", "required": true}));
    assert!(fields["data"].get("secret").is_none());
    let body = json!({"source": "cron", "name": "nightly", "description": "d", "cronSchedule": "0 3 * * *",
        "config": {"message": "Sum up.", "timezone": "Europe/Berlin", "mine": [1]}});
    let made = us.post(&format!("{path}/save"), body).await.ok();
    let trigger = text(&made, "id");
    assert_eq!(
        (&made["source"], &made["cronSchedule"], &made["enabled"], &made["description"], &made["config"]["mine"]),
        (&json!("cron"), &json!("0 3 * * *"), &json!(true), &json!("d"), &json!([1]))
    );
    assert!(made.get("secret").is_none(), "{made}");
    assert_eq!(us.get(&path).await.ok(), json!([made]));
    let schedule = us.get(&format!("/v1/schedules/sched_{trigger}")).await.ok();
    assert_eq!((&schedule["message"], &schedule["timezone"]), (&json!("Sum up."), &json!("Europe/Berlin")));
    muster.pass(24 * 60 * 60 * 1_000);
    muster.reap().await;
    muster.drain().await;
    let summary = json!([{"id": trigger, "name": "nightly", "enabled": true}]);
    assert_eq!(us.get(&format!("/api/agents/{id}")).await.ok()["triggerSummary"], summary);
    assert_eq!(us.get("/api/agents").await.ok()[0]["triggerSummary"], summary);
    let blind = us.new_key(json!({"scopes": ["agents:read"]})).await;
    assert_eq!(blind.get(&format!("/api/agents/{id}")).await.ok()["triggerSummary"], json!([]));
    assert_eq!(us.get("/api/agent-runs").await.ok()["runs"][0]["triggerName"], "nightly");
    let runs = us.get("/v1/runs").await.ok();
    assert_eq!((&runs["data"][0]["schedule_id"], runs["data"].as_array().unwrap().len()), (&schedule["id"], 1));
    assert!(us.get(&path).await.ok()[0]["lastRunAttemptedAt"].is_string());
    // Changed, and switched off.
    let change = json!({"name": "hourly", "cronSchedule": "0 * * * *", "config": {"message": "Again."}});
    let changed = us.put(&format!("{path}/{trigger}"), change).await.ok();
    assert_eq!(
        (&changed["name"], &changed["cronSchedule"], &changed["config"]),
        (&json!("hourly"), &json!("0 * * * *"), &json!({"message": "Again.", "timezone": "UTC"}))
    );
    let off = us.patch(&format!("{path}/{trigger}/status"), json!({"enabled": false})).await.ok();
    assert_eq!(off["enabled"], false);
    muster.pass(24 * 60 * 60 * 1_000);
    muster.reap().await;
    assert_eq!(us.get("/v1/runs").await.ok()["data"].as_array().unwrap().len(), 1);
}

async fn what_is_no_cron_is_refused(muster: Muster) {
    let us = &muster.us;
    let [agent, other] = [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let [id, other] = [agent.trim_start_matches("agent_"), other.trim_start_matches("agent_")];
    let path = format!("/api/agents/{id}/trigger");
    let cron = |others: Value| {
        let mut body = json!({"source": "cron", "name": "n", "cronSchedule": "0 3 * * *", "config": {"message": "m"}});
        body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        body
    };
    for (body, field) in [
        (cron(json!({"cronSchedule": null})), "cronSchedule"),
        (cron(json!({"cronSchedule": "never"})), "cronSchedule"),
        (cron(json!({"config": {}})), "config.message"),
        (cron(json!({"config": {"message": "m", "timezone": "Nowhere"}})), "config.timezone"),
        (cron(json!({"config": {"message": "m", "filter": "x"}})), "config.filter"),
        (cron(json!({"config": {"message": "m", "large": "x".repeat(70_000)}})), "config"),
        (cron(json!({"description": "x".repeat(2_001)})), "description"),
        (cron(json!({"secret": "sixteen bytes or more"})), "secret"),
        (cron(json!({"source": "webhook"})), "cronSchedule"),
    ] {
        let refused = us.post(&format!("{path}/save"), body).await.status(400);
        assert!(refused.to_string().contains(field), "{field}: {refused}");
    }
    assert_eq!(us.get(&path).await.ok(), json!([]));
    let made = us.post(&format!("{path}/save"), cron(json!({}))).await.ok();
    let trigger = text(&made, "id");
    let status = json!({"enabled": false});
    us.patch(&format!("/api/agents/{other}/trigger/{trigger}/status"), status.clone()).await.status(404);
    let foreign = muster.them.agent("demo/scripted-l0").await;
    let foreign = format!("/api/agents/{}/trigger/{trigger}", foreign.trim_start_matches("agent_"));
    muster.them.patch(&format!("{foreign}/status"), status.clone()).await.status(404);
    muster.them.put(&foreign, json!({"name": "x"})).await.status(404);
    us.patch(&format!("{path}/{}/status", uuid::Uuid::now_v7()), status).await.status(404);
    // No event comes to it.
    us.nobody().send("POST", &format!("/api/trigger/cron/{trigger}"), "{}").await.status(401);
}

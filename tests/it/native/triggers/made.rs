//! What events become: messages, inputs with their types, batches; what is filtered, and what cannot be.

use serde_json::{Value, json};

use super::{runs, told, trigger};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    inputs_keep_their_types,
    a_filter_lets_some_through,
    rows_are_a_batch,
    what_cannot_be_made_may_come_again,
    a_trial_starts_nothing,
);

async fn agent_with_inputs(muster: &Muster) -> String {
    let inputs = json!([{"name": "n", "type": "integer"}, {"name": "labels", "type": "array", "required": false},
        {"name": "title"}, {"name": "draft", "type": "boolean", "required": false}]);
    let body = json!({"name": "typed", "model": "demo/scripted-l0", "inputs": inputs});
    text(&muster.us.post("/v1/agents", body).await.status(201), "id")
}

async fn inputs_keep_their_types(muster: Muster) {
    let us = &muster.us;
    let agent = agent_with_inputs(&muster).await;
    let inputs = json!({"n": "{{ body.number }}", "labels": "{{ body.labels | map(attribute='name') | list }}",
        "title": "#{{ body.number }} by {{ headers['x-sender'] | default('nobody') }}", "draft": "{{ body.draft }}"});
    let made =
        trigger(us, &agent, "github", json!({"inputs": inputs, "metadata": {"team": "a"}, "max_steps": 3})).await;
    let body = json!({"number": 7, "labels": [{"name": "bug"}, {"name": "ui"}]});
    let run = text(&made.deliver(&muster, "e", body).await.status(202), "run_id");
    let said: Value = serde_json::from_str(told(us, &run).await.as_str().unwrap()).unwrap();
    assert_eq!(said, json!({"n": 7, "labels": ["bug", "ui"], "title": "#7 by nobody"}));
    let run = us.get(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!((&run["metadata"], &run["max_steps"]), (&json!({"team": "a"}), &json!(3)));
    let wrong = made.deliver(&muster, "e2", json!({"number": "seven", "labels": []})).await.status(422);
    assert_eq!(wrong["error"]["param"], "inputs.n", "{wrong}");
    // The body as it is.
    let whole = trigger(us, &agent, "token", json!({})).await;
    let bytes = br#"{"n":1,"title":"t"}"#;
    let run = whole.send(&muster, &whole.signed("e", 0, bytes), bytes).await.status(202);
    assert_eq!(told(us, &text(&run, "run_id")).await, r#"{"n":1,"title":"t"}"#);
    assert_eq!(whole.send(&muster, &whole.signed("f", 0, b"[1]"), b"[1]").await.code, 422);
}

async fn a_filter_lets_some_through(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let filter = "headers['x-github-event'] == 'push' and body.ref in ['main', 'next'] and body.commits | length > 0";
    let made = trigger(us, &agent, "github", json!({"message": "{{ body.ref }}", "filter": filter})).await;
    for (n, (body, passes)) in [
        (json!({"ref": "main", "commits": [1]}), true),
        (json!({"ref": "main", "commits": []}), false),
        (json!({"ref": "old", "commits": [1]}), false),
        (json!({}), false),
        (json!("text"), false),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = made.deliver(&muster, &format!("e{n}"), body.clone()).await;
        assert_eq!(answer.code, if passes { 202 } else { 200 }, "{body}: {}", answer.text);
    }
    let events = us.get(&format!("/v1/triggers/{}/events?limit=2", made.id)).await.ok();
    let first = &events["data"][0];
    let expected = json!({"event_id": "e4", "received_at": first["received_at"], "outcome": "filtered", "run_id": null,
        "batch_id": null, "problems": []});
    assert_eq!((first, events["data"].as_array().unwrap().len()), (&expected, 2));
    let cursor = events["next_cursor"].as_str().unwrap();
    let rest = us.get(&format!("/v1/triggers/{}/events?limit=100&after={cursor}", made.id)).await.ok();
    assert_eq!(rest["data"].as_array().unwrap().len(), 3);
    assert_eq!(runs(us).await.len(), 1);
}

async fn rows_are_a_batch(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let fields = json!({"rows": "body.orders", "custom_id": "{{ row.no }}", "message": "{{ row.no }} of {{ body.shop }}",
        "max_concurrency": 2, "metadata": {"from": "shop"}});
    let made = trigger(us, &agent, "stripe", fields).await;
    let orders: Vec<Value> = (0..5).map(|n| json!({"no": n})).collect();
    let batch = text(&made.deliver(&muster, "e", json!({"shop": "x", "orders": orders})).await.status(202), "batch_id");
    let shown = us.get(&format!("/v1/batches/{batch}")).await.ok();
    assert_eq!((&shown["items"], &shown["trigger_id"]), (&json!(5), &json!(made.id)));
    let runs = us.get(&format!("/v1/runs?batch_id={batch}")).await.ok();
    let mut ids: Vec<&str> =
        runs["data"].as_array().unwrap().iter().map(|run| run["custom_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["0", "1", "2", "3", "4"]);
    assert!(runs["data"].as_array().unwrap().iter().all(|run| run["trigger_id"] == made.id.as_str()));
    for (event, body) in [
        ("none", json!({"orders": []})),
        ("no array", json!({"orders": 1})),
        ("the same id", json!({"orders": [{"no": 1}, {"no": 1}]})),
        ("too many", json!({"orders": vec![0; 1_001]})),
    ] {
        let answer = made.deliver(&muster, event, body).await.status(422);
        assert!(answer["error"]["param"].as_str().unwrap().starts_with("rows"), "{event}: {answer}");
    }
    let most: Vec<Value> = (0..1_000).map(|n| json!({"no": n})).collect();
    made.deliver(&muster, "most", json!({"orders": most})).await.status(202);
}

async fn what_cannot_be_made_may_come_again(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let made = trigger(us, &agent, "token", json!({"message": "{{ body.n + 1 }}"})).await;
    let answer = made.deliver(&muster, "e", json!({"n": "x"})).await;
    let wrong = answer.status(422);
    assert_eq!((&wrong["error"]["param"], &wrong["error"]["code"]), (&json!("message"), &json!("invalid_input")));
    let path = format!("/v1/triggers/{}", made.id);
    let events = us.get(&format!("{path}/events")).await.ok();
    assert_eq!(
        (&events["data"][0]["outcome"], &events["data"][0]["problems"][0]["field"]),
        (&json!("failed"), &json!("message"))
    );
    us.patch(&path, json!({"message": "{{ body.n }}!"})).await.ok();
    let run = text(&made.deliver(&muster, "e", json!({"n": "x"})).await.status(202), "run_id");
    assert_eq!(told(us, &run).await, "x!");
    // An agent that is gone is nothing that an event can start.
    us.delete(&format!("/v1/agents/{agent}")).await.status(204);
    assert_eq!(made.deliver(&muster, "f", json!({"n": 1})).await.status(422)["error"]["message"], "agent not found");
    assert_eq!(made.deliver(&muster, "e", json!({"n": "x"})).await.ok()["duplicate"], true);
    us.patch(&path, json!({"enabled": false})).await.ok();
    assert_eq!(us.patch(&path, json!({"enabled": true})).await.code, 404);
}

async fn a_trial_starts_nothing(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let fields = json!({"message": "{{ body.a }} {{ headers['x-b'] }}", "filter": "body.a"});
    let made = trigger(us, &agent, "github", fields).await;
    let path = format!("/v1/triggers/{}/test", made.id);
    let tried = us.post(&path, json!({"body": {"a": 1}, "headers": {"X-B": "b"}})).await.ok();
    let expected =
        json!({"would": "run", "message": "1 b", "inputs": null, "count": null, "items": [], "problems": []});
    assert_eq!(tried, expected);
    assert_eq!(us.post(&path, json!({"body": {}})).await.ok()["would"], "filtered");
    us.patch(&format!("/v1/triggers/{}", made.id), json!({"message": "{{ body.a | nothing(1) }}"})).await.param();
    us.patch(&format!("/v1/triggers/{}", made.id), json!({"rows": "body.a", "message": "{{ row }}"})).await.ok();
    let tried = us.post(&path, json!({"body": {"a": [1, 2]}})).await.ok();
    assert_eq!(
        (&tried["would"], &tried["count"], &tried["items"][1]["message"]),
        (&json!("batch"), &json!(2), &json!("2"))
    );
    let tried = us.post(&path, json!({"body": {"a": 1}})).await.ok();
    assert_eq!((&tried["would"], &tried["problems"][0]["field"]), (&json!("failed"), &json!("rows")));
    assert!(runs(us).await.is_empty());
    assert_eq!(us.get(&format!("/v1/triggers/{}/events", made.id)).await.ok()["data"], json!([]));
}

//! Batches: accepted as a whole or not at all, counted, cancelled, tried again.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, redacted, text};

on_every_backend!(
    a_batch_is_accepted_run_and_counted,
    a_batch_of_one_is_waited_for,
    a_thousand_items_are_accepted_and_one_more_is_not,
    lines_of_json_are_a_batch_of_more,
    one_bad_item_and_nothing_is_started,
    custom_ids_are_told_apart,
    the_pairs_and_the_deadline_of_a_batch_are_its_runs,
    batches_are_listed_newest_first,
    a_cancelled_batch_ends,
    a_cancel_reaches_what_is_running,
    only_what_did_not_end_well_is_tried_again,
    a_batch_of_another_organisation_is_not_found,
);

fn items(count: usize) -> Value {
    json!({"items": (0..count).map(|n| json!({"message": format!("item {n}")})).collect::<Vec<_>>()})
}

async fn a_batch_is_accepted_run_and_counted(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let answer = muster.us.post(&format!("/v1/agents/{agent}/batches"), items(120)).await;
    let path = answer.header("location").to_owned();
    assert_eq!(path, format!("/v1/batches/{}", text(&answer.body, "id")));
    assert_eq!(answer.header("retry-after"), "1");
    let counts = |queued: u32, done: u32| json!({"queued": queued, "running": 0, "waiting": 0, "done": done, "error": 0, "interrupted": 0});
    let mut expected = json!({
        "id": "<id>", "agent_id": "<id>", "agent_version": 1, "model": "demo/scripted-l0", "status": "running",
        "terminal": false, "items": 120, "counts": counts(120, 0), "cost_micro_usd": 0, "wall_ms": "<ms>",
        "sum_run_ms": "<ms>", "metadata": {}, "reduce": null, "retry_of": null, "evaluation_id": null, "schedule_id": null, "trigger_id": null, "caused_by_run_id": null, "deadline": "<time>", "created_at": "<time>",
        "ended_at": null, "max_concurrency": null, "budget_micro_usd": null, "on_budget": "stop_new",
        "usage": {"model_calls": 0, "input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0},
    });
    assert_eq!(answer.shape(202), expected);
    assert_eq!(muster.us.get(&path).await.shape(200), expected);
    assert_eq!(muster.queued(), 3, "50 runs a message");
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert!(ended["cost_micro_usd"].as_u64() >= Some(120) && ended["usage"]["model_calls"] == 120);
    expected["usage"] = ended["usage"].clone();
    expected["cost_micro_usd"] = ended["cost_micro_usd"].clone();
    expected["status"] = json!("done");
    expected["terminal"] = json!(true);
    expected["ended_at"] = json!("<time>");
    expected["counts"] = counts(0, 120);
    assert_eq!(redacted(&ended), expected);
    muster.pass(1_000);
    assert_eq!(muster.us.get(&path).await.ok(), ended, "what has ended stays as it is");
}

async fn a_batch_of_one_is_waited_for(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("demo/scripted-l0").await;
    let ended = muster.us.post(&format!("/v1/agents/{agent}/batches?wait=20"), items(1)).await;
    assert_eq!(ended.ok()["counts"]["done"], 1);
    let slow = muster.us.agent("demo/scripted-l3000").await;
    let begun = muster.us.post(&format!("/v1/agents/{slow}/batches?wait=1"), items(1)).await;
    assert!(begun.header("location").starts_with("/v1/batches/batch_"));
    assert_eq!(begun.status(202)["terminal"], false);
}

async fn a_thousand_items_are_accepted_and_one_more_is_not(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/batches");
    for count in [0, 1_001] {
        assert_eq!(muster.us.post(&path, items(count)).await.param(), "items", "{count}");
    }
    assert_eq!(muster.us.get("/v1/runs").await.ok()["data"], json!([]));
    let batch = muster.us.post(&path, items(1_000)).await.status(202);
    assert_eq!((&batch["items"], muster.queued()), (&json!(1_000), 20));
    muster.drain().await;
    let ended = muster.us.get(&format!("/v1/batches/{}", text(&batch, "id"))).await.ok();
    assert_eq!(ended["counts"]["done"], 1_000);
}

async fn lines_of_json_are_a_batch_of_more(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/batches");
    let lines = |count: usize| {
        let line = |n: usize| format!("{}\n", json!({"message": format!("line {n}"), "custom_id": format!("c{n}")}));
        (0..count).map(line).collect::<String>()
    };
    let us = muster.us.with("content-type", "application/x-ndjson; charset=utf-8");
    let batch = us.send("POST", &path, format!("\n{}\n  \n", lines(1_500))).await.status(202);
    assert_eq!((&batch["items"], muster.queued()), (&json!(1_500), 30));
    for (body, param) in [
        ("", "items"),
        ("{\"message\": \"a\"}\n{", "items[1]"),
        ("[]", "items[0]"),
        ("{\"message\": 1}", "items[0].message"),
    ] {
        assert_eq!(us.send("POST", &path, body).await.param(), param, "{body}");
    }
    assert_eq!(us.send("POST", &path, lines(10_001)).await.param(), "items");
    let last = muster.us.get(&format!("/v1/batches/{}/results?after=1498", text(&batch, "id"))).await.ok();
    assert_eq!((&last["data"][0]["custom_id"], &last["has_more"]), (&json!("c1499"), &json!(false)));
}

async fn one_bad_item_and_nothing_is_started(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/batches");
    for (bad, param) in [
        (json!({"message": ""}), "items[17].message"),
        (json!({"message": 5}), "items[17].message"),
        (json!({}), "items[17]"),
        (json!({"message": "a", "inputs": {}}), "items[17]"),
        (json!({"message": "a", "colour": 1}), "items[17].colour"),
        (json!({"message": "a", "custom_id": ""}), "items[17].custom_id"),
        (json!({"message": "a", "custom_id": "c".repeat(65)}), "items[17].custom_id"),
        (json!({"inputs": 1}), "items[17].inputs"),
        (json!("a"), "items[17]"),
    ] {
        let mut body = items(50);
        body["items"][17] = bad.clone();
        assert_eq!(muster.us.post(&path, body).await.param(), param, "{bad}");
    }
    let mut body = items(5);
    body["items"][1] = json!({"message": ""});
    body["items"][3] = json!({"message": " "});
    let refused = muster.us.post(&path, body).await.status(400);
    let problems = refused["error"]["details"]["problems"].as_array().unwrap();
    let fields: Vec<&Value> = problems.iter().map(|problem| &problem["field"]).collect();
    assert_eq!(fields, ["items[1].message", "items[3].message"]);
    for (body, param) in [
        (json!({}), json!("items")),
        (json!({"items": {}}), json!("items")),
        (json!({"items": [{"message": "a"}], "deadline": "x"}), json!("deadline")),
        (json!({"items": [{"message": "a"}], "deadline": muster.in_ms(-5)}), json!("deadline")),
        (json!({"items": [{"message": "a"}], "colour": 1}), json!("colour")),
        (json!([{"message": "a"}]), Value::Null),
    ] {
        assert_eq!(muster.us.post(&path, body.clone()).await.param(), param, "{body}");
    }
    for list in ["/v1/runs", "/v1/batches"] {
        assert_eq!(muster.us.get(list).await.ok()["data"], json!([]));
    }
    assert_eq!(muster.queued(), 0);
}

async fn custom_ids_are_told_apart(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/batches");
    let named = |ids: &[&str]| json!({"items": ids.iter().map(|id| json!({"message": "a", "custom_id": id})).collect::<Vec<_>>()});
    assert_eq!(muster.us.post(&path, named(&["a", "b", "a"])).await.param(), "items[2].custom_id");
    let longest = "é".repeat(64);
    let batch = muster.us.post(&path, named(&["a", "A", &longest, "="])).await.status(202);
    let results = muster.us.get(&format!("/v1/batches/{}/results", text(&batch, "id"))).await.ok();
    let ids: Vec<&Value> = results["data"].as_array().unwrap().iter().map(|result| &result["custom_id"]).collect();
    assert_eq!(ids, ["a", "A", longest.as_str(), "="]);
}

async fn the_pairs_and_the_deadline_of_a_batch_are_its_runs(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let body = json!({
        "items": [{"message": "a"}, {"inputs": {"b": 1}}], "metadata": {"k": "v"}, "deadline": muster.in_ms(60_000),
    });
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), body.clone()).await.status(202);
    assert_eq!((&batch["metadata"], &batch["deadline"]), (&body["metadata"], &body["deadline"]));
    let runs = muster.us.get(&format!("/v1/runs?batch_id={}", text(&batch, "id"))).await.ok();
    assert_eq!(runs["data"].as_array().unwrap().len(), 2);
    for run in runs["data"].as_array().unwrap() {
        let seen = json!([run["metadata"], run["deadline"], run["batch_id"]]);
        assert_eq!(seen, json!([body["metadata"], body["deadline"], batch["id"]]));
    }
    let listed = muster.us.get("/v1/batches?metadata=%7B%22k%22%3A%22w%22%7D").await.ok();
    assert_eq!(listed["data"], json!([]));
}

async fn batches_are_listed_newest_first(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), items(2)).await.status(202);
        made.insert(0, text(&batch, "id"));
        muster.pass(2);
    }
    muster.drain().await;
    let page = muster.us.get("/v1/batches?limit=2").await.ok();
    let rest = muster.us.get(&format!("/v1/batches?limit=2&after={}", text(&page, "next_cursor"))).await.ok();
    let both = page["data"].as_array().unwrap().iter().chain(rest["data"].as_array().unwrap());
    let seen: Vec<String> = both
        .inspect(|batch| assert_eq!((&batch["status"], &batch["counts"]["done"]), (&json!("done"), &json!(2))))
        .map(|batch| text(batch, "id"))
        .collect();
    assert_eq!((seen, &rest["has_more"]), (made, &json!(false)));
}

async fn a_cancelled_batch_ends(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), items(60)).await.status(202);
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let cancelled = muster.us.send("POST", &format!("{path}/cancel"), "").await.ok();
    let seen = json!([cancelled["status"], cancelled["counts"]["interrupted"], cancelled["terminal"]]);
    assert_eq!(seen, json!(["done", 60, true]));
    muster.drain().await;
    assert_eq!(muster.models.stats().calls, 0);
    assert_eq!(muster.us.send("POST", &format!("{path}/cancel"), "").await.ok()["counts"], cancelled["counts"]);
}

async fn a_cancel_reaches_what_is_running(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("openai/fake-l9000").await;
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), items(5)).await.status(202);
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    muster.until(&path, |batch| batch["counts"]["running"] == 5).await;
    let asked = muster.us.send("POST", &format!("{path}/cancel"), "").await;
    assert!([200, 202].contains(&asked.code));
    assert!(asked.body["status"] == "cancelling" || asked.code == 200);
    let ended = muster.until(&path, |batch| batch["terminal"] == true).await;
    assert_eq!(ended["counts"]["interrupted"], 5);
    assert!(ended["wall_ms"].as_u64() < Some(9_000));
}

async fn only_what_did_not_end_well_is_tried_again(muster: Muster) {
    let agent = muster.us.agent("openai/fake").await;
    let body = json!({"items": [
        {"message": "good", "custom_id": "one"}, {"message": "bad", "custom_id": "two"}, {"message": "fine"},
        {"inputs": {"also": "bad"}},
    ]});
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    let retry = format!("{path}/retry");
    assert_eq!(muster.us.send("POST", &retry, "").await.code_of(409), "conflict", "it has not ended");
    let results = muster.us.get(&format!("{path}/results")).await.ok();
    for index in [1, 3] {
        let run = text(&results["data"][index], "run_id");
        muster.us.send("POST", &format!("/v1/runs/{run}/cancel"), "").await.ok();
    }
    muster.drain().await;
    muster.us.patch(&format!("/v1/agents/{agent}"), json!({"model": "demo/scripted-l0"})).await.ok();
    let again = muster.us.send("POST", &retry, "").await.status(202);
    let seen = json!([again["items"], again["retry_of"], again["agent_version"], again["model"]]);
    assert_eq!(seen, json!([2, batch["id"], 2, "demo/scripted-l0"]));
    muster.drain().await;
    let results = muster.us.get(&format!("/v1/batches/{}/results", text(&again, "id"))).await.ok();
    let seen: Vec<Value> =
        results["data"].as_array().unwrap().iter().map(|one| json!([one["custom_id"], one["status"]])).collect();
    assert_eq!(seen, [json!(["two", "done"]), json!([null, "done"])]);
    assert!(text(&results["data"][1], "result").contains("also"));
    let again = format!("/v1/batches/{}/retry", text(&again, "id"));
    assert_eq!(muster.us.send("POST", &again, "").await.code_of(409), "conflict", "every item ended well");
    assert_eq!(muster.us.get(&path).await.ok()["counts"]["interrupted"], 2, "the first batch stays as it was");
}

async fn a_batch_of_another_organisation_is_not_found(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), items(2)).await.status(202);
    let batch = text(&batch, "id");
    let them = muster.them.with("x-request-id", "same");
    let calls =
        [("GET", ""), ("GET", "/results"), ("GET", "/results?format=csv"), ("POST", "/cancel"), ("POST", "/retry")];
    for (method, rest) in calls {
        let foreign = them.send(method, &format!("/v1/batches/{batch}{rest}"), "").await;
        for other in ["batch_019a2b3c-4d5e-7f60-8123-456789abcdef", "batch_x", "x"] {
            let unknown = them.send(method, &format!("/v1/batches/{other}{rest}"), "").await;
            assert_eq!((foreign.code, &foreign.text), (404, &unknown.text), "{method} {rest} {other}");
        }
    }
    assert_eq!(muster.them.get("/v1/batches").await.ok()["data"], json!([]));
    assert_eq!(muster.us.get(&format!("/v1/batches/{batch}")).await.ok()["counts"]["queued"], 2);
}

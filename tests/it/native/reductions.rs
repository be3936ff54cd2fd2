//! Reductions: one run over all results of a batch, once, when all of its runs have ended or a part of them.

use serde_json::{Value, json};
use shared::engine;

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    the_results_of_a_batch_are_told_to_one_run,
    templates_say_what_of_the_results,
    a_part_of_the_results_is_enough,
    nothing_is_made_of_nothing,
    a_reduction_starts_once,
    schedules_and_triggers_reduce,
    what_cannot_be_one_is_refused,
    results_that_are_too_long_are_no_message,
);

/// A batch of so many items of this agent, with this reduction; its id.
async fn batch(us: &Client, agent: &str, items: usize, reduce: Value) -> String {
    let items: Vec<Value> =
        (0..items).map(|n| json!({"custom_id": format!("i{n}"), "message": format!("item {n}")})).collect();
    let body = json!({"items": items, "reduce": reduce, "metadata": {"job": "7"}});
    text(&us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202), "id")
}

async fn reduction(us: &Client, batch: &str) -> Value {
    us.get(&format!("/v1/batches/{batch}")).await.ok()["reduce"].clone()
}

async fn told(us: &Client, run: &str) -> String {
    us.get(&format!("/v1/runs/{run}/messages")).await.ok()["data"][0]["content"].as_str().unwrap().to_owned()
}

async fn the_results_of_a_batch_are_told_to_one_run(muster: Muster) {
    let us = &muster.us;
    let [agent, editor] = [us.agent("demo/scripted-l0").await, us.agent("demo/scripted-l0").await];
    let id = batch(us, &agent, 3, json!({"agent_id": editor, "metadata": {"step": "report"}})).await;
    let before = reduction(us, &id).await;
    assert_eq!(before, json!({"agent_id": editor, "agent_version": 1, "percent": 100, "run_id": null, "error": null}));
    muster.drain().await;
    let run = text(&reduction(us, &id).await, "run_id");
    let shown = us.get(&format!("/v1/runs/{run}")).await.ok();
    assert_eq!(
        (&shown["agent_id"], &shown["status"], &shown["reduces"], &shown["batch_id"], &shown["metadata"]),
        (&json!(editor), &json!("done"), &json!(id), &Value::Null, &json!({"job": "7", "step": "report"}))
    );
    let results = us.get(&format!("/v1/batches/{id}/results")).await.ok();
    let lines: String = results["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| json!({"custom_id": result["custom_id"], "output": result["result"]}).to_string() + "\n")
        .collect();
    assert_eq!(told(us, &run).await, lines);
    // It is none of the batch's runs, and one that is tried again has none.
    let shown = us.get(&format!("/v1/batches/{id}")).await.ok();
    assert_eq!((&shown["items"], &shown["counts"]["done"]), (&json!(3), &json!(3)));
    assert_eq!(us.get(&format!("/v1/runs?batch_id={id}")).await.ok()["data"].as_array().unwrap().len(), 3);
}

async fn templates_say_what_of_the_results(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let items = json!([{"message": "a"}, {"message": "b"}, {"message": "c"}]);
    let message = "{{ batch.counts.done }} of {{ batch.items }}:{% for one in results %} {{ one.index }}={{ one.status }}{% endfor %}";
    let body = json!({"items": items, "reduce": {"message": message}});
    let made = us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    let second = us.get(&format!("/v1/runs?batch_id={}", text(&made, "id"))).await.ok()["data"].clone();
    let second = second.as_array().unwrap().iter().find(|run| run["batch_index"] == 1).unwrap().clone();
    us.post(&format!("/v1/runs/{}/cancel", text(&second, "id")), json!({})).await.ok();
    muster.drain().await;
    let run = text(&reduction(us, &text(&made, "id")).await, "run_id");
    assert_eq!(told(us, &run).await, "2 of 3: 0=done 1=interrupted 2=done");
    // Inputs of an agent that declares some.
    let takes = json!({"name": "takes", "model": "demo/scripted-l0", "inputs": [{"name": "all", "type": "array"}, {"name": "n", "type": "integer"}]});
    let takes = text(&us.post("/v1/agents", takes).await.status(201), "id");
    let inputs = json!({"all": "{{ results }}", "n": "{{ batch.items }}"});
    let id = batch(us, &agent, 2, json!({"agent_id": takes, "inputs": inputs})).await;
    muster.drain().await;
    let input: Value = serde_json::from_str(&told(us, &text(&reduction(us, &id).await, "run_id")).await).unwrap();
    assert_eq!(
        (&input["n"], &input["all"][1]["custom_id"], &input["all"][1]["index"]),
        (&json!(2), &json!("i1"), &json!(1))
    );
}

async fn a_part_of_the_results_is_enough(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let held = json!({"name": "waits", "model": "openai/fake", "tools": [{"type": "http", "name": "act", "method": "POST",
        "url": "https://example.com/act", "approval": "always", "parameters": {"type": "object"}}]});
    let held = text(&us.post("/v1/agents", held).await.status(201), "id");
    let item = |n: usize| json!({"message": if n == 2 { "call act {}".to_owned() } else { format!("say {n}") }});
    let items: Vec<Value> = (0..4).map(item).collect();
    let reduce = json!({"agent_id": agent, "percent": 75, "message": "{{ results | length }}"});
    let body = json!({"items": items, "reduce": reduce});
    let id = text(&us.post(&format!("/v1/agents/{held}/batches"), body).await.status(202), "id");
    muster.drain().await;
    let shown = us.get(&format!("/v1/batches/{id}")).await.ok();
    assert_eq!(
        (&shown["terminal"], &shown["counts"]["done"], &shown["counts"]["waiting"]),
        (&json!(false), &json!(3), &json!(1))
    );
    let run = text(&shown["reduce"], "run_id");
    muster.drain().await;
    assert_eq!(told(us, &run).await, "3");
    assert_eq!(us.get(&format!("/v1/runs/{run}")).await.ok()["status"], "done");
    // The end of the others changes nothing about it.
    us.post(&format!("/v1/batches/{id}/cancel"), json!({})).await;
    muster.drain().await;
    let shown = us.get(&format!("/v1/batches/{id}")).await.ok();
    assert_eq!((&shown["terminal"], &shown["reduce"]["run_id"]), (&json!(true), &json!(run)));
}

async fn nothing_is_made_of_nothing(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let cancelled = batch(us, &agent, 2, json!({})).await;
    us.post(&format!("/v1/batches/{cancelled}/cancel"), json!({})).await;
    let items = json!({"items": [{"message": "a"}], "budget_micro_usd": 1, "reduce": {}});
    let failed = text(&us.post(&format!("/v1/agents/{agent}/batches"), items).await.status(202), "id");
    muster.drain().await;
    let why = async |id: &str| text(&reduction(us, id).await, "error");
    assert_eq!(why(&cancelled).await, "the batch was cancelled");
    assert_eq!(why(&failed).await, "no run of the batch ended well");
    // One that is tried again has none: it would be told a part.
    let again = us.post(&format!("/v1/batches/{failed}/retry"), json!({})).await.status(202);
    assert_eq!(again["reduce"], Value::Null);
    muster.drain().await;
    assert_eq!(us.get("/v1/runs?limit=100").await.ok()["data"].as_array().unwrap().len(), 4, "no run that reduces");
}

async fn a_reduction_starts_once(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let id = batch(us, &agent, 20, json!({"message": "{{ results | length }}"})).await;
    // The messages come twice each; and many look at the batch at the same moment.
    muster.drain_twice().await;
    let other = muster.another_process();
    let path = format!("/v1/batches/{id}");
    let looks = (us.get(&path), other.get(&path), us.get(&path), other.get(&path));
    let (one, two, three, four) = tokio::join!(looks.0, looks.1, looks.2, looks.3);
    let runs: Vec<String> = [one, two, three, four].map(|look| text(&look.ok()["reduce"], "run_id")).to_vec();
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
    muster.drain_twice().await;
    assert_eq!(told(us, &runs[0]).await, "20");
    assert_eq!(us.get("/v1/runs?limit=100").await.ok()["data"].as_array().unwrap().len(), 21);
    // Nobody was told of the end: the reaper sees to it.
    let id = batch(us, &agent, 3, json!({"message": "{{ results | length }}"})).await;
    for run in us.get(&format!("/v1/runs?batch_id={id}")).await.ok()["data"].as_array().unwrap() {
        us.post(&format!("/v1/runs/{}/cancel", text(run, "id")), json!({})).await.ok();
    }
    muster.lose_messages().await;
    muster.pass(120_000);
    muster.reap().await;
    assert_eq!(text(&reduction(us, &id).await, "error"), "no run of the batch ended well");
}

async fn schedules_and_triggers_reduce(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let reduce = json!({"message": "{{ results | length }} of {{ batch.metadata.of }}"});
    let schedule = json!({"agent_id": agent, "name": "nightly", "schedule": "rate(1 day)", "metadata": {"of": "schedule"},
        "items": [{"message": "a"}, {"message": "b"}], "reduce": reduce});
    let schedule = us.post("/v1/schedules", schedule).await.status(201);
    assert_eq!(schedule["reduce"]["message"], reduce["message"]);
    let fired = us.post(&format!("/v1/schedules/{}/run", text(&schedule, "id")), json!({})).await.status(202);
    let trigger = json!({"agent_id": agent, "name": "events", "source": "token", "rows": "body.rows", "message": "{{ row }}",
        "metadata": {"of": "trigger"}, "reduce": reduce});
    let trigger = us.post("/v1/triggers", trigger).await.status(201);
    let sender = us.nobody().with("x-muster-token", &text(&trigger, "secret"));
    let path = format!("/v1/hooks/{}", text(&trigger, "id"));
    let event = sender.send("POST", &path, json!({"rows": [1, 2, 3]}).to_string()).await.status(202);
    muster.drain().await;
    for (id, expected) in [(text(&fired, "batch_id"), "2 of schedule"), (text(&event, "batch_id"), "3 of trigger")] {
        let run = text(&reduction(us, &id).await, "run_id");
        assert_eq!(told(us, &run).await, expected);
    }
    // Taken away again; and none of what is one run.
    let path = format!("/v1/triggers/{}", text(&trigger, "id"));
    assert_eq!(us.patch(&path, json!({"reduce": null})).await.ok()["reduce"], Value::Null);
    let one = json!({"agent_id": agent, "name": "one", "schedule": "rate(1 day)", "message": "a", "reduce": {}});
    assert_eq!(us.post("/v1/schedules", one).await.param(), "reduce");
}

async fn what_cannot_be_one_is_refused(muster: Muster) {
    let (us, them) = (&muster.us, &muster.them);
    let [agent, foreign] = [us.agent("demo/scripted-l0").await, them.agent("demo/scripted-l0").await];
    let takes = json!({"name": "takes", "model": "demo/scripted-l0", "inputs": [{"name": "all", "type": "array"}]});
    let takes = text(&us.post("/v1/agents", takes).await.status(201), "id");
    let post = async |reduce: Value| {
        let body = json!({"items": [{"message": "a"}], "reduce": reduce});
        us.post(&format!("/v1/agents/{agent}/batches"), body).await
    };
    for (reduce, param) in [
        (json!({"percent": 0}), "reduce.percent"),
        (json!({"percent": 101}), "reduce.percent"),
        (json!({"message": "{{ results"}), "reduce.message"),
        (json!({"message": ""}), "reduce.message"),
        (json!({"message": "a", "inputs": {}}), "reduce.message"),
        (json!({"agent_id": takes}), "reduce.inputs"),
        (json!({"agent_id": takes, "inputs": {"all": "{{ results }}", "none": "x"}}), "reduce.inputs.none"),
        (json!({"model": "nobody/knows"}), "reduce.model"),
        (json!({"max_steps": 0}), "reduce.max_steps"),
        (json!({"metadata": {"": "x"}}), "reduce.metadata"),
        (json!({"of": 1}), "reduce.of"),
    ] {
        assert_eq!(post(reduce.clone()).await.param(), param, "{reduce}");
    }
    let missing = format!("agent_{}", uuid::Uuid::now_v7());
    for id in [&foreign, &missing, "agent_x"] {
        assert_eq!(post(json!({"agent_id": id})).await.code_of(404), "not_found");
    }
    assert_eq!(post(json!({"version": 2})).await.code, 404);
    assert_eq!(us.get("/v1/runs").await.ok()["data"], json!([]), "nothing was started");
}

async fn results_that_are_too_long_are_no_message(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("openai/fake").await;
    let items: Vec<Value> = (0..6).map(|n| json!({"message": format!("say {n}{}", "x".repeat(200_000))})).collect();
    let make = async |reduce: Value| {
        let body = json!({"items": items, "reduce": reduce});
        text(&us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202), "id")
    };
    // 800,000 bytes are one.
    let some =
        json!({"message": "{% for one in results %}{% if one.index < 4 %}{{ one.output }}{% endif %}{% endfor %}"});
    let some = make(some).await;
    let (whole, part) = (
        make(json!({})).await,
        make(json!({"message": "{% for one in results %}{{ one.output[:3] }}{% endfor %}"})).await,
    );
    muster.drain().await;
    let why = text(&reduction(us, &whole).await, "error");
    assert!(why.contains("more than 1048576 bytes"), "{why}");
    let run = text(&reduction(us, &part).await, "run_id");
    assert_eq!(told(us, &run).await.len(), 6 * 3);
    let run = text(&reduction(us, &some).await, "run_id");
    assert!(told(us, &run).await.len() > 800_000);
    engine::reap(&muster.app).await.unwrap();
    assert_eq!(us.get(&format!("/v1/batches/{whole}")).await.ok()["terminal"], true);
}

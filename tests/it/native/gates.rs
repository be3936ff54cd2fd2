//! Changes of agents that are tried on a test set first: made when the figures are good enough, and otherwise not.

use serde_json::{Value, json};

use super::evaluations::{set_of, started};
use crate::harness::{Answer, Muster, on_every_backend, text};

on_every_backend!(
    a_change_that_does_well_enough_is_made,
    a_change_that_does_not_is_refused_and_says_why,
    figures_are_held_against_thresholds_as_they_are,
    a_change_whose_evaluation_has_not_ended_goes_on_with_it,
    only_an_evaluation_of_exactly_this_change_counts,
    an_agent_that_was_changed_meanwhile_stays_as_it_is,
    an_agent_that_is_changed_during_the_call_stays_as_it_is,
    an_evaluation_that_nobody_finished_lets_nothing_pass,
    what_makes_no_gate_is_refused_with_its_field,
    what_cannot_be_tried_is_refused_before_anything_starts,
    a_gate_needs_both_scopes,
    ids_of_others_are_not_found,
    a_change_that_changes_nothing_is_not_tried,
);

/// An agent, and a set of ten cases of which `openai/fake` passes eight and `demo/scripted-l0` none.
async fn agent_and_set(muster: &Muster) -> (String, String) {
    (format!("/v1/agents/{}", muster.us.agent("demo/scripted").await), set_of(&muster.us, 10).await)
}

/// Everything that is known of the agent.
async fn all_of(muster: &Muster, agent: &str) -> (Value, Value) {
    (muster.us.get(agent).await.ok(), muster.us.get(&format!("{agent}/versions")).await.ok())
}

async fn evaluations(muster: &Muster) -> Vec<Value> {
    muster.us.get("/v1/evaluations").await.ok()["data"].as_array().unwrap().clone()
}

/// The evaluation that an answer of 202 is.
fn begun(answer: &Answer) -> String {
    assert_eq!((answer.code, answer.header("retry-after")), (202, "1"), "{}", answer.text);
    let id = text(&answer.body, "id");
    assert_eq!(answer.header("location"), format!("/v1/evaluations/{id}"));
    id
}

fn refused(answer: Answer) -> Value {
    let error = answer.status(422)["error"].clone();
    assert_eq!(
        json!([error["type"], error["code"], error["retryable"]]),
        json!(["invalid_request", "gate_failed", false])
    );
    error
}

async fn a_change_that_does_well_enough_is_made(muster: Muster) {
    let muster = muster.at_work();
    let (agent, set) = agent_and_set(&muster).await;
    let first = muster.us.get(&agent).await.ok();
    let query =
        "min_correctness=0.8&max_price_per_correct_micro_usd=1000000&max_concurrency=3&budget_micro_usd=9000000";
    let change = json!({"model": "openai/fake", "name": "better"});
    let answer = muster.us.patch(&format!("{agent}?gate={set}&{query}"), change).await;
    let evaluation = answer.header("gate-evaluation").to_owned();
    let made = answer.ok();
    assert_eq!(json!([made["version"], made["model"], made["name"]]), json!([2, "openai/fake", "better"]));
    assert_eq!(
        all_of(&muster, &agent).await,
        (made.clone(), json!({"data": [made, first], "has_more": false, "next_cursor": null}))
    );
    let tried = muster.us.get(&format!("/v1/evaluations/{evaluation}")).await.ok();
    let seen = ["test_set_id", "metadata", "max_concurrency", "budget_micro_usd", "status"].map(|field| &tried[field]);
    assert_eq!(json!(seen), json!([set, {"gate": made["id"]}, 3, 9_000_000, "done"]));
    let [one] = tried["configurations"].as_array().unwrap().as_slice() else { panic!("{tried}") };
    assert_eq!(json!([one["agent_name"], one["model"], one["correctness"]]), json!(["better", "openai/fake", 0.8]));
    let candidate = text(one, "agent_id");
    assert_eq!(muster.us.get(&format!("/v1/agents/{candidate}")).await.code, 404, "what was tried is no agent");
    assert_eq!(muster.us.get("/v1/agents").await.ok()["data"].as_array().unwrap().len(), 1);
    let filter = format!("%7B%22gate%22%3A%22{}%22%7D", text(&made, "id"));
    let found = muster.us.get(&format!("/v1/evaluations?metadata={filter}")).await.ok();
    assert_eq!(found["data"][0]["id"], json!(evaluation), "it is found by its agent");
}

async fn a_change_that_does_not_is_refused_and_says_why(muster: Muster) {
    let muster = muster.at_work();
    let (agent, set) = agent_and_set(&muster).await;
    let before = all_of(&muster, &agent).await;
    let correctness = |limit: f64, figure: f64| json!({"threshold": "min_correctness", "limit": limit, "figure": figure, "reason": null});
    let price = |limit: f64, figure: &Value, reason: Value| json!({"threshold": "max_price_per_correct_micro_usd", "limit": limit, "figure": figure, "reason": reason});
    for (model, query) in [
        ("openai/fake", "min_correctness=0.81"),
        ("openai/fake", "min_correctness=0.8&max_price_per_correct_micro_usd=1"),
        ("openai/fake", "min_correctness=1&max_price_per_correct_micro_usd=1"),
        ("openai/fake-l1", "min_correctness=0.5&max_price_per_correct_micro_usd=1000000"),
        ("demo/scripted-l0", "min_correctness=0.001&max_price_per_correct_micro_usd=1000000"),
    ] {
        let change = json!({"model": model});
        let error = refused(muster.us.patch(&format!("{agent}?gate={set}&{query}"), change).await);
        let evaluation = text(&error["details"], "evaluation_id");
        let tried = muster.us.get(&format!("/v1/evaluations/{evaluation}")).await.ok();
        let found = &tried["configurations"][0]["price_per_correct_micro_usd"];
        let expected = match (model, query) {
            ("openai/fake", "min_correctness=0.81") => json!([correctness(0.81, 0.8)]),
            ("openai/fake", "min_correctness=1&max_price_per_correct_micro_usd=1") => {
                json!([correctness(1.0, 0.8), price(1.0, found, Value::Null)])
            }
            ("openai/fake", _) => json!([price(1.0, found, Value::Null)]),
            ("openai/fake-l1", _) => json!([price(1e6, &Value::Null, "unknown_price".into())]),
            _ => json!([correctness(0.001, 0.0), price(1e6, &Value::Null, "nothing_correct".into())]),
        };
        assert_eq!(error["details"]["missed"], expected, "{model} {query}");
        let message = text(&error, "message");
        let told = expected.as_array().unwrap().iter().all(|one| message.contains(&text(one, "threshold")));
        assert!(told && message.contains(&evaluation), "{message}");
        assert_eq!(all_of(&muster, &agent).await, before, "{model} {query}");
    }
    assert_eq!(muster.us.get("/v1/agents").await.ok()["data"].as_array().unwrap().len(), 1);
}

async fn figures_are_held_against_thresholds_as_they_are(muster: Muster) {
    let (agent, _) = agent_and_set(&muster).await;
    let set = set_of(&muster.us, 7).await;
    let gate = format!("{agent}?gate={set}");
    let change = json!({"model": "openai/fake"});
    let id = begun(&muster.us.patch(&format!("{gate}&min_correctness=1&wait=0"), change.clone()).await);
    muster.drain().await;
    let tried = muster.us.get(&format!("/v1/evaluations/{id}")).await.ok();
    let (figure, price) =
        (&tried["configurations"][0]["correctness"], &tried["configurations"][0]["price_per_correct_micro_usd"]);
    assert_eq!(figure, &json!(6.0 / 7.0));
    let (below, above) = (price.as_f64().unwrap().floor(), price.as_f64().unwrap().ceil());
    let same = format!("{gate}&gate_evaluation={id}");
    for query in [
        "min_correctness=0.8571428571428572".to_owned(),
        format!("min_correctness=0.1&max_price_per_correct_micro_usd={}", below - 1.0),
    ] {
        refused(muster.us.patch(&format!("{same}&{query}"), change.clone()).await);
    }
    let met = format!("min_correctness={figure}&max_price_per_correct_micro_usd={above}");
    assert_eq!(muster.us.patch(&format!("{same}&{met}"), change).await.ok()["version"], 2, "what is equal is met");
    assert_eq!(evaluations(&muster).await.len(), 1, "other thresholds need no other evaluation");
}

async fn a_change_whose_evaluation_has_not_ended_goes_on_with_it(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let before = all_of(&muster, &agent).await;
    let (path, change) = (format!("{agent}?gate={set}&min_correctness=0.8"), json!({"model": "openai/fake"}));
    let id = begun(&muster.us.patch(&format!("{path}&wait=0"), change.clone()).await);
    let again = format!("{path}&gate_evaluation={id}");
    for client in [&muster.us, &muster.another_process()] {
        assert_eq!(begun(&client.patch(&format!("{again}&wait=1"), change.clone()).await), id);
    }
    assert_eq!((all_of(&muster, &agent).await, evaluations(&muster).await.len()), (before, 1));
    muster.drain().await;
    let answer = muster.another_process().patch(&again, change.clone()).await;
    assert_eq!(answer.header("gate-evaluation"), id);
    let made = answer.ok();
    assert_eq!(made["version"], 2);
    // Whoever did not see the answer sends it again.
    assert_eq!(muster.us.patch(&again, change).await.ok(), made);
    assert_eq!((muster.us.get(&agent).await.ok(), evaluations(&muster).await.len()), (made, 1));
}

async fn only_an_evaluation_of_exactly_this_change_counts(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let (other_agent, other_set) = agent_and_set(&muster).await;
    let good = json!({"model": "openai/fake", "metadata": {"a": "b"}});
    let gate = |agent: &str, set: &str, rest: &str| format!("{agent}?gate={set}&min_correctness=0.8&{rest}");
    let id = begun(&muster.us.patch(&gate(&agent, &set, "wait=0"), good.clone()).await);
    // As good as that, but not of a gate.
    let fake = muster.us.agent("openai/fake").await;
    let plain = started(&muster.us, &set, json!([{"agent_id": fake}])).await.replace("/v1/evaluations/", "");
    muster.drain().await;
    let with = |id: &str| format!("gate_evaluation={id}");
    for change in [
        json!({"model": "openai/fake", "metadata": {"a": "c"}}),
        json!({"model": "openai/fake"}),
        json!({"model": "openai/fake", "metadata": {"a": "b"}, "system_prompt": "Be good."}),
        json!({"model": "openai/fake", "metadata": {"a": "b"}, "max_steps": 24}),
        json!({"model": "openai/fake", "metadata": {"a": "b"}, "inputs": [{"name": "x", "required": false}]}),
    ] {
        let answer = muster.us.patch(&gate(&agent, &set, &with(&id)), change.clone()).await;
        assert_eq!(answer.code_of(409), "conflict", "{change}");
    }
    let of_another = muster.us.patch(&gate(&other_agent, &set, &with(&id)), good.clone()).await;
    assert_eq!(of_another.code_of(409), "conflict", "an agent that says the same is another");
    assert_eq!(muster.us.patch(&gate(&agent, &set, &with(&plain)), good.clone()).await.code_of(409), "conflict");
    assert_eq!(muster.us.patch(&gate(&agent, &other_set, &with(&id)), good.clone()).await.param(), "gate_evaluation");
    assert_eq!(
        json!([muster.us.get(&agent).await.ok()["version"], muster.us.get(&other_agent).await.ok()["version"]]),
        json!([1, 1])
    );
    assert_eq!(muster.us.patch(&gate(&agent, &set, &with(&id)), good).await.ok()["version"], 2);
}

async fn an_agent_that_was_changed_meanwhile_stays_as_it_is(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let (path, change) = (format!("{agent}?gate={set}&min_correctness=0.8"), json!({"model": "openai/fake"}));
    let id = begun(&muster.us.patch(&format!("{path}&wait=0"), change.clone()).await);
    muster.drain().await;
    muster.us.patch(&agent, json!({"name": "other"})).await.ok();
    let again = format!("{path}&gate_evaluation={id}");
    assert_eq!(muster.us.patch(&again, change.clone()).await.code_of(409), "conflict");
    // What it says is what it said, and yet another version.
    muster.us.patch(&agent, json!({"name": "tester"})).await.ok();
    assert_eq!(muster.us.patch(&again, change.clone()).await.code_of(409), "conflict");
    assert_eq!(muster.us.get(&agent).await.ok()["version"], 3);
    muster.us.delete(&agent).await.status(204);
    assert_eq!(muster.us.patch(&again, change).await.code_of(404), "not_found");
}

async fn an_agent_that_is_changed_during_the_call_stays_as_it_is(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let path = format!("{agent}?gate={set}&min_correctness=0.8&wait=20");
    let gated = muster.us.patch(&path, json!({"model": "openai/fake"}));
    let meanwhile = async {
        muster.until("/v1/evaluations", |list| !list["data"].as_array().unwrap().is_empty()).await;
        let changed = muster.us.patch(&agent, json!({"name": "other"})).await.ok();
        muster.drain().await;
        changed
    };
    let (gated, changed) = tokio::join!(gated, meanwhile);
    assert_eq!(gated.code_of(409), "conflict");
    assert_eq!((changed["version"].clone(), muster.us.get(&agent).await.ok()), (json!(2), changed));
}

async fn an_evaluation_that_nobody_finished_lets_nothing_pass(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let change = json!({"model": "openai/fake"});
    let gate = |set: &str| format!("{agent}?gate={set}&min_correctness=0.1&max_price_per_correct_micro_usd=1000000");
    let cancelled = begun(&muster.us.patch(&format!("{}&wait=0", gate(&set)), change.clone()).await);
    muster.us.send("POST", &format!("/v1/evaluations/{cancelled}/cancel"), "").await;
    muster.drain().await;
    let again = format!("{}&gate_evaluation={cancelled}", gate(&set));
    let missed = refused(muster.us.patch(&again, change.clone()).await)["details"]["missed"].clone();
    assert_eq!(json!([missed[0]["reason"], missed[1]["reason"]]), json!(["cancelled", "cancelled"]));
    let gone = set_of(&muster.us, 3).await;
    let id = begun(&muster.us.patch(&format!("{}&wait=0", gate(&gone)), change.clone()).await);
    muster.us.delete(&format!("/v1/test_sets/{gone}")).await.status(204);
    muster.drain().await;
    let again = format!("{}&gate_evaluation={id}", gate(&gone));
    let missed = refused(muster.us.patch(&again, change).await)["details"]["missed"].clone();
    for one in missed.as_array().unwrap() {
        assert_eq!(json!([one["figure"], one["reason"]]), json!([null, "test_set_deleted"]));
    }
    assert_eq!((missed.as_array().unwrap().len(), &muster.us.get(&agent).await.ok()["version"]), (2, &json!(1)));
}

async fn what_makes_no_gate_is_refused_with_its_field(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let before = all_of(&muster, &agent).await;
    let gate = format!("gate={set}");
    for (query, param) in [
        (gate.clone(), "min_correctness"),
        (format!("{gate}&max_concurrency=2"), "min_correctness"),
        (format!("{gate}&min_correctness=0"), "min_correctness"),
        (format!("{gate}&min_correctness=-0.5"), "min_correctness"),
        (format!("{gate}&min_correctness=1.01"), "min_correctness"),
        (format!("{gate}&min_correctness=NaN"), "min_correctness"),
        (format!("{gate}&min_correctness=inf"), "min_correctness"),
        (format!("{gate}&min_correctness=most"), "min_correctness"),
        (format!("{gate}&min_correctness=0.5&min_correctness=0.6"), "min_correctness"),
        (format!("{gate}&max_price_per_correct_micro_usd=5"), "min_correctness"),
        (format!("{gate}&min_correctness=0.5&max_price_per_correct_micro_usd=0"), "max_price_per_correct_micro_usd"),
        (format!("{gate}&max_price_per_correct_micro_usd=1.5"), "max_price_per_correct_micro_usd"),
        (format!("{gate}&max_price_per_correct_micro_usd=-1"), "max_price_per_correct_micro_usd"),
        (format!("{gate}&min_correctness=0.5&max_concurrency=0"), "max_concurrency"),
        (format!("{gate}&min_correctness=0.5&max_concurrency=10001"), "max_concurrency"),
        (format!("{gate}&min_correctness=0.5&budget_micro_usd=0"), "budget_micro_usd"),
        (format!("{gate}&min_correctness=0.5&wait=26"), "wait"),
        (format!("{gate}&min_correctness=0.5&wait=x"), "wait"),
        (format!("{gate}&min_correctness=0.5&colour=red"), "colour"),
        ("min_correctness=0.5".to_owned(), "min_correctness"),
        ("max_price_per_correct_micro_usd=5".to_owned(), "max_price_per_correct_micro_usd"),
        ("max_concurrency=5".to_owned(), "max_concurrency"),
        ("budget_micro_usd=5".to_owned(), "budget_micro_usd"),
        ("gate_evaluation=x".to_owned(), "gate_evaluation"),
        ("wait=5".to_owned(), "wait"),
    ] {
        let answer = muster.us.patch(&format!("{agent}?{query}"), json!({"model": "openai/fake"})).await;
        assert_eq!(answer.param(), param, "{query}");
    }
    let all = muster.us.patch(&format!("{agent}?wait=5&min_correctness=1"), json!({})).await.status(400);
    assert_eq!(all["error"]["details"]["problems"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!((all_of(&muster, &agent).await, evaluations(&muster).await.len()), (before, 0));
}

async fn what_cannot_be_tried_is_refused_before_anything_starts(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let before = all_of(&muster, &agent).await;
    let empty = set_of(&muster.us, 0).await;
    let judged = json!({"message": "m", "validations": [{"llm_v0": {"llm0": {"llm_criteria": "c"}}}]});
    let judged = muster.us.post("/v1/test_sets", json!({"name": "judged", "items": [judged]})).await.status(201);
    let judged = text(&judged, "id");
    for (set, change, rest, param) in [
        (&set, json!({"name": ""}), "", "name"),
        (&set, json!({"model": "acme/x"}), "", "model"),
        (&set, json!({"colour": 1}), "", "colour"),
        (&set, json!({"tools": [{"type": "http"}]}), "", "tools[0].name"),
        (&set, json!({"inputs": [{"name": "city"}]}), "", "gate"),
        (&set, json!({"model": "openai/fake-l1"}), "&budget_micro_usd=5", "budget_micro_usd"),
        (&empty, json!({"model": "openai/fake"}), "", "gate"),
        (&judged, json!({"model": "demo/scripted-l0"}), "", "gate"),
    ] {
        let path = format!("{agent}?gate={set}&min_correctness=0.5{rest}");
        let answer = muster.us.patch(&path, change.clone()).await;
        assert_eq!(answer.param(), param, "{change}");
    }
    assert_eq!((all_of(&muster, &agent).await, evaluations(&muster).await.len()), (before, 0));
}

async fn a_gate_needs_both_scopes(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let path = format!("{agent}?gate={set}&min_correctness=0.8&wait=0");
    for (has, lacks) in [("agents:write", "runs:write"), ("runs:write", "agents:write"), ("runs:read", "agents:write")]
    {
        let client = muster.us.new_key(json!({"scopes": [has]})).await;
        for body in [json!({"model": "openai/fake"}).to_string(), "{".to_owned()] {
            let error = client.send("PATCH", &path, body).await.status(403)["error"].clone();
            assert_eq!(error["details"]["missing_scopes"], json!([lacks]), "{has}");
        }
    }
    assert_eq!(evaluations(&muster).await.len(), 0);
    let both = muster.us.new_key(json!({"scopes": ["agents:write", "runs:write"]})).await;
    let id = begun(&both.patch(&path, json!({"model": "openai/fake"})).await);
    muster.drain().await;
    let made = both.patch(&format!("{path}&gate_evaluation={id}"), json!({"model": "openai/fake"})).await.ok();
    assert_eq!(made["version"], 2);
}

async fn ids_of_others_are_not_found(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let change = json!({"model": "openai/fake"});
    let id = begun(&muster.us.patch(&format!("{agent}?gate={set}&min_correctness=0.8&wait=0"), change.clone()).await);
    let them = muster.them.with("x-request-id", "same");
    let theirs = format!("/v1/agents/{}", them.agent("demo/scripted").await);
    let their_set = set_of(&them, 3).await;
    let unknown = "019a2b3c-4d5e-7f60-8123-456789abcdef";
    let gate = |agent: &str, set: &str, rest: &str| format!("{agent}?gate={set}&min_correctness=0.8{rest}");
    let cases = [
        (
            gate(&theirs, &set, ""),
            [format!("ts_{unknown}"), "x".to_owned(), format!("agent_{unknown}")].map(|set| gate(&theirs, &set, "")),
        ),
        (
            gate(&theirs, &their_set, &format!("&gate_evaluation={id}")),
            [format!("eval_{unknown}"), "x".to_owned(), format!("ts_{unknown}")]
                .map(|id| gate(&theirs, &their_set, &format!("&gate_evaluation={id}"))),
        ),
        (
            gate(&agent, &their_set, ""),
            [format!("agent_{unknown}"), "x".to_owned(), format!("run_{unknown}")]
                .map(|id| gate(&format!("/v1/agents/{id}"), &their_set, "")),
        ),
    ];
    for (foreign, others) in cases {
        let foreign = them.patch(&foreign, change.clone()).await;
        for other in others {
            let unknown = them.patch(&other, change.clone()).await;
            assert_eq!((foreign.code, unknown.code, &foreign.text), (404, 404, &unknown.text), "{other}");
        }
    }
    assert_eq!(them.get("/v1/evaluations").await.ok()["data"], json!([]));
    assert_eq!(
        json!([them.get(&theirs).await.ok()["version"], muster.us.get(&agent).await.ok()["version"]]),
        json!([1, 1])
    );
}

async fn a_change_that_changes_nothing_is_not_tried(muster: Muster) {
    let (agent, set) = agent_and_set(&muster).await;
    let first = muster.us.get(&agent).await.ok();
    for change in [json!({}), json!({"model": "demo/scripted", "name": "tester"})] {
        let answer = muster.us.patch(&format!("{agent}?gate={set}&min_correctness=1"), change).await;
        assert_eq!((answer.header("gate-evaluation"), answer.body.clone()), ("", first.clone()));
        assert_eq!(answer.code, 200);
    }
    let unknown = format!("ts_{}", uuid::Uuid::nil());
    muster.us.patch(&format!("{agent}?gate={unknown}&min_correctness=1"), json!({})).await.status(404);
    assert_eq!(evaluations(&muster).await.len(), 0);
}

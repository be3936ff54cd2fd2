//! Models that fail: what is tried again, what it costs, what a run says of it.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_call_that_fails_is_tried_again_and_counted,
    a_call_that_is_cut_off_is_counted_as_it_may_be_billed,
    an_answer_without_sense_is_tried_again,
    a_model_that_keeps_failing_ends_the_run,
    a_refusal_ends_the_run_with_its_reason,
    a_used_up_quota_ends_the_run,
    a_run_waits_as_long_as_the_provider_asks,
    a_short_wait_is_a_wait_too_and_ends_in_the_next_model,
    what_failed_is_written_before_the_next_attempt,
    a_waiting_run_is_cancelled_at_once,
    a_model_that_takes_too_long_is_given_up_and_tried_again,
    an_answer_that_is_cut_short_ends_well_with_a_reason,
    a_batch_counts_what_failed,
    runs_of_a_model_that_keeps_failing_wait_instead_of_failing,
);

/// The run of one message, ended, and its explanation.
async fn ended(muster: &Muster, model: &str) -> (Value, Value) {
    let agent = muster.us.agent(model).await;
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "hello").await);
    muster.drain().await;
    (muster.us.get(&path).await.ok(), muster.us.get(&format!("{path}/explain")).await.ok())
}

fn outcomes(explained: &Value) -> Vec<String> {
    explained["attempts"].as_array().unwrap().iter().map(|attempt| text(attempt, "outcome")).collect()
}

async fn a_call_that_fails_is_tried_again_and_counted(muster: Muster) {
    let (run, explained) = ended(&muster, "openai/fake-e1").await;
    assert_eq!(json!([run["status"], run["usage"]["model_calls"]]), json!(["done", 2]));
    assert_eq!(outcomes(&explained), ["busy", "answered"]);
    let failed = &explained["attempts"][0];
    assert_eq!(json!([failed["cost_micro_usd"], failed["estimated"], failed["step"]]), json!([0, false, 1]));
    assert!(text(failed, "message").contains("500"));
    let (input, output) = (run["usage"]["input_tokens"].as_u64(), run["usage"]["output_tokens"].as_u64());
    assert_eq!(run["cost_micro_usd"].as_u64(), Some(input.unwrap() + 2 * output.unwrap()));
    assert_eq!(muster.models.calls_with("hello"), 2);
}

async fn a_call_that_is_cut_off_is_counted_as_it_may_be_billed(muster: Muster) {
    let (run, explained) = ended(&muster, "openai/fake-r1").await;
    assert_eq!(json!([run["status"], run["usage"]["model_calls"]]), json!(["done", 2]));
    assert_eq!(outcomes(&explained), ["broken", "answered"]);
    let lost = &explained["attempts"][0];
    assert_eq!((&lost["estimated"], &lost["output_tokens"]), (&json!(true), &json!(4_096)), "as many as it may write");
    assert_eq!(run["cost_micro_usd"], Value::Null, "its price is not known");
}

async fn an_answer_without_sense_is_tried_again(muster: Muster) {
    let (run, explained) = ended(&muster, "openai/fake-g1").await;
    assert_eq!(
        (&run["status"], outcomes(&explained)),
        (&json!("done"), vec!["incomprehensible".into(), "answered".into()])
    );
}

async fn a_model_that_keeps_failing_ends_the_run(muster: Muster) {
    let (run, explained) = ended(&muster, "openai/fake-e9-x503").await;
    let seen = json!([run["status"], run["reason"], run["usage"]["model_calls"], run["result"]]);
    assert_eq!(seen, json!(["error", "model_error", 4, null]));
    assert!(text(&run, "error").contains("503"));
    assert_eq!(outcomes(&explained), ["busy"; 4]);
    assert!(text(&explained, "explanation").starts_with("ended with model_error: HTTP 503"));
}

async fn a_refusal_ends_the_run_with_its_reason(muster: Muster) {
    for status in [400, 401, 404] {
        let (run, explained) = ended(&muster, &format!("openai/fake-e9-x{status}")).await;
        let seen = json!([run["status"], run["reason"], run["usage"]["model_calls"]]);
        assert_eq!(seen, json!(["error", "model_error", 1]), "{status}");
        assert!(text(&run, "error").contains(&status.to_string()));
        assert_eq!(outcomes(&explained), ["refused"]);
    }
}

async fn a_used_up_quota_ends_the_run(muster: Muster) {
    let (run, explained) = ended(&muster, "openai/fake-q").await;
    let seen = json!([run["status"], run["reason"], run["usage"]["model_calls"]]);
    assert_eq!(seen, json!(["error", "provider_quota", 1]));
    assert_eq!(outcomes(&explained), ["quota"]);
}

async fn a_run_waits_as_long_as_the_provider_asks(muster: Muster) {
    let (run, explained) = ended(&muster, "openai/fake-e1-x429-a90").await;
    let path = format!("/v1/runs/{}", text(&run, "id"));
    let seen = json!([run["status"], run["reason"], run["terminal"], run["error"]]);
    assert_eq!(seen, json!(["waiting", "provider_rate_limit", false, null]));
    assert!(text(&explained, "waits_until") > muster.in_ms(85_000));
    assert!(text(&explained, "explanation").contains("provider_rate_limit"));
    assert_eq!(outcomes(&explained), ["rate_limited"]);
    muster.pass(60_000);
    assert_eq!(muster.reap().await.asked, 0);
    muster.pass(31_000);
    assert_eq!(muster.reap().await.asked, 1);
    muster.drain().await;
    let run = muster.us.get(&path).await.ok();
    let seen = json!([run["status"], run["reason"], run["usage"]["model_calls"]]);
    assert_eq!(seen, json!(["done", null, 2]));
}

async fn a_short_wait_is_a_wait_too_and_ends_in_the_next_model(muster: Muster) {
    let body = json!({"name": "a", "model": "openai/fake-e9-x429-a2", "fallback_models": ["openai/fake"]});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "hello").await);
    for waits in 1..=3 {
        muster.drain().await;
        let explained = muster.us.get(&format!("{path}/explain")).await.ok();
        let seen = json!([explained["status"], explained["reason"], explained["in_flight"], explained["hops"]]);
        assert_eq!(seen, json!(["waiting", "provider_rate_limit", null, 0]));
        assert_eq!(outcomes(&explained), vec!["rate_limited"; waits]);
        assert!(text(&explained, "explanation").contains("openai/fake-e9-x429-a2 is not called before then"));
        assert!(
            explained["waits_until"].is_string() && explained["cost_micro_usd"].is_null()
                || explained["cost_micro_usd"] == 0
        );
        muster.lose_messages().await;
        muster.pass(3_000);
        muster.reap().await;
    }
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    assert_eq!(
        (&ended["status"], outcomes(&explained).len()),
        (&json!("done"), 5),
        "after four tries another model is asked"
    );
}

async fn what_failed_is_written_before_the_next_attempt(muster: Muster) {
    let agent = muster.us.agent("openai/fake-e3-x500").await;
    let run = muster.us.run(&agent, "hello").await;
    let chunk = muster.receive().await;
    let dying = shared::engine::work_on(&muster.app, chunk, None);
    let seen = async {
        let explain = format!("/v1/runs/{run}/explain");
        muster.until(&explain, |seen| seen["attempts"].as_array().is_some_and(|made| !made.is_empty())).await
    };
    // It dies in a pause, or in the next call.
    let seen = tokio::select! { seen = seen => seen, _ = dying => panic!("it was not seen between two calls") };
    assert_eq!((outcomes(&seen)[0].as_str(), &seen["attempts"][0]["cost_micro_usd"]), ("busy", &json!(0)));
    assert!(
        text(&seen, "explanation").contains("the last call of openai/fake-e3-x500 failed")
            || seen["in_flight"].is_object()
    );
}

async fn a_waiting_run_is_cancelled_at_once(muster: Muster) {
    let (run, _) = ended(&muster, "openai/fake-e1-x429-a90").await;
    let cancelled = muster.us.send("POST", &format!("/v1/runs/{}/cancel", text(&run, "id")), "").await.ok();
    assert_eq!(json!([cancelled["status"], cancelled["reason"]]), json!(["interrupted", "cancelled"]));
}

async fn a_model_that_takes_too_long_is_given_up_and_tried_again(muster: Muster) {
    let agent = muster.us.agent("openai/fake-l11000").await;
    let body = json!({"message": "slow", "deadline": muster.in_ms(14_000)});
    let run = muster.us.post(&format!("/v1/agents/{agent}/runs"), body).await.status(202);
    muster.drain().await;
    let path = format!("/v1/runs/{}", text(&run, "id"));
    let run = muster.us.get(&path).await.ok();
    assert_eq!(json!([run["status"], run["reason"]]), json!(["error", "deadline"]));
    let explained = muster.us.get(&format!("{path}/explain")).await.ok();
    assert_eq!(outcomes(&explained)[0], "broken");
    assert!(text(&explained["attempts"][0], "message").contains("within 10000 ms"));
}

async fn an_answer_that_is_cut_short_ends_well_with_a_reason(muster: Muster) {
    let body = json!({"name": "a", "model": "openai/fake-o50", "max_tokens": 5});
    let agent = text(&muster.us.post("/v1/agents", body).await.status(201), "id");
    let path = format!("/v1/runs/{}", muster.us.run(&agent, "a").await);
    muster.drain().await;
    let run = muster.us.get(&path).await.ok();
    assert_eq!(json!([run["status"], run["reason"], run["usage"]["output_tokens"]]), json!(["done", "max_tokens", 5]));
}

async fn a_batch_counts_what_failed(muster: Muster) {
    let agent = muster.us.agent("openai/fake-e9-x400").await;
    let body = json!({"items": [{"message": "a", "custom_id": "x"}, {"message": "b"}]});
    let batch = muster.us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    let path = format!("/v1/batches/{}", text(&batch, "id"));
    muster.drain().await;
    let ended = muster.us.get(&path).await.ok();
    assert_eq!(json!([ended["status"], ended["counts"]["error"], ended["cost_micro_usd"]]), json!(["done", 2, 0]));
    let results = muster.us.get(&format!("{path}/results")).await.ok();
    let first = &results["data"][0];
    assert_eq!(json!([first["status"], first["reason"], first["result"]]), json!(["error", "model_error", null]));
    muster.us.patch(&format!("/v1/agents/{agent}"), json!({"model": "demo/scripted-l0"})).await.ok();
    let again = muster.us.send("POST", &format!("{path}/retry"), "").await.status(202);
    muster.drain().await;
    let again = muster.us.get(&format!("/v1/batches/{}", text(&again, "id"))).await.ok();
    assert_eq!(json!([again["items"], again["counts"]["done"]]), json!([2, 2]));
}

async fn runs_of_a_model_that_keeps_failing_wait_instead_of_failing(muster: Muster) {
    let agent = muster.us.agent("openai/fake-e99-x503").await;
    let mut runs = Vec::new();
    for number in 0..12 {
        runs.push(muster.us.run(&agent, &format!("hello {number}")).await);
    }
    muster.drain().await;
    let mut waiting = Vec::new();
    for run in &runs {
        let run = muster.us.get(&format!("/v1/runs/{run}")).await.ok();
        if run["status"] == "waiting" {
            waiting.push(text(&run, "id"));
        } else {
            assert_eq!(json!([run["status"], run["usage"]["model_calls"]]), json!(["error", 4]));
        }
    }
    assert!(waiting.len() >= 7, "{}", waiting.len());
    // Twenty, and those that were under way when it opened.
    assert!((20..40).contains(&muster.models.stats().calls), "{}", muster.models.stats().calls);
    let explained = muster.us.get(&format!("/v1/runs/{}/explain", waiting[0])).await.ok();
    assert_eq!(explained["reason"], "circuit_open");
    assert!(text(&explained, "explanation").contains("openai/fake-e99-x503"));
    assert!(outcomes(&explained).iter().all(|outcome| outcome == "busy"), "what was not sent is no attempt");
}

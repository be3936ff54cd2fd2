//! Validations that compare answers with sentences. The model server's embeddings count words, so likeness and cost are known beforehand.

use model_server::Format;
use serde_json::{Value, json};
use shared::model::settings::Settings;

use super::{
    evaluations::{cells, started, verdicts},
    judged::{asked_once_whatever_is_lost, case, ended, evaluation, judge, set, tokens, why_not},
};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    what_is_alike_enough_passes_and_is_booked_apart,
    one_batch_judges_and_compares,
    a_completion_of_the_same_words_is_another_agent,
    a_validation_may_name_what_compares,
    what_cannot_be_compared_is_a_miss_that_says_why,
    the_scripted_model_compares_its_own_answers_by_their_words,
    a_comparison_whose_message_is_lost_is_made_once,
    what_nobody_may_compare_is_refused_at_the_start,
);

fn alike(sentence: &str, threshold: f64) -> Value {
    json!({"semantic_similarity": {"sentence": sentence, "threshold": threshold}})
}

fn alike_by(provider: &str, model: &str) -> Value {
    let model = json!({"provider_id": provider, "model_name": model});
    json!({"semantic_similarity": {"sentence": "Oslo in rain", "threshold": 0.9, "model_reference": model}})
}

async fn what_is_alike_enough_passes_and_is_booked_apart(muster: Muster) {
    let muster = muster.with_embeddings("openai/fake");
    let cases = json!([
        case("rain in Oslo", &[alike("Oslo in rain", 1.0)]),
        case("a b", &[alike("a c", 0.5)]),
        case("a b", &[alike("a c", 0.51)]),
        case("a b", &[alike("c d", 0.0)]),
        case("a b", &[alike("c d", 0.01)]),
        case("d", &[json!({"exact": {"expected": "d"}})]),
    ]);
    let path = evaluation(&muster, cases, &["openai/fake", "openai/fake-q"]).await;
    muster.drain().await;
    assert_eq!(muster.us.get(&path).await.ok()["status"], "judging");
    let ended = ended(&muster, &path).await;
    let all = cells(&muster.us, &path, 100).await;
    let first: Vec<Value> = all.iter().step_by(2).cloned().collect();
    assert_eq!(verdicts(&first), ["correct", "correct", "wrong", "correct", "wrong", "correct"]);
    assert_eq!(why_not(&first[2], 0), "the similarity is 0.5000, and 0.51 passes");
    assert_eq!(why_not(&first[4], 0), "the similarity is 0.0000, and 0.01 passes");
    let sent = muster.models.last(Format::OpenAi).unwrap();
    assert_eq!(sent.path, "/v1/embeddings");
    // What comparing cost is what the model server billed and the agent's runs did not use; nothing is billed for an output.
    let stats = muster.models.stats();
    let (input, output) = tokens(&first);
    let cost = stats.input_tokens - input;
    assert_eq!((stats.output_tokens, cost > 0), (output, true));
    let told = &ended["configurations"];
    let costs = json!([told[0]["judge_cost_micro_usd"], told[1]["judge_cost_micro_usd"], told[0]["cost_micro_usd"]]);
    assert_eq!(costs, json!([cost, 0, input + 2 * output]));
    let used = muster.us.get("/v1/usage?group_by=purpose").await.ok();
    let judge = used["data"].as_array().unwrap().iter().find(|entry| entry["purpose"] == "judge").unwrap().clone();
    assert_eq!(json!([judge["model_calls"], judge["cost_micro_usd"]]), json!([5, cost]));
}

async fn one_batch_judges_and_compares(muster: Muster) {
    let muster = muster.with_embeddings("openai/fake").with_judge("openai/fake-y");
    let cases: Vec<Value> = (0..120)
        .map(|n| case(&format!("Oslo {n}"), &[judge("Oslo"), alike(&format!("{n} Oslo"), 0.99), judge("8")]))
        .collect();
    let path = evaluation(&muster, json!(cases), &["openai/fake"]).await;
    let ended = ended(&muster, &path).await;
    assert_eq!(json!([ended["status"], ended["configurations"][0]["correct"]]), json!(["done", 120]));
    let batch = format!("/v1/batches/{}", text(&ended["configurations"][0], "judge_batch_id"));
    let batch = muster.us.get(&batch).await.ok();
    assert_eq!(json!([batch["items"], batch["counts"]["done"]]), json!([360, 360]));
    assert_eq!(muster.models.stats().calls, 480);
}

async fn a_completion_of_the_same_words_is_another_agent(muster: Muster) {
    let muster = muster.with_embeddings("openai/fake");
    let model = json!({"provider_id": "openai", "model_name": "fake"});
    let body = json!({"prompt": "hello", "preamble": "similarity", "model_ref": model});
    muster.us.post("/api/v1/completions", body).await.ok();
    let path =
        evaluation(&muster, json!([case("rain in Oslo", &[alike("Oslo in rain", 1.0)])]), &["openai/fake"]).await;
    assert_eq!(ended(&muster, &path).await["configurations"][0]["correct"], 1);
}

async fn a_validation_may_name_what_compares(muster: Muster) {
    let url = format!("http://{}", muster.models.addr());
    let ours = json!({"id": "ours", "name": "n", "type": "openai", "custom_url": url, "available_models": ["fake"]});
    muster.us.post("/api/v1/providers", ours).await.status(201);
    let cases = json!([
        case("rain in Oslo", &[alike_by("ours", "fake")]),
        case("rain in Rome", &[alike_by("openai", "fake")]),
        case("rain in Oslo", &[alike_by("openai", "fake-e1")]),
    ]);
    let path = evaluation(&muster, cases, &["openai/fake"]).await;
    let told = ended(&muster, &path).await;
    let all = cells(&muster.us, &path, 100).await;
    assert_eq!(verdicts(&all), ["correct", "wrong", "correct"]);
    let costs: Vec<bool> = all.iter().map(|cell| cell["judge_cost_micro_usd"].is_null()).collect();
    assert_eq!(costs, [true, false, false], "nobody knows what a provider with an address of its own costs");
    assert_eq!(told["judge_cost_micro_usd"], Value::Null);
    assert!(told["configurations"][0]["price_per_correct_micro_usd"].as_f64().unwrap() > 0.0);
    assert_eq!(muster.models.stats().calls, 3 + 4, "what failed once was asked for again");
}

async fn what_cannot_be_compared_is_a_miss_that_says_why(mut muster: Muster) {
    for (model, why) in [
        ("openai/fake-e99-x401", "could not be judged: model_error: "),
        ("openai/fake-q", "could not be judged: provider_quota: "),
    ] {
        muster = muster.with_embeddings(model);
        let path = evaluation(&muster, json!([case("Oslo", &[alike("Oslo", 0.5)])]), &["openai/fake"]).await;
        ended(&muster, &path).await;
        let all = cells(&muster.us, &path, 100).await;
        assert_eq!(json!([all[0]["output"], all[0]["verdict"]]), json!(["Oslo", "wrong"]));
        assert!(why_not(&all[0], 0).starts_with(why), "{all:?}");
    }
}

async fn the_scripted_model_compares_its_own_answers_by_their_words(muster: Muster) {
    let muster = muster.with_models(Settings::from_lookup(|_| None));
    let cases = json!([
        {"message": "hello", "validations": [alike("scripted demo answer", 0.0)]},
        {"message": "hello", "validations": [alike("zygote", 1.0)]},
    ]);
    let path = evaluation(&muster, cases, &["demo/scripted-l0"]).await;
    ended(&muster, &path).await;
    let all = cells(&muster.us, &path, 100).await;
    assert_eq!(verdicts(&all), ["correct", "wrong"]);
    assert!(all[0]["judge_cost_micro_usd"].as_u64().unwrap() > 0, "a nominal price");
}

async fn a_comparison_whose_message_is_lost_is_made_once(muster: Muster) {
    let muster = muster.with_embeddings("openai/fake");
    asked_once_whatever_is_lost(&muster, |n| alike(&format!("{n} Oslo"), 0.99)).await;
}

async fn what_nobody_may_compare_is_refused_at_the_start(muster: Muster) {
    let cases = set(&muster, json!([case("a", &[alike("a", 0.5)])])).await;
    let named = set(&muster, json!([case("a", &[alike_by("openai", "fake")])])).await;
    let path = |set: &str| format!("/v1/test_sets/{set}/evaluations");
    let (scripted, other) = (muster.us.agent("demo/scripted-l0").await, muster.us.agent("openai/fake").await);
    let body = json!({"configurations": [{"agent_id": scripted}, {"agent_id": other}]});
    let refused = muster.us.post(&path(&cases), body.clone()).await;
    let message = text(&refused.body["error"], "message");
    assert!(message.ends_with("where a validation names none: MUSTER_EMBEDDING_MODEL is not set"), "{message}");
    assert_eq!(refused.param(), "configurations[1]");
    assert_eq!(muster.us.get("/v1/evaluations").await.ok()["data"], json!([]));
    let ours = json!({"id": "acme", "name": "n", "type": "anthropic", "api_key": "k", "available_models": ["claude"]});
    muster.us.post("/api/v1/providers", ours).await.status(201);
    let without = set(&muster, json!([case("a", &[alike_by("acme", "claude")])])).await;
    let refused = muster.us.post(&path(&without), json!({"configurations": [{"agent_id": other}]})).await;
    let message = text(&refused.body["error"], "message");
    assert!(message.ends_with("compares by 'acme/claude', whose provider has no embeddings"), "{message}");
    assert_eq!(refused.param(), "test_set_id");
    let path = started(&muster.us, &named, body["configurations"].clone()).await;
    assert_eq!(ended(&muster, &path).await["status"], "done", "who names a model needs no other");
}

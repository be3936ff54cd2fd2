//! Limits per key: requests a minute, and requests in flight.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    over_its_rate_a_key_is_told_when_to_come_back,
    what_is_left_of_a_rate_counts_down,
    a_key_without_a_limit_has_none,
    over_its_places_in_flight_a_key_is_refused,
    a_place_is_given_back_however_a_request_ends,
    keys_do_not_share_their_limits,
    what_is_below_the_limit_passes_also_all_at_once,
);

async fn over_its_rate_a_key_is_told_when_to_come_back(muster: Muster) {
    let key = muster.us.new_key(json!({"requests_per_minute": 15})).await;
    // A fifth of a minute's requests may come at once.
    for left in [2, 1, 0] {
        let answer = key.get("/v1/limits").await;
        assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=15;w=60");
        assert!(answer.header("ratelimit").starts_with(&format!("\"requests\";r={left};t=")), "{:?}", answer.headers);
        answer.ok();
    }
    let refused = key.get("/v1/limits").await;
    let wait_s: i64 = refused.header("retry-after").parse().unwrap();
    assert!((3..=4).contains(&wait_s), "{wait_s}");
    let error = refused.status(429)["error"].clone();
    assert_eq!(json!([error["code"], error["retryable"]]), json!(["rate_limited", true]));
    assert_eq!(error["details"]["limit"], "15 requests per minute");
    muster.pass(wait_s * 1_000);
    key.get("/v1/limits").await.ok();
    muster.pass(60_000);
    for _ in 0..3 {
        key.get("/v1/limits").await.ok();
    }
}

async fn what_is_left_of_a_rate_counts_down(muster: Muster) {
    let key = muster.us.new_key(json!({"requests_per_minute": 100})).await;
    let mut last = 20;
    for _ in 0..12 {
        let answer = key.get("/v1/limits").await;
        let left = answer.header("ratelimit").split(['=', ';']).nth(2).unwrap().parse::<i64>().unwrap();
        assert!((last - 1..=last + 5).contains(&left), "{left} after {last}");
        last = left;
    }
    assert!(last <= 13, "{last}");
}

async fn a_key_without_a_limit_has_none(muster: Muster) {
    let key = muster.us.new_key(json!({"requests_per_minute": 0, "in_flight": 0})).await;
    for _ in 0..20 {
        let answer = key.get("/v1/limits").await;
        assert_eq!(answer.header("ratelimit"), "");
        answer.ok();
    }
}

async fn over_its_places_in_flight_a_key_is_refused(muster: Muster) {
    let muster = muster.at_work();
    let agent = muster.us.agent("demo/scripted-l1000").await;
    let key = muster.us.new_key(json!({"in_flight": 2})).await;
    let path = format!("/v1/agents/{agent}/runs?wait=20");
    let answers = join_all((0..5).map(|_| key.post(&path, json!({"message": "a"})))).await;
    let passed = answers.iter().filter(|answer| answer.code == 200).count();
    assert_eq!(passed, 2);
    for refused in answers.into_iter().filter(|answer| answer.code != 200) {
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.status(429)["error"]["details"]["limit"], "2 requests in flight");
    }
    let answers = join_all((0..2).map(|_| key.post(&path, json!({"message": "a"})))).await;
    assert!(answers.iter().all(|answer| answer.code == 200), "the places are free again");
}

async fn a_place_is_given_back_however_a_request_ends(muster: Muster) {
    let key = muster.us.new_key(json!({"in_flight": 1, "scopes": ["runs:read"]})).await;
    for (path, status) in [
        ("/v1/runs", 200),
        ("/v1/agents", 403),
        ("/v1/runs/1", 404),
        ("/v1/runs?limit=0", 400),
        ("/v1/runs?limit=1", 200),
    ] {
        assert_eq!(key.get(path).await.code, status, "{path}");
    }
}

async fn keys_do_not_share_their_limits(muster: Muster) {
    let one = muster.us.new_key(json!({"requests_per_minute": 1})).await;
    let made = muster.us.post("/v1/keys", json!({"requests_per_minute": 1})).await.status(201);
    let other = muster.us.with_key(&text(&made, "key"));
    one.get("/v1/limits").await.ok();
    assert_eq!(one.get("/v1/limits").await.code, 429);
    other.get("/v1/limits").await.ok();
    let refused: Value = other.get("/v1/limits").await.status(429);
    assert_eq!(refused["error"]["type"], "rate_limit");
}

async fn what_is_below_the_limit_passes_also_all_at_once(muster: Muster) {
    // A fifth of the limit may come at once: 60, to one process that counts for itself or that shares the store with others.
    let key = muster.us.new_key(json!({"requests_per_minute": 300})).await;
    let answers = join_all((0..55).map(|_| key.get("/v1/limits"))).await;
    assert!(answers.iter().all(|answer| answer.code == 200), "{answers:?}");
    // As Lambda does: each to a process of its own, which has just begun.
    let key = muster.us.new_key(json!({"requests_per_minute": 6_000})).await;
    let processes: Vec<_> = (0..50).map(|_| muster.another_process().with_key(&key.key())).collect();
    let answers = join_all(processes.iter().map(|process| process.get("/v1/limits"))).await;
    assert!(answers.iter().all(|answer| answer.code == 200), "{answers:?}");
}

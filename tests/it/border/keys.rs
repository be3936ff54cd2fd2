//! Keys that are none: every call refuses them alike, and without asking the store where their form tells.

use functions::Surface;
use serde_json::json;

use super::{
    calls,
    things::{Kind, Things},
};
use crate::{
    dynamo::Database,
    harness::{Client, Muster, asked, on_every_backend},
};

on_every_backend!(a_key_that_does_not_hold_opens_nothing);

async fn a_key_that_does_not_hold_opens_nothing(muster: Muster) {
    let things = Things::made(&muster.us, "OURS").await;
    let revoked = muster.us.new_key(json!({})).await;
    revoked.get("/v1/limits").await.ok();
    let id = muster.us.get("/v1/keys?limit=1").await.ok()["data"][0]["id"].as_str().unwrap().to_owned();
    muster.us.delete(&format!("/v1/keys/{id}")).await.ok();
    let expired = muster.us.new_key(json!({"expires_at": muster.in_ms(60_000)})).await;
    expired.get("/v1/limits").await.ok();
    muster.pass(60_001);
    let elsewhere = Muster::on_sqlite().await.us.key();
    let good = muster.us.key();
    let mistyped = good[..good.len() - 1].to_owned() + if good.ends_with('x') { "y" } else { "x" };
    let plain = |value: &str| muster.us.nobody().with("authorization", value);
    let all: [(&str, Client); 9] = [
        ("none", muster.us.nobody()),
        ("of another scheme", plain(&format!("Basic {good}"))),
        ("without a scheme", plain(&good)),
        ("empty", plain("Bearer ")),
        ("malformed", muster.us.with_key("x")),
        ("mistyped", muster.us.with_key(&mistyped)),
        ("unknown", muster.us.with_key(&elsewhere)),
        ("revoked", revoked),
        ("expired", expired),
    ];
    for call in calls::with_key() {
        let mut first = None;
        for (what, client) in &all {
            let answer = call.request().send(&client.with("x-request-id", "same"), &things, "").await;
            assert_eq!((answer.code, answer.header("www-authenticate")), (401, "Bearer"), "{} {what}", call.name);
            let first = first.get_or_insert_with(|| answer.text.clone());
            assert_eq!(&answer.text, first, "{} says why a key that is {what} does not hold", call.name);
        }
    }
    let agent = things.text(Kind::Agent, Surface::Native).unwrap();
    muster.us.get(&format!("/v1/agents/{agent}")).await.ok();
}

/// `MUSTER_TEST_LONG=1` has 100,000 of them.
#[tokio::test]
async fn a_key_of_the_wrong_form_is_refused_without_the_store() {
    let muster = Muster::on_dynamo().await;
    let keys = if asked("MUSTER_TEST_LONG").is_some() { 100_000 } else { 3_000 };
    let good = muster.us.key();
    let database: &Database = muster.kept();
    database.line.take_calls();
    let mut seed = 7_u64;
    let mut random = move |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % end
    };
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for n in 0..keys {
        // Of any length; of the right form but for the checksum; or a good one with one letter changed.
        let letters = if n % 3 == 0 { random(100) } else { 49 };
        let mut key = String::from("ag_live_");
        key.extend((0..letters).map(|_| char::from(LETTERS[random(62)])));
        if n % 3 == 2 {
            let at = 8 + random(49);
            let other = if good.as_bytes()[at] == b'x' { "y" } else { "x" };
            key = format!("{}{other}{}", &good[..at], &good[at + 1..]);
        }
        let path = ["/v1/runs", "/api/agents", "/api/v1/resource/chat/list"][n % 3];
        assert_eq!(muster.us.with_key(&key).get(path).await.code, 401);
    }
    assert_eq!(database.line.take_calls(), [].into(), "nothing was asked of the store");
    muster.us.get("/v1/runs").await.ok();
    assert!(!database.line.take_calls().is_empty(), "of a good key it is");
    println!("{keys} keys of the wrong form, no call of the store");
}

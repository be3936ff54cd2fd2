//! Webhooks whose endpoints fail, whose messages are lost, whose secrets change.

use serde_json::{Value, json};
use shared::engine;

use super::webhooks::{deliveries, made, signed_by};
use crate::harness::{Endpoint, Muster, Reply, on_every_backend, text};

on_every_backend!(
    every_event_arrives_or_is_listed_as_failed,
    an_endpoint_that_asks_for_time_gets_it,
    an_endpoint_that_is_gone_is_told_nothing_more,
    an_endpoint_that_fails_for_days_is_switched_off,
    an_own_address_that_is_gone_switches_nobody_off,
    a_rotation_is_noticed_by_nobody,
    what_was_not_sent_when_it_was_written_is_sent_by_the_reaper,
    what_belongs_to_an_endpoint_that_goes_is_not_sent,
    a_message_that_comes_twice_is_sent_once,
);

const HOUR_MS: i64 = 3_600_000;

async fn runs(muster: &Muster, agent: &str, count: usize) {
    for _ in 0..count {
        muster.us.run(agent, "hello").await;
    }
    muster.drain().await;
}

/// A run that has ended; the message that wants it told is still queued.
async fn ended_and_not_told(muster: &Muster, agent: &str) {
    muster.us.run(agent, "hello").await;
    engine::work_on(&muster.app, muster.receive().await, None).await.unwrap();
}

/// Lets time pass until nothing is to be sent any more.
async fn tried_to_the_end(muster: &Muster) {
    for _ in 0..200 {
        muster.pass(HOUR_MS);
        if muster.reap().await.deliveries > 0 {
            muster.drain().await;
        }
    }
}

/// 80 events to an endpoint that fails in every way for most of its first 200 requests.
async fn every_event_arrives_or_is_listed_as_failed(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, secret) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    let later = |status| Reply::Status(status, vec![("retry-after", "7200".to_owned())]);
    let moved = Reply::Status(301, vec![("location", endpoint.url("/elsewhere"))]);
    let faults =
        [Reply::status(500), moved, later(429), Reply::Cut, later(503), Reply::status(404), Reply::status(200)];
    endpoint.script(faults.iter().cycle().take(200).cloned());
    let agent = muster.us.agent("demo/scripted-l0").await;
    runs(&muster, &agent, 80).await;
    tried_to_the_end(&muster).await;
    let got = endpoint.got();
    assert!(got.iter().all(|one| signed_by(one, &secret) && one.path == "/"));
    let all = deliveries(&muster, &id).await;
    assert_eq!(all.len(), 80);
    for delivery in &all {
        assert_eq!(delivery["state"], "delivered", "{delivery}");
        let sent: Vec<_> = got.iter().filter(|one| one.header("webhook-id") == text(delivery, "event_id")).collect();
        assert_eq!(sent.len() as u64, delivery["tried"].as_u64().unwrap());
        assert!(sent.iter().all(|one| one.body == text(delivery, "body")));
        assert!(sent.is_sorted_by_key(|one| one.header("webhook-timestamp").parse::<i64>().unwrap()));
    }
    assert!(got.len() > 200, "{}", got.len());
    // One that nobody takes is tried ten times and has failed then.
    endpoint.script(std::iter::repeat_n(Reply::status(500), 10));
    runs(&muster, &agent, 1).await;
    tried_to_the_end(&muster).await;
    let failed = muster.us.get(&format!("/v1/webhooks/{id}/deliveries?state=failed")).await.ok();
    let failed = &failed["data"];
    assert_eq!((failed.as_array().unwrap().len(), &failed[0]["tried"]), (1, &json!(10)), "{failed}");
    assert_eq!(failed[0]["problem"], "it was tried for three days");
    let again = json!({"since": failed[0]["created_at"]});
    assert_eq!(muster.us.post(&format!("/v1/webhooks/{id}/redeliver"), again).await.ok()["redelivered"], 1);
    muster.drain().await;
    let last = endpoint.got().pop().unwrap();
    assert_eq!(last.header("webhook-id"), text(&failed[0], "event_id"));
    assert_eq!(deliveries(&muster, &id).await[0]["state"], "delivered");
}

async fn an_endpoint_that_asks_for_time_gets_it(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, _) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    endpoint.script([Reply::Status(429, vec![("retry-after", "600".to_owned())])]);
    let agent = muster.us.agent("demo/scripted-l0").await;
    runs(&muster, &agent, 1).await;
    muster.pass(599_000);
    muster.reap().await;
    muster.drain().await;
    assert_eq!((endpoint.got().len(), &deliveries(&muster, &id).await[0]["state"]), (1, &json!("pending")));
    muster.pass(2_000);
    muster.reap().await;
    muster.drain().await;
    assert_eq!((endpoint.got().len(), &deliveries(&muster, &id).await[0]["state"]), (2, &json!("delivered")));
}

async fn an_endpoint_that_is_gone_is_told_nothing_more(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, _) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    endpoint.script([Reply::status(410)]);
    let agent = muster.us.agent("demo/scripted-l0").await;
    runs(&muster, &agent, 1).await;
    let path = format!("/v1/webhooks/{id}");
    let gone = muster.us.get(&path).await.ok();
    assert_eq!((&gone["enabled"], &gone["disabled_reason"]), (&json!(false), &json!("gone")));
    runs(&muster, &agent, 3).await;
    tried_to_the_end(&muster).await;
    assert_eq!(endpoint.got().len(), 1);
    // What waited for its next try has failed, and can be sent again when it is back.
    assert_eq!(muster.us.post(&format!("{path}/redeliver"), json!({"since": "2020-01-01T00:00:00Z"})).await.code, 409);
    muster.us.patch(&path, json!({"enabled": true})).await.ok();
    let again = muster.us.post(&format!("{path}/redeliver"), json!({"since": "2020-01-01T00:00:00Z"})).await.ok();
    assert_eq!(again["redelivered"], 1);
    muster.drain().await;
    assert_eq!(endpoint.got().len(), 2);
}

async fn an_endpoint_that_fails_for_days_is_switched_off(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, _) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    endpoint.script(std::iter::repeat_n(Reply::status(500), 1_000));
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/webhooks/{id}");
    for day in 0..5 {
        assert_eq!(muster.us.get(&path).await.ok()["enabled"], true, "day {day}");
        runs(&muster, &agent, 1).await;
        muster.pass(24 * HOUR_MS);
        muster.reap().await;
        muster.drain().await;
    }
    let off = muster.us.get(&path).await.ok();
    assert_eq!((&off["enabled"], &off["disabled_reason"]), (&json!(false), &json!("failing")), "{off}");
    // One success would have been enough.
    let other = Endpoint::start().await;
    let (id, _) = made(&muster, &other.url("/"), &["run.done"]).await;
    other.script([Reply::status(500)]);
    runs(&muster, &agent, 1).await;
    assert!(muster.us.get(&format!("/v1/webhooks/{id}")).await.ok()["failing_since"].is_string());
    runs(&muster, &agent, 1).await;
    assert!(muster.us.get(&format!("/v1/webhooks/{id}")).await.ok()["failing_since"].is_null());
}

async fn an_own_address_that_is_gone_switches_nobody_off(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let id = text(&muster.us.post("/v1/webhooks", json!({})).await.status(201), "id");
    let agent = muster.us.agent("demo/scripted-l0").await;
    endpoint.script([Reply::status(410)]);
    for _ in 0..2 {
        let run = json!({"message": "hello", "webhook_url": endpoint.url("/")});
        muster.us.post(&format!("/v1/agents/{agent}/runs"), run).await.status(202);
        muster.drain().await;
        muster.pass(10);
    }
    let all = deliveries(&muster, &id).await;
    let states: Vec<&Value> = all.iter().map(|one| &one["state"]).collect();
    assert_eq!(states, [&json!("delivered"), &json!("failed")]);
    assert_eq!(muster.us.get(&format!("/v1/webhooks/{id}")).await.ok()["enabled"], true);
}

async fn a_rotation_is_noticed_by_nobody(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, old) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    runs(&muster, &agent, 1).await;
    let rotated = muster.us.post(&format!("/v1/webhooks/{id}/rotate"), Value::Null).await.ok();
    let new = text(&rotated, "secret");
    runs(&muster, &agent, 1).await;
    muster.pass(24 * HOUR_MS + 1);
    runs(&muster, &agent, 1).await;
    let signed: Vec<(bool, bool)> =
        endpoint.got().iter().map(|one| (signed_by(one, &old), signed_by(one, &new))).collect();
    assert_eq!(signed, [(true, false), (true, true), (false, true)]);
}

async fn what_was_not_sent_when_it_was_written_is_sent_by_the_reaper(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, _) = made(&muster, &endpoint.url("/"), &["run.done", "batch.ended"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    ended_and_not_told(&muster, &agent).await;
    assert!(muster.lose_messages().await > 0);
    assert_eq!(muster.reap().await.deliveries, 0, "its message may still come");
    muster.pass(11_000);
    // A process that is alone knows that it was asked for already; others do not, and neither does it after a start.
    assert_eq!(muster.reap_by_another().await.deliveries, 1);
    muster.drain().await;
    assert_eq!((endpoint.got().len(), &deliveries(&muster, &id).await[0]["state"]), (1, &json!("delivered")));
}

async fn what_belongs_to_an_endpoint_that_goes_is_not_sent(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (gone, _) = made(&muster, &endpoint.url("/gone"), &["run.done"]).await;
    let (off, _) = made(&muster, &endpoint.url("/off"), &["run.done"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    ended_and_not_told(&muster, &agent).await;
    muster.us.delete(&format!("/v1/webhooks/{gone}")).await.status(204);
    muster.us.patch(&format!("/v1/webhooks/{off}"), json!({"enabled": false})).await.ok();
    muster.drain().await;
    tried_to_the_end(&muster).await;
    assert_eq!(endpoint.got().len(), 0);
    let left = deliveries(&muster, &off).await;
    assert_eq!((&left[0]["state"], &left[0]["problem"]), (&json!("failed"), &json!("its webhook is switched off")));
}

async fn a_message_that_comes_twice_is_sent_once(muster: Muster) {
    let endpoint = Endpoint::start().await;
    let (id, _) = made(&muster, &endpoint.url("/"), &["run.done"]).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    for _ in 0..10 {
        muster.us.run(&agent, "hello").await;
    }
    muster.drain_twice().await;
    assert_eq!((endpoint.got().len(), deliveries(&muster, &id).await.len()), (10, 10));
}

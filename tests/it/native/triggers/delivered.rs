//! Events that come, once and again.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{SOURCES, runs, told, trigger};
use crate::harness::{Muster, asked, on_every_backend, text};

on_every_backend!(
    an_event_of_each_source_starts_a_run,
    the_same_event_at_once_starts_one_run,
    a_name_that_tells_no_event_from_others_starts_nothing,
    duplicates_start_nothing,
    pings_and_questions_are_answered,
    a_trigger_takes_so_many_events_a_minute,
    rules_of_a_bus_start_runs,
    what_comes_back_from_the_own_bus_is_part_of_a_chain,
);

async fn an_event_of_each_source_starts_a_run(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    for source in SOURCES {
        let made = trigger(us, &agent, source, json!({"message": "{{ trigger.name }}: {{ body.city }}"})).await;
        let first = made.deliver(&muster, "e1", json!({"city": "Oslo"})).await.status(202);
        assert_eq!(first, json!({"run_id": first["run_id"], "event_id": "e1"}), "{source}");
        let run = text(&first, "run_id");
        let again = made.deliver(&muster, "e1", json!({"city": "Oslo"})).await.ok();
        assert_eq!(again, json!({"run_id": run, "event_id": "e1", "duplicate": true}), "{source}");
        assert_ne!(made.deliver(&muster, "e2", json!({"city": "Rome"})).await.status(202)["run_id"], json!(run));
        let shown = us.get(&format!("/v1/runs/{run}")).await.ok();
        assert_eq!((&shown["trigger_id"], &shown["agent_id"]), (&json!(made.id), &json!(agent)));
        assert_eq!(told(us, &run).await, "events: Oslo");
        let events = us.get(&format!("/v1/triggers/{}/events", made.id)).await.ok();
        let seen: Vec<(&Value, &Value)> =
            events["data"].as_array().unwrap().iter().map(|event| (&event["event_id"], &event["outcome"])).collect();
        assert_eq!(seen, [(&json!("e2"), &json!("accepted")), (&json!("e1"), &json!("accepted"))]);
    }
    let listed = us.get("/api/agent-runs?triggerSourceFilter=trigger").await.ok();
    assert_eq!(listed["totalCount"], 2 * SOURCES.len());
    muster.drain().await;
    assert!(runs(us).await.iter().all(|run| run["status"] == "done"));
    // Whoever sends nothing to tell its events apart by sends another each time.
    let made = trigger(us, &agent, "token", json!({"message": "hello"})).await;
    let bare = [("x-muster-token", made.secret.clone())];
    let ids = [made.send(&muster, &bare, b"").await, made.send(&muster, &bare, b"").await];
    let ids = ids.map(|answer| text(&answer.status(202), "event_id"));
    assert!(ids[0] != ids[1] && ids[0].starts_with("evt_"), "{ids:?}");
}

async fn the_same_event_at_once_starts_one_run(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let one = trigger(us, &agent, "standard_webhooks", json!({"message": "{{ body.n }}"})).await;
    let many = trigger(us, &agent, "standard_webhooks", json!({"message": "{{ row }}", "rows": "body.n"})).await;
    for (made, n, field) in [(&one, json!(1), "run_id"), (&many, json!([1, 2, 3]), "batch_id")] {
        let deliver = |_| made.deliver(&muster, "same", json!({"n": n.clone()}));
        let answers: Vec<_> = stream::iter(0..20).map(deliver).buffer_unordered(20).collect().await;
        let ids: BTreeSet<&str> = answers.iter().map(|answer| answer.body[field].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1, "{answers:?}");
        let first = answers.iter().filter(|answer| answer.code == 202).count();
        let later = answers.iter().filter(|answer| answer.code == 200 && answer.body["duplicate"] == true).count();
        assert_eq!((first, later), (1, 19));
    }
    assert_eq!(runs(us).await.len(), 1 + 3);
    let batch = &us.get("/v1/batches").await.ok()["data"][0];
    assert_eq!((&batch["trigger_id"], &batch["items"]), (&json!(many.id), &json!(3)));
}

async fn a_name_that_tells_no_event_from_others_starts_nothing(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let made = trigger(us, &agent, "token", json!({"message": "x"})).await;
    let nobody = us.nobody().with("x-muster-token", &made.secret);
    let path = format!("/v1/hooks/{}", made.id);
    for name in ["idempotency-key", "webhook-id"] {
        for id in [String::new(), "x".repeat(257)] {
            assert_eq!(nobody.with(name, &id).send("POST", &path, "{}").await.param(), name, "{id}");
        }
        let twice = nobody.with(name, "a").with_another(name, "b");
        assert_eq!(twice.send("POST", &path, "{}").await.param(), name);
        nobody.with(name, &"x".repeat(256)).send("POST", &path, "{}").await.status(if name == "webhook-id" {
            200
        } else {
            202
        });
    }
    assert_eq!(runs(us).await.len(), 1);
}

/// 2,000 valid deliveries of 200 events (20,000 of 2,000 with `MUSTER_TEST_LONG=1`): as many runs as events.
async fn duplicates_start_nothing(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let events = if asked("MUSTER_TEST_LONG").is_some() { 400 } else { 40 };
    let mut made = Vec::new();
    for source in SOURCES {
        made.push(trigger(us, &agent, source, json!({"message": "{{ body.n }}"})).await);
    }
    for round in 0..10 {
        // A minute's limit is no matter here.
        muster.pass(120_000);
        let deliveries = made.iter().flat_map(|made| (0..events).map(move |n| (made, n)));
        let deliver =
            async |(made, n): (&super::Made, usize)| made.deliver(&muster, &format!("e{n}"), json!({"n": n})).await;
        let codes: Vec<u16> =
            stream::iter(deliveries).map(deliver).buffer_unordered(16).map(|answer| answer.code).collect().await;
        let expected = if round == 0 { 202 } else { 200 };
        assert!(codes.iter().all(|code| *code == expected), "{round}: {codes:?}");
    }
    let runs = runs(us).await;
    println!("{} deliveries, {} runs", 10 * events * SOURCES.len(), runs.len());
    assert_eq!(runs.len(), events * SOURCES.len());
    let of_each = |made: &super::Made| runs.iter().filter(|run| run["trigger_id"] == made.id.as_str()).count();
    assert!(made.iter().all(|made| of_each(made) == events));
}

async fn pings_and_questions_are_answered(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let slack = trigger(us, &agent, "slack", json!({"message": "{{ body }}"})).await;
    let at_s = muster.app.now().millis() / 1_000;
    let question = br#"{"type":"url_verification","challenge":"abc"}"#;
    let answer = slack.send(&muster, &slack.signed("", at_s, question), question).await.ok();
    assert_eq!(answer, json!({"challenge": "abc"}));
    let forged = slack.send(&muster, &slack.signed("", at_s, b"{}"), question).await;
    assert_eq!(forged.code_of(401), "unauthorized");
    let form = b"payload=%7B%22type%22%3A%22block_actions%22%7D";
    let mut headers = slack.signed("", at_s, form);
    headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
    let run = text(&slack.send(&muster, &headers, form).await.status(202), "run_id");
    assert_eq!(told(us, &run).await, r#"{"payload":{"type":"block_actions"}}"#);
    let github = trigger(us, &agent, "github", json!({"message": "{{ body }}"})).await;
    let mut headers = github.signed("e", at_s, b"{}");
    headers.retain(|(name, _)| *name != "x-github-event");
    headers.push(("x-github-event", "ping".to_owned()));
    assert_eq!(github.send(&muster, &headers, b"{}").await.ok(), json!({"skipped": "ping"}));
    assert_eq!(runs(us).await.len(), 1);
}

async fn a_trigger_takes_so_many_events_a_minute(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let made = trigger(us, &agent, "token", json!({"message": "x", "filter": "false"})).await;
    let mut let_in = 0;
    let refused = loop {
        let answer = made.deliver(&muster, &format!("e{let_in}"), json!({})).await;
        if answer.code == 429 {
            break answer;
        }
        assert_eq!(answer.ok(), json!({"skipped": "filtered"}));
        let_in += 1;
    };
    // A fifth of a minute's may come at once; on a slow machine some more have time to.
    assert!((120..=600).contains(&let_in), "{let_in}");
    assert!(!refused.header("retry-after").is_empty());
    let other = trigger(us, &agent, "token", json!({"message": "x", "filter": "false"})).await;
    assert_eq!(other.deliver(&muster, "e", json!({})).await.code, 200);
    muster.pass(60_000);
    assert_eq!(made.deliver(&muster, "e", json!({})).await.code, 200);
}

async fn rules_of_a_bus_start_runs(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let fields =
        json!({"message": "{{ body.detail.bucket.name }}", "filter": "body['detail-type'] == 'Object Created'"});
    let made = trigger(us, &agent, "eventbridge", fields).await;
    let delivered = |id: &str, kind: &str| {
        let event = json!({"version": "0", "id": id, "detail-type": kind, "source": "aws.s3", "account": "111122223333",
            "time": "2026-11-27T12:00:00Z", "region": "eu-west-1", "resources": [], "detail": {"bucket": {"name": "reports"}}});
        serde_json::from_value(json!({"trigger_id": made.id, "event": event})).unwrap()
    };
    let receive = async |id: &str, kind: &str| {
        let delivered = delivered(id, kind);
        serde_json::to_value(functions::receive_event::receive_event(&muster.app, delivered).await.unwrap()).unwrap()
    };
    let first = receive("17793124-05d4-b198-2fde-7ededc63b103", "Object Created").await;
    assert_eq!(first["duplicate"], false);
    let again = receive("17793124-05d4-b198-2fde-7ededc63b103", "Object Created").await;
    assert_eq!((&again["duplicate"], &again["run_id"]), (&json!(true), &first["run_id"]));
    assert_eq!(receive("x", "Object Deleted").await["skipped"], "filtered");
    assert_eq!(told(us, first["run_id"].as_str().unwrap()).await, "reports");
    assert_eq!(runs(us).await.len(), 1);
    // By HTTP its events come with the secret; and no other trigger is reached through the bus.
    assert_eq!(made.send(&muster, &[("authorization", "Bearer x".to_owned())], b"{}").await.code, 401);
    let event = json!({"id": "z", "detail-type": "Object Created", "source": "aws.s3", "detail": {"bucket": {"name": "by http"}}});
    let (headers, event) = ([("x-muster-token", made.secret.clone())], event.to_string());
    assert_eq!(made.send(&muster, &headers, event.as_bytes()).await.status(202)["event_id"], "z");
    assert_eq!(made.send(&muster, &headers, event.as_bytes()).await.ok()["duplicate"], true);
    let token = trigger(us, &agent, "token", json!({"message": "x"})).await;
    for (id, event) in [(&token.id, json!({"id": "x"})), (&made.id, json!({})), (&made.id, json!({"id": 1}))] {
        let delivered = serde_json::from_value(json!({"trigger_id": id, "event": event})).unwrap();
        assert!(functions::receive_event::receive_event(&muster.app, delivered).await.is_err());
    }
    us.patch(&format!("/v1/triggers/{}", made.id), json!({"enabled": false})).await.ok();
    assert!(functions::receive_event::receive_event(&muster.app, delivered("y", "Object Created")).await.is_err());
}

async fn what_comes_back_from_the_own_bus_is_part_of_a_chain(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let made = trigger(us, &agent, "eventbridge", json!({"message": "{{ body.detail.run_id }}"})).await;
    let receive_of = async |org: String, id: &str, event_id: &str, run: &str, length: u8| {
        let chain = json!({"run": run, "root": run, "length": length});
        let detail = json!({"event_id": event_id, "organisation_id": org, "timestamp": "2026-11-27T12:00:00Z",
            "chain": chain, "run_id": format!("run_{run}"), "status": "done"});
        let event = json!({"id": id, "detail-type": "run.done", "source": "muster", "detail": detail});
        let delivered = serde_json::from_value(json!({"trigger_id": made.id, "event": event})).unwrap();
        serde_json::to_value(functions::receive_event::receive_event(&muster.app, delivered).await.unwrap()).unwrap()
    };
    let receive = async |id: &str, event_id: &str, run: &str, length: u8| {
        receive_of(us.org.prefixed(), id, event_id, run, length).await
    };
    let run = uuid::Uuid::now_v7().to_string();
    // What another organisation's end says is nothing to this one.
    let theirs = receive_of(muster.them.org.prefixed(), "zero", "evt_0", &run, 1).await;
    assert_eq!(theirs["skipped"], "filtered");
    let first = receive("one", "evt_1", &run, 8).await;
    // EventBridge calls it otherwise when it is put again: it is the same.
    let again = receive("two", "evt_1", &run, 8).await;
    assert_eq!((&again["duplicate"], &again["run_id"]), (&json!(true), &first["run_id"]));
    let shown = us.get(&format!("/v1/runs/{}", first["run_id"].as_str().unwrap())).await.ok();
    assert_eq!(shown["caused_by_run_id"], json!(format!("run_{run}")));
    let last = receive("three", "evt_2", &run, 9).await;
    assert!(last["skipped"].as_str().unwrap().starts_with("the chain has 8 starts"), "{last}");
    assert_eq!(runs(us).await.len(), 1);
}

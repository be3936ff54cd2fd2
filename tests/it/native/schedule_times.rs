//! The times of schedules: each starts what it should, once, however often it is said; what overlaps, what was missed, what is paused.

use serde_json::{Value, json};
use shared::{clock::Timestamp, engine};

use super::schedules::{
    SCHEDULES, at, deliver, firings, firings_last, get, made, message, outcomes, patch, runs, tenant,
};
use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_thousand_times_that_come_thrice_start_a_thousand_runs,
    the_reaper_is_the_ticker,
    what_overlaps_is_skipped_or_starts_beside_it,
    what_is_queued_starts_in_order_one_after_the_other,
    what_was_missed_starts_once_or_not_at_all,
    nothing_is_caught_up_after_a_pause,
    a_single_time_ends_its_schedule,
);

/// It is that moment.
fn is(muster: &Muster, moment: Timestamp) {
    let passed = moment.millis() - muster.app.now().millis();
    assert!(passed >= 0, "{} has passed", moment.rfc3339());
    muster.pass(passed);
}

/// The proof: a thousand times, each said three times at once, over a change of clocks and a time in which nobody was there.
async fn a_thousand_times_that_come_thrice_start_a_thousand_runs(muster: Muster) {
    const EACH: usize = 50;
    const SCHEDULES_MADE: usize = 20;
    let agent = muster.us.agent("demo/scripted-l0").await;
    // The clocks in Berlin go from 02:00 to 03:00 on 28 March 2027.
    let begin = at("2027-03-28T00:00:00Z");
    is(&muster, begin.plus_ms(-60_000));
    let half_hours = json!({"schedule": "*/30 * * * *", "timezone": "Europe/Berlin", "overlap": "allow"});
    let mut schedules = Vec::new();
    for _ in 0..SCHEDULES_MADE {
        schedules.push(made(&muster, &agent, half_hours.clone()).await);
    }
    let fixed = made(&muster, &agent, json!({"schedule": "30 2 * * *", "timezone": "Europe/Berlin"})).await;
    let half_hour = |n: usize| begin.plus_ms(i64::try_from(n).unwrap() * 30 * 60 * 1_000);
    for n in 0..EACH {
        is(&muster, half_hour(n).plus_ms(20));
        let deliveries = schedules.iter().chain([&fixed]).map(|schedule| deliver(&muster, schedule));
        futures_util::future::join_all(deliveries).await;
    }
    let mut started = Vec::new();
    for schedule in &schedules {
        let firings = firings(&muster, schedule).await;
        let expected: Vec<String> = (0..EACH).map(|n| half_hour(n).rfc3339()).collect();
        assert_eq!(firings.iter().map(|firing| text(firing, "scheduled_at")).collect::<Vec<_>>(), expected);
        started.extend(firings.iter().map(|firing| text(firing, "run_id")));
    }
    // 02:30 was not there: it is 03:00, one hour after the beginning.
    let once = firings(&muster, &fixed).await;
    let once: Vec<String> = once.iter().map(|firing| text(firing, "scheduled_at")).collect();
    assert_eq!(once, ["2027-03-28T01:00:00.000Z", "2027-03-29T00:30:00.000Z"]);
    let of = |runs: &[Value], schedules: &[String]| {
        let ours = |run: &&Value| schedules.contains(&text(run, "schedule_id"));
        let mut ids: Vec<String> = runs.iter().filter(ours).map(|run| text(run, "id")).collect();
        ids.sort_unstable();
        ids
    };
    started.sort_unstable();
    assert_eq!(started.len(), 1_000);
    let there_are = of(&runs(&muster).await, &schedules);
    assert!(there_are == started, "each firing's run is one, and there is no other, of {}", there_are.len());
    // Nobody is there for eight hours.
    is(&muster, half_hour(EACH + 15).plus_ms(60_000));
    futures_util::future::join_all(schedules.iter().map(|schedule| deliver(&muster, schedule))).await;
    for schedule in &schedules {
        let new = outcomes(&muster, schedule).await.split_off(EACH);
        assert_eq!(new.iter().filter(|outcome| *outcome == "started").count(), 1, "{new:?}");
        assert_eq!((new.len(), new.last().unwrap().as_str()), (16, "started"));
        assert!(new[..15].iter().all(|outcome| outcome == "skipped misfire"), "{new:?}");
        assert_eq!(get(&muster, schedule).await["next_at"], half_hour(EACH + 16).rfc3339());
    }
    assert_eq!(of(&runs(&muster).await, &schedules).len(), 1_020);
    // And what is said late, again, starts nothing.
    futures_util::future::join_all(schedules.iter().map(|schedule| deliver(&muster, schedule))).await;
    muster.reap().await;
    assert_eq!(of(&runs(&muster).await, &schedules).len(), 1_020);
}

async fn the_reaper_is_the_ticker(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let schedule = made(&muster, &agent, json!({"schedule": "* * * * *"})).await;
    assert_eq!(muster.reap().await, engine::Reaped::default());
    for n in 1..=3 {
        let next_at = get(&muster, &schedule).await["next_at"].clone();
        is(&muster, at(next_at.as_str().unwrap()).plus_ms(500));
        assert_eq!(muster.reap().await.schedules, 1);
        assert_eq!(muster.reap().await.schedules, 0);
        muster.drain().await;
        let seen = get(&muster, &schedule).await;
        let last = &seen["last_firing"];
        assert_eq!(json!([last["scheduled_at"], last["outcome"], last["manual"]]), json!([next_at, "started", false]));
        let runs = runs(&muster).await;
        assert_eq!((runs.len(), &runs[0]["id"], &runs[0]["status"]), (n, &last["run_id"], &json!("done")));
        assert_eq!(runs[0]["schedule_id"], json!(schedule));
    }
}

async fn what_overlaps_is_skipped_or_starts_beside_it(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let skips = made(&muster, &agent, json!({"overlap": "skip"})).await;
    let allows = made(&muster, &agent, json!({"overlap": "allow"})).await;
    for _ in 0..3 {
        muster.pass(60_000);
        deliver(&muster, &skips).await;
        deliver(&muster, &allows).await;
    }
    assert_eq!(outcomes(&muster, &skips).await, ["started", "skipped overlap", "skipped overlap"]);
    assert_eq!(outcomes(&muster, &allows).await, ["started", "started", "started"]);
    muster.drain().await;
    muster.pass(60_000);
    deliver(&muster, &skips).await;
    assert_eq!(outcomes(&muster, &skips).await.last().unwrap(), "started");
}

async fn what_is_queued_starts_in_order_one_after_the_other(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let schedule = made(&muster, &agent, json!({"overlap": "queue"})).await;
    for _ in 0..4 {
        muster.pass(60_000);
        deliver(&muster, &schedule).await;
    }
    assert_eq!(outcomes(&muster, &schedule).await, ["started", "waiting", "waiting", "waiting"]);
    assert_eq!(get(&muster, &schedule).await["waiting"], 3);
    // The first ends, and its end says that the next may start; and so on.
    muster.drain().await;
    assert_eq!(outcomes(&muster, &schedule).await, ["started"; 4]);
    assert_eq!(get(&muster, &schedule).await["waiting"], 0);
    let firings = firings(&muster, &schedule).await;
    let mut ended = "".to_owned();
    for firing in &firings {
        let run = muster.us.get(&format!("/v1/runs/{}", text(firing, "run_id"))).await.ok();
        assert!(text(&run, "created_at") >= ended, "{run} began before {ended}");
        ended = text(&run, "ended_at");
    }
    // Also when what says so is lost.
    for _ in 0..2 {
        muster.pass(60_000);
        deliver(&muster, &schedule).await;
    }
    let run = text(&firings_last(&muster, &schedule, 1).await, "run_id");
    muster.us.post(&format!("/v1/runs/{run}/cancel"), json!({})).await.status(200);
    muster.lose_messages().await;
    assert_eq!(outcomes(&muster, &schedule).await.last().unwrap(), "waiting");
    muster.pass(61_000);
    muster.reap().await;
    assert_eq!(text(&firings_last(&muster, &schedule, 1).await, "outcome"), "started");
    muster.drain().await;
    // At most 100 wait.
    let stuck = made(&muster, &agent, json!({"overlap": "queue"})).await;
    for _ in 0..103 {
        muster.us.post(&format!("{SCHEDULES}/{stuck}/run"), json!({})).await.status(202);
    }
    let outcomes = outcomes(&muster, &stuck).await;
    assert_eq!(outcomes[0], "started");
    assert!(outcomes[1..101].iter().all(|outcome| outcome == "waiting"), "{outcomes:?}");
    assert_eq!(outcomes[101..], ["skipped queue_full", "skipped queue_full"]);
    // What was queued goes on waiting while it is paused.
    patch(&muster, &stuck, json!({"paused": true})).await;
    muster.drain().await;
    muster.pass(61_000);
    muster.reap().await;
    assert_eq!(get(&muster, &stuck).await["waiting"], 100);
    patch(&muster, &stuck, json!({"paused": false})).await;
    deliver(&muster, &stuck).await;
    muster.drain().await;
    assert_eq!(get(&muster, &stuck).await["waiting"], 0);
}

async fn what_was_missed_starts_once_or_not_at_all(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let hourly = |misfire: &str| json!({"schedule": "rate(1 hour)", "misfire": misfire, "overlap": "allow"});
    let once = made(&muster, &agent, hourly("run_once")).await;
    let never = made(&muster, &agent, hourly("skip")).await;
    // 130 hours and 10 minutes: more than are written down together.
    muster.pass(130 * 3_600_000 + 600_000);
    deliver(&muster, &once).await;
    deliver(&muster, &never).await;
    let seen = outcomes(&muster, &once).await;
    assert_eq!((seen.len(), seen.last().unwrap().as_str()), (130, "started"));
    assert!(seen[..129].iter().all(|outcome| outcome == "skipped misfire"));
    assert_eq!(outcomes(&muster, &never).await, vec!["skipped misfire"; 130]);
    assert_eq!(runs(&muster).await.len(), 1);
    // Up to five minutes late is in time.
    muster.pass(3_600_000 - 600_000 + 240_000);
    deliver(&muster, &never).await;
    assert_eq!(outcomes(&muster, &never).await.last().unwrap(), "started");
    // Nobody was there for a year: what the history does not keep is not written down.
    muster.pass(365 * 24 * 3_600_000);
    for _ in 0..2 {
        deliver(&muster, &once).await;
    }
    let kept = outcomes(&muster, &once).await;
    assert_eq!(kept.iter().filter(|outcome| *outcome == "started").count(), 1, "{}", kept.len());
    assert_eq!(kept.len(), 90 * 24);
}

async fn nothing_is_caught_up_after_a_pause(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let schedule = made(&muster, &agent, json!({"paused": true})).await;
    let seen = get(&muster, &schedule).await;
    assert_eq!(json!([seen["status"], seen["next_at"]]), json!(["paused", null]));
    muster.pass(150_000);
    deliver(&muster, &schedule).await;
    muster.reap().await;
    let seen = patch(&muster, &schedule, json!({"paused": false})).await;
    assert_eq!(seen["status"], "active");
    // It still counts from when it was made.
    let (next, begin) = (at(&text(&seen, "next_at")), at(&text(&seen, "created_at")));
    assert_eq!(next.since_ms(begin), 180_000);
    deliver(&muster, &schedule).await;
    assert!(outcomes(&muster, &schedule).await.is_empty());
    is(&muster, next);
    deliver(&muster, &schedule).await;
    assert_eq!(outcomes(&muster, &schedule).await, ["started"]);
    patch(&muster, &schedule, json!({"paused": true})).await;
    muster.pass(600_000);
    deliver(&muster, &schedule).await;
    assert_eq!(outcomes(&muster, &schedule).await, ["started"]);
    // What its times would be can be looked at.
    let next = muster.us.get(&format!("{SCHEDULES}/{schedule}/next?count=2")).await.ok();
    assert_eq!(next["data"].as_array().unwrap().len(), 2);
}

async fn a_single_time_ends_its_schedule(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let moment = muster.in_ms(3_600_000);
    let local = |moment: &str| format!("at({})", &moment[..19]);
    let schedule = made(&muster, &agent, json!({"schedule": local(&moment)})).await;
    let seen = get(&muster, &schedule).await;
    assert_eq!(json!([seen["status"], &text(&seen, "next_at")[..19]]), json!(["active", &moment[..19]]));
    muster.pass(3_600_000);
    deliver(&muster, &schedule).await;
    assert_eq!(outcomes(&muster, &schedule).await, ["started"]);
    let seen = get(&muster, &schedule).await;
    assert_eq!(json!([seen["status"], seen["next_at"]]), json!(["ended", null]));
    assert_eq!(muster.us.get(&format!("{SCHEDULES}/{schedule}/next")).await.ok()["data"], json!([]));
    muster.drain().await;
    assert_eq!(muster.reap().await, engine::Reaped::default());
    // One that is over can be called otherwise, paused, and given another time.
    patch(&muster, &schedule, json!({"name": "over"})).await;
    let seen = patch(&muster, &schedule, json!({"schedule": local(&muster.in_ms(60_000))})).await;
    assert_eq!(seen["status"], "active");
    let over = local(&muster.in_ms(-60_000));
    let refused = muster.us.patch(&format!("{SCHEDULES}/{schedule}"), json!({"schedule": over})).await;
    assert_eq!(refused.status(400)["error"]["param"], "schedule");
}

/// A store that fails now and then: what comes again until it is done is done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_store_loses_and_doubles_no_firing() {
    let muster = Muster::on_faulty_dynamo(7).await;
    let mut made = Value::Null;
    while made["id"].is_null() {
        let agent = json!({"name": "tester", "model": "demo/scripted-l0"});
        made = muster.us.post("/v1/agents", agent).await.body;
    }
    let body =
        json!({"agent_id": made["id"], "name": "x", "schedule": "* * * * *", "message": "hi", "overlap": "allow"});
    let mut schedule = Value::Null;
    while schedule["id"].is_null() {
        schedule = muster.us.post(SCHEDULES, body.clone()).await.body;
    }
    let id = text(&schedule, "id");
    let chunk = message(tenant(&muster).await, &id);
    let first = at(&text(&schedule, "next_at"));
    for n in 0..40 {
        is(&muster, first.plus_ms(n * 60_000 + 50));
        let insist = async || while Box::pin(engine::work_on(&muster.app, chunk.clone(), None)).await.is_err() {};
        tokio::join!(insist(), insist(), insist());
    }
    let mut firings = Vec::new();
    while firings.len() < 40 {
        let page = muster.us.get(&format!("{SCHEDULES}/{id}/firings?limit=100")).await;
        firings = page.body["data"].as_array().cloned().unwrap_or_default();
    }
    let mut runs: Vec<String> = firings.iter().map(|firing| text(firing, "run_id")).collect();
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), 40);
    let mut listed = Value::Null;
    while listed["data"].is_null() {
        listed = muster.us.get("/v1/runs?limit=100").await.body;
    }
    assert_eq!(listed["data"].as_array().unwrap().len(), 40);
}

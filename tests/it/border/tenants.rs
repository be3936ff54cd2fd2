//! What belongs to another organisation is, for every call and in every place of an id, as if it were not there.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    calls::{self, Place},
    things::{Kind, Things},
};
use crate::harness::{Answer, Client, Muster, asked, on_every_backend, redacted};

on_every_backend!(
    what_is_not_ours_is_as_if_it_were_not_there,
    a_forged_organisation_is_refused,
    every_request_of_the_matrix_is_one_that_its_owner_may_make,
);

/// Places where another organisation's id does no harm by being taken, and why.
const HARMLESS: &[(&str, &str, &str)] =
    &[("put_secret", "path.name", "a name is its organisation's own: another's secret of that name stays as it is")];

fn harmless(call: &str, place: &Place) -> bool {
    place.kind == Kind::Version || HARMLESS.iter().any(|(name, at, _)| (*name, *at) == (call, place.name.as_str()))
}

/// An answer without the id that was sent.
fn without(answer: &Answer, id: &str) -> (u16, String) {
    (answer.code, if id.is_empty() { answer.text.clone() } else { answer.text.replace(id, "<sent>") })
}

async fn unlimited(client: &Client) -> Client {
    client.new_key(serde_json::json!({"requests_per_minute": 0, "in_flight": 0})).await
}

/// Everything that a client can look at, of these things.
async fn seen(client: &Client, things: &Things) -> Vec<(&'static str, u16, Value)> {
    let mut all = Vec::new();
    // One of them says a new secret each time.
    let same = |call: &&calls::Call| call.method == "GET" && call.name != "cotool_get_trigger_fields";
    for call in calls::with_key().iter().filter(same) {
        let answer = call.request().send(client, things, "").await;
        let body = if answer.body.is_null() { Value::String(answer.text) } else { redacted(&answer.body) };
        all.push((call.name, answer.code, body));
    }
    all
}

async fn what_is_not_ours_is_as_if_it_were_not_there(muster: Muster) {
    let (us, them) = (unlimited(&muster.us).await, unlimited(&muster.them).await.with("x-request-id", "same"));
    let (ours, ours_gone) = (Things::made(&us, "OURS").await, Things::deleted(&us, "OURS_GONE").await);
    let (theirs, theirs_gone) = (Things::made(&them, "THEIRS").await, Things::deleted(&them, "THEIRS_GONE").await);
    let (before, theirs_before) = (seen(&us, &ours).await, seen(&them, &theirs).await);
    let (mut cases, mut places, mut wrong) = (0, 0, Vec::new());
    let (mut foreign_took, mut unknown_took) = (Vec::new(), Vec::new());
    for call in calls::with_key() {
        for place in call.places().iter().filter(|place| !harmless(call.name, place)) {
            let request = call.request_about(place);
            let timed = async |id: &str, took: &mut Vec<Duration>| {
                let begun = Instant::now();
                let answer = request.send(&them, &theirs, id).await;
                took.push(begun.elapsed());
                answer
            };
            let surface = place.surface(&call);
            let unknown = place.kind.unknown(surface);
            let expected = without(&timed(&unknown, &mut unknown_took).await, &unknown);
            // A filter finds nothing, and an item for an agent that is not there is left out; anything else is not found.
            let usual = if place.in_path() { &[404][..] } else { &[404, 400, 200] };
            if !usual.contains(&expected.0) {
                wrong.push(format!("{} {}: {expected:?}", call.name, place.name));
            }
            let mut ids = vec![ours.text(place.kind, surface), ours_gone.text(place.kind, surface)];
            // What was done with an agent that is gone can still be looked for by it.
            let filters = call.method == "GET" && !place.in_path();
            ids.extend((!filters).then(|| theirs_gone.text(place.kind, surface)));
            for id in ids.into_iter().flatten() {
                let answer = without(&timed(&id, &mut foreign_took).await, &id);
                cases += 1;
                if answer != expected {
                    wrong.push(format!("{} {}: {answer:?} and not {expected:?}", call.name, place.name));
                }
            }
            for id in place.kind.malformed(surface) {
                let answer = request.send(&them, &theirs, &id).await;
                cases += 1;
                let same = without(&answer, &id) == expected;
                if !same && (place.in_path() || ![400, 404].contains(&answer.code)) {
                    wrong.push(format!("{} {} {id:.9}: {} {}", call.name, place.name, answer.code, answer.text));
                }
            }
            places += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen(&us, &ours).await, before, "nothing of the owner's has changed");
    assert_eq!(seen(&them, &theirs).await, theirs_before, "and nothing was started");
    let [foreign, unknown] = [foreign_took, unknown_took].map(|mut took| {
        took.sort_unstable();
        took[took.len() / 2].as_micros()
    });
    println!(
        "{places} places of ids, {cases} cases; at the median {foreign} µs for another's id, {unknown} µs for none"
    );
    assert!(places > 60 && cases > 400, "{places} places, {cases} cases");
}

async fn a_forged_organisation_is_refused(muster: Muster) {
    let (us, them) = (&unlimited(&muster.us).await, unlimited(&muster.them).await);
    let (ours, theirs) = (Things::made(us, "OURS").await, Things::made(&them, "THEIRS").await);
    let before = seen(us, &ours).await;
    for claimed in [us.org.to_string(), uuid::Uuid::now_v7().to_string(), "x".to_owned(), String::new()] {
        let forger = them.with("x-org-id", &claimed);
        for call in calls::with_key() {
            for things in [&ours, &theirs] {
                let answer = call.request().send(&forger, things, "").await;
                assert_eq!(answer.code, 403, "{} as '{claimed}': {}", call.name, answer.text);
            }
        }
        if asked("MUSTER_TEST_LONG").is_none() {
            break;
        }
    }
    assert_eq!(seen(us, &ours).await, before);
}

/// Else a request could be refused for another reason than the id in it.
async fn every_request_of_the_matrix_is_one_that_its_owner_may_make(muster: Muster) {
    let us = unlimited(&muster.us).await;
    let mut all = calls::with_key();
    // Those that take something away come last.
    all.sort_by_key(|call| ["GET", "PUT", "PATCH", "POST", "DELETE"].iter().position(|method| call.method == *method));
    let things = Things::made(&us, "OURS").await;
    let mut wrong = Vec::new();
    for call in all {
        let mut requests = vec![("by itself".to_owned(), call.request(), String::new())];
        if call.method != "DELETE" {
            requests.extend(call.places().into_iter().map(|place| {
                let id = things.text(place.kind, place.surface(&call)).unwrap();
                (place.name.clone(), call.request_about(&place), id)
            }));
        }
        for (name, request, id) in requests {
            let answer = request.send(&us, &things, &id).await;
            if !(200..300).contains(&answer.code) && answer.code != 409 && call.name != "decide_run_approval" {
                wrong.push(format!("{} {name}: {} {}", call.name, answer.code, answer.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

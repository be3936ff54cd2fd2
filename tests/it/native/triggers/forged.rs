//! Deliveries that are none: forged, old, of the future, replayed later, cut, and sent to nobody.

use std::time::Instant;

use serde_json::json;

use super::{Made, SOURCES, runs, trigger};
use crate::harness::{Answer, Muster, on_every_backend};

on_every_backend!(
    ten_thousand_false_deliveries_start_nothing,
    who_has_no_proof_learns_nothing,
    an_old_secret_holds_for_a_day,
    a_body_that_is_too_large_is_not_read,
);

/// The nth of many ways to be false, for a genuine delivery of this body.
fn falsified(made: &Made, n: usize, now_s: i64, body: &[u8]) -> (Vec<(&'static str, String)>, Vec<u8>) {
    let dated = ["standard_webhooks", "stripe", "slack"].contains(&made.source.as_str());
    let signed = |at_s: i64| made.signed(&format!("f{n}"), at_s, body);
    let moments =
        [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 0, -1, now_s - 301, now_s + 302, now_s - 86_400, -now_s];
    let mut headers = signed(now_s);
    let flip = |value: &str, at: usize| -> String {
        let at = at % value.len();
        let other = |c: char| if c == 'a' { 'b' } else { 'a' };
        value.chars().enumerate().map(|(index, c)| if index == at { other(c) } else { c }).collect()
    };
    let proof = headers.iter().position(|(name, _)| name.contains("signature") || *name == "authorization").unwrap();
    match n % 8 {
        // A moment that is not about now, signed as it should be; or, where none is signed, nothing that proves it.
        0 | 1 if dated => (signed(moments[n / 8 % moments.len()]), body.to_vec()),
        0 | 1 => (Vec::new(), body.to_vec()),
        // A character of the proof is another.
        2 | 3 => {
            let begin = headers[proof].1.len().saturating_sub(40);
            let changed = flip(&headers[proof].1[begin..], n / 8 % 38);
            headers[proof].1.replace_range(begin.., &changed);
            (headers, body.to_vec())
        }
        // Another body, where that is what is proven.
        4 | 5 if made.source != "token" => (headers, [body, &[b' ' + (n % 90) as u8]].concat()),
        // Another's secret.
        6 => {
            let other = Made {
                secret: "whsec_".to_owned() + &"B".repeat(42) + "A=",
                source: made.source.clone(),
                id: String::new(),
            };
            (other.signed("f", now_s, body), body.to_vec())
        }
        // Something is missing, empty or far too long.
        7 if n % 16 == 7 => {
            headers.remove(proof);
            (headers, body.to_vec())
        }
        _ => {
            let half = headers[proof].1[..headers[proof].1.len() / 2].to_owned();
            headers[proof].1 = if n.is_multiple_of(3) { String::new() } else { half.repeat(1 + n % 40) + "," };
            (headers, body.to_vec())
        }
    }
}

async fn ten_thousand_false_deliveries_start_nothing(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let mut count = 0;
    for source in SOURCES {
        let made = trigger(us, &agent, source, json!({"message": "{{ body }}"})).await;
        let (now_s, body) = (muster.app.now().millis() / 1_000, br#"{"id":"e","event_id":"e"}"#);
        for n in 0..2_000 {
            let (headers, body) = falsified(&made, n, muster.app.now().millis() / 1_000, body);
            let answer = made.send(&muster, &headers, &body).await;
            assert_eq!(answer.code, 401, "{source} {n} {headers:?}: {}", answer.text);
            count += 1;
        }
        // What was good once is not good later, where the moment is signed.
        let good = made.signed("once", now_s, body);
        let later = |muster: &Muster| muster.app.now().millis() / 1_000 - now_s;
        assert!(later(&muster) < 250, "this takes too long to tell");
        assert_eq!(made.send(&muster, &good, body).await.code, 202, "{source}");
        muster.pass(301_000);
        let dated = ["standard_webhooks", "stripe", "slack"].contains(&source);
        assert_eq!(made.send(&muster, &good, body).await.code, if dated { 401 } else { 200 }, "{source}");
        count += usize::from(dated);
    }
    let runs = runs(us).await.len();
    println!("{count} false deliveries: {} accepted", runs - SOURCES.len());
    assert_eq!(runs, SOURCES.len());
}

async fn who_has_no_proof_learns_nothing(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let known = trigger(us, &agent, "standard_webhooks", json!({"message": "x"})).await;
    let off = trigger(us, &agent, "standard_webhooks", json!({"message": "x", "enabled": false})).await;
    let gone = trigger(us, &agent, "standard_webhooks", json!({"message": "x"})).await;
    us.delete(&format!("/v1/triggers/{}", gone.id)).await.status(204);
    let at = |id: &str| Made { id: id.to_owned(), secret: known.secret.clone(), source: known.source.clone() };
    let unknown = format!("trig_{}", uuid::Uuid::now_v7());
    let (now_s, body) = (muster.app.now().millis() / 1_000, vec![b'x'; 200_000]);
    let tried = [
        ("without a proof", &known, Vec::new()),
        ("a false proof", &known, at("").signed("e", now_s, b"other")),
        ("switched off", &off, off.signed("e", now_s, &body)),
        ("deleted", &gone, gone.signed("e", now_s, &body)),
        ("unknown", &at(&unknown), known.signed("e", now_s, &body)),
        ("no id", &at("x"), known.signed("e", now_s, &body)),
        ("an id of something else", &at(&agent), known.signed("e", now_s, &body)),
    ];
    let mut first: Option<Answer> = None;
    let mut medians = Vec::new();
    for (what, made, headers) in &tried {
        let mut took = Vec::new();
        for _ in 0..21 {
            let begun = Instant::now();
            let mut headers = headers.clone();
            headers.push(("x-request-id", "same".to_owned()));
            let answer = made.send(&muster, &headers, &body).await;
            took.push(begun.elapsed());
            let first = first.get_or_insert_with(|| answer.clone());
            assert_eq!((answer.code, &answer.text, &answer.headers), (401, &first.text, &first.headers), "{what}");
        }
        took.sort_unstable();
        medians.push((*what, took[took.len() / 2]));
    }
    println!("{medians:?}");
    assert_eq!(runs(us).await.len(), 0);
    assert_eq!(known.send(&muster, &known.signed("e", now_s, &body), &body).await.code, 202);
}

async fn an_old_secret_holds_for_a_day(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let first = trigger(us, &agent, "standard_webhooks", json!({"message": "x"})).await;
    let path = format!("/v1/triggers/{}", first.id);
    let rotate = async |body: serde_json::Value| {
        let made = us.post(&format!("{path}/rotate_secret"), body).await.ok();
        Made { secret: made["secret"].as_str().unwrap().to_owned(), id: first.id.clone(), source: first.source.clone() }
    };
    let second = rotate(json!({})).await;
    assert_ne!(first.secret, second.secret);
    assert!(us.get(&path).await.ok()["previous_secret_until"].is_string());
    assert_eq!(first.deliver(&muster, "a", json!({})).await.code, 202);
    assert_eq!(second.deliver(&muster, "b", json!({})).await.code, 202);
    muster.pass(24 * 60 * 60 * 1000 - 60_000);
    assert_eq!(first.deliver(&muster, "c", json!({})).await.code, 202);
    muster.pass(61_000);
    assert_eq!(first.deliver(&muster, "d", json!({})).await.code, 401);
    assert_eq!(second.deliver(&muster, "d", json!({})).await.code, 202);
    assert!(us.get(&path).await.ok()["previous_secret_until"].is_null());
    let own = rotate(json!({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})).await;
    assert_eq!(own.secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert_eq!(own.deliver(&muster, "e", json!({})).await.code, 202);
    assert_eq!(us.post(&format!("{path}/rotate_secret"), json!({"secret": "short"})).await.param(), "secret");
    let once = us.with("idempotency-key", "rotate once");
    let same = [
        once.post(&format!("{path}/rotate_secret"), json!({})).await,
        once.post(&format!("{path}/rotate_secret"), json!({})).await,
    ];
    assert_eq!(same[0].text, same[1].text);
}

async fn a_body_that_is_too_large_is_not_read(muster: Muster) {
    let us = &muster.us;
    let agent = us.agent("demo/scripted-l0").await;
    let made = trigger(us, &agent, "github", json!({"message": "{{ body | length }}"})).await;
    let most = vec![b'x'; 1024 * 1024];
    assert_eq!(made.send(&muster, &made.signed("a", 0, &most), &most).await.code, 202);
    let more = [most, vec![b'x']].concat();
    assert_eq!(made.send(&muster, &made.signed("b", 0, &more), &more).await.code_of(413), "too_large");
    let odd = b"\xff\xfe\x00 no text";
    assert_eq!(made.send(&muster, &made.signed("c", 0, odd), odd).await.code, 202);
}

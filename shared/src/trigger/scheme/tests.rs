//! The vectors that senders publish, and whatever else may come.

use proptest::prelude::*;

use super::*;

/// A delivery that its sender's documents show.
struct Vector {
    source: Source,
    secret: &'static str,
    at_s: i64,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
    id: Option<&'static str>,
}

const SLACK: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
    channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F\
    hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.\
    803a0bc887a14d10d2c447fce8b6703c";

fn vectors() -> Vec<Vector> {
    let standard = |id: &str, at: i64, signature: &str| {
        let headers = [("webhook-id", id), ("webhook-signature", signature)];
        let mut headers: Vec<(&str, String)> = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
        headers.push(("webhook-timestamp", at.to_string()));
        headers
    };
    vec![
        // The specification's libraries test with this one.
        Vector {
            source: Source::StandardWebhooks,
            secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            at_s: 1_614_265_330,
            headers: standard(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            body: r#"{"test": 2432232314}"#,
            id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
        },
        // Several signatures, of which one is of another version and one of another secret.
        Vector {
            source: Source::StandardWebhooks,
            secret: "whsec_plJ3nmyCDGBKInavdOK15jsl",
            at_s: 1_731_705_121,
            headers: standard(
                "msg_loFOjxBNrRLzqYUf",
                1_731_705_121,
                "v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
            body: r#"{"event_type":"ping","data":{"success":true}}"#,
            id: Some("msg_loFOjxBNrRLzqYUf"),
        },
        // "Validating webhook deliveries" in GitHub's documents.
        Vector {
            source: Source::Github,
            secret: "It's a Secret to Everybody",
            at_s: 0,
            headers: vec![
                (
                    "x-hub-signature-256",
                    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".to_owned(),
                ),
                ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned()),
            ],
            body: "Hello, World!",
            id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        },
    ]
}

/// The same of others.
fn more_vectors() -> Vec<Vector> {
    vec![
        // Stripe publishes no secret with its example; this signature was made by another implementation of HMAC.
        Vector {
            source: Source::Stripe,
            secret: "whsec_test_secret",
            at_s: 1_492_774_577,
            headers: vec![(
                "stripe-signature",
                "t=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd,\
                 v1=88a022085c6bdb887b02cb26ff76dd681234d9675c0f22844059f55552a8883a,v0=00"
                    .to_owned(),
            )],
            body: r#"{"id":"evt_test_webhook","object":"event"}"#,
            id: Some("evt_test_webhook"),
        },
        // "Verifying requests from Slack" in its documents.
        Vector {
            source: Source::Slack,
            secret: "8f742231b10e8888abcd99yyyzzz85a5",
            at_s: 1_531_420_618,
            headers: vec![
                ("x-slack-request-timestamp", "1531420618".to_owned()),
                ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503".to_owned()),
            ],
            body: SLACK,
            id: None,
        },
        Vector {
            source: Source::Token,
            secret: "a token of the sender",
            at_s: 0,
            headers: vec![
                ("authorization", "bearer a token of the sender".to_owned()),
                ("idempotency-key", "e1".to_owned()),
            ],
            body: "",
            id: Some("e1"),
        },
    ]
}

fn headers(pairs: &[(&'static str, String)]) -> Headers {
    Headers::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn secrets(all: &[&str]) -> Vec<SecretString> {
    all.iter().map(|secret| SecretString::from((*secret).to_owned())).collect()
}

#[test]
fn what_senders_document_is_genuine_and_nothing_like_it() {
    for vector in vectors().into_iter().chain(more_vectors()) {
        let Vector { source, secret, at_s, body, id, .. } = vector;
        let given = headers(&vector.headers);
        let verified = |given: &Headers, body: &str, known: &[&str], now: i64| {
            verify(source, given, body.as_bytes(), &secrets(known), at(now))
        };
        let Some(Genuine::Event(found)) = verified(&given, body, &[secret], at_s) else { panic!("{source:?}") };
        assert!(id.map_or(found.as_deref().unwrap().starts_with("sha256:"), |id| found.as_deref() == Some(id)));
        assert!(verified(&given, body, &["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", secret], at_s).is_some());
        assert_eq!(verified(&given, body, &["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"], at_s), None, "{source:?}");
        assert_eq!(verified(&given, body, &[], at_s), None);
        if source != Source::Token {
            assert_eq!(verified(&given, &format!("{body} "), &[secret], at_s), None, "{source:?}: another body");
        }
        for moment in [at_s - 301, at_s + 301, i64::MIN / 1_000, i64::MAX / 1_000] {
            assert_eq!(verified(&given, body, &[secret], moment).is_some(), !source.dated(), "{source:?} {moment}");
        }
        assert!(verified(&given, body, &[secret], at_s - 300).is_some());
        for (name, value) in &vector.headers {
            let others = || vector.headers.iter().filter(|(its, _)| its != name).cloned();
            let needed = !["x-github-delivery", "idempotency-key"].contains(name);
            assert_eq!(verified(&headers(&others().collect::<Vec<_>>()), body, &[secret], at_s).is_none(), needed);
            let twice: Vec<_> = vector.headers.iter().cloned().chain([(*name, value.clone())]).collect();
            assert_eq!(verified(&headers(&twice), body, &[secret], at_s).is_none(), needed, "{name} twice");
        }
    }
}

#[test]
fn a_moment_that_is_no_moment_is_none() {
    for text in ["", "+5", " 5", "5.0", "0x5", "9223372036854775808", "-9223372036854775809", "--5", "\u{0661}"] {
        assert_eq!(seconds(text), None, "{text}");
    }
    for seconds in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
        assert!(!about_now(seconds, at(1_780_000_000)), "{seconds}");
    }
    assert!(!about_now(i64::MAX, Timestamp::from_millis(i64::MAX)) && about_now(0, at(300)) && !about_now(0, at(301)));
}

#[test]
fn where_an_id_ends_cannot_be_moved() {
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let signed = expected(Source::StandardWebhooks, key, "a.1780000000.", b"1780000000.body");
    let given = headers(&[
        ("webhook-id", "a.1780000000".to_owned()),
        ("webhook-timestamp", "1780000000".to_owned()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(signed))),
    ]);
    assert_eq!(verify(Source::StandardWebhooks, &given, b"body", &secrets(&[key]), at(1_780_000_000)), None);
}

#[test]
fn pings_and_questions_are_no_events() {
    let secret = "a secret";
    let body = br#"{"type":"url_verification","challenge":"abc"}"#;
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let slack = headers(&[
        ("x-slack-request-timestamp", "5".to_owned()),
        ("x-slack-signature", format!("v0={}", hex(expected(Source::Slack, secret, "v0:5:", body)))),
    ]);
    let challenge = verify(Source::Slack, &slack, body, &secrets(&[secret]), at(5));
    assert_eq!(challenge, Some(Genuine::Challenge("abc".to_owned())));
    let github = headers(&[
        ("x-github-event", "ping".to_owned()),
        ("x-hub-signature-256", format!("sha256={}", hex(expected(Source::Github, secret, "", b"{}")))),
    ]);
    assert_eq!(verify(Source::Github, &github, b"{}", &secrets(&[secret]), at(5)), Some(Genuine::Ping));
}

#[test]
fn a_secret_that_is_made_is_one_that_may_be_brought() {
    for source in Source::ALL.into_iter().filter(|source| source.by_http()) {
        assert_eq!(check_secret(source, &secret_of(source, &[251; 32])), Ok(()), "{source:?}");
        assert!(check_secret(source, &SecretString::from("short")).is_err());
    }
    assert!(check_secret(Source::StandardWebhooks, &SecretString::from("whsec_notbase64!")).is_err());
}

const NAMES: [&str; 11] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-hub-signature-256",
    "x-github-delivery",
    "stripe-signature",
    "x-slack-signature",
    "x-slack-request-timestamp",
    "authorization",
    "x-muster-token",
    "idempotency-key",
];

/// What stands in such headers, more or less.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "(v1,|v1a,|sha256=|v0=|t=|bearer )?[0-9a-fA-F]{0,66}",
        "t=-?[0-9]{1,20}(,v1=[0-9a-f]{64}){0,20}",
        "-?[0-9]{1,20}",
        Just(i64::MIN.to_string()),
        Just(i64::MAX.to_string()),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_sent_is_taken_or_makes_a_panic(
        pairs in proptest::collection::vec((0..NAMES.len(), value()), 0..12),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        now in any::<i64>(),
    ) {
        let headers = Headers::new(pairs.into_iter().map(|(name, value)| (NAMES[name].to_owned(), value)));
        let secret = secrets(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        for source in Source::ALL {
            prop_assert_eq!(verify(source, &headers, &body, &secret, Timestamp::from_millis(now)), None);
        }
    }
}

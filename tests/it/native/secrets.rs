//! Secrets: put, listed by name, deleted; nobody sees a value, and no organisation another's names. What fills templates with them
//! is tested beside it.

use serde_json::{Value, json};

use crate::harness::{Client, Muster, on_every_backend, text};

on_every_backend!(
    a_secret_is_put_listed_and_deleted,
    what_makes_no_secret_is_refused_with_its_field,
    names_are_listed_in_order_in_pages,
    an_organisation_has_its_secrets_for_itself,
);

async fn put(client: &Client, name: &str, value: &str) -> Value {
    client.send("PUT", &format!("/v1/secrets/{name}"), json!({ "value": value }).to_string()).await.ok()
}

async fn names(client: &Client) -> Vec<String> {
    let listed = client.get("/v1/secrets").await.ok();
    listed["data"].as_array().unwrap().iter().map(|secret| text(secret, "name")).collect()
}

async fn a_secret_is_put_listed_and_deleted(muster: Muster) {
    let us = &muster.us;
    assert_eq!(names(us).await, [""; 0]);
    let first = put(us, "WEATHER_KEY", "one").await;
    assert_eq!(first, json!({"name": "WEATHER_KEY", "updated_at": first["updated_at"]}));
    muster.pass(1_000);
    let second = put(us, "WEATHER_KEY", "two").await;
    assert!(text(&second, "updated_at") > text(&first, "updated_at"));
    put(us, "a-1", "\u{fc}\tx").await;
    let listed = us.get("/v1/secrets").await;
    assert!(!listed.text.contains("two"));
    let page = json!({
        "data": [{"name": "WEATHER_KEY", "updated_at": "<time>"}, {"name": "a-1", "updated_at": "<time>"}],
        "has_more": false, "next_cursor": null,
    });
    assert_eq!(listed.shape(200), page);
    assert_eq!(us.delete("/v1/secrets/WEATHER_KEY").await.text, "");
    assert_eq!(us.delete("/v1/secrets/WEATHER_KEY").await.status(404)["error"]["message"], "secret not found");
    assert_eq!(names(us).await, ["a-1"]);
    put(us, "WEATHER_KEY", "three").await;
    assert_eq!(names(us).await.len(), 2);
}

async fn what_makes_no_secret_is_refused_with_its_field(muster: Muster) {
    let us = &muster.us;
    let long = "a".repeat(65);
    for name in ["a.b", "a%20b", "%C3%A9", "a%00", "a%2Fb", &long] {
        let answer = us.send("PUT", &format!("/v1/secrets/{name}"), r#"{"value":"x"}"#).await;
        assert_eq!(answer.param(), "name", "{name}");
        assert_eq!(us.delete(&format!("/v1/secrets/{name}")).await.code, 404, "{name}");
    }
    let most = "\u{e9}".repeat(4_096);
    put(us, &"a".repeat(64), &most).await;
    let more = json!({"value": format!("{most}x")}).to_string();
    for (body, param) in [
        (r#"{"value":""}"#, json!("value")),
        (r#"{"value":"a\nb"}"#, json!("value")),
        (r#"{"value":"a\r"}"#, json!("value")),
        (r#"{"value":"a\u0000"}"#, json!("value")),
        (r#"{"value":"a\u007f"}"#, json!("value")),
        (&more, json!("value")),
        (r#"{"value":1}"#, json!("value")),
        (r#"{"value":null}"#, json!("value")),
        ("{}", json!("value")),
        (r#"{"value":"x","colour":1}"#, Value::Null),
        ("", Value::Null),
        ("\"x\"", Value::Null),
    ] {
        let answer = us.send("PUT", "/v1/secrets/KEY", body.to_owned()).await;
        assert_eq!(answer.param(), param, "{body}");
    }
    assert_eq!(us.get("/v1/secrets/KEY").await.code_of(405), "method_not_allowed");
    assert_eq!(us.get("/v1/secrets?limit=0").await.param(), "limit");
    assert_eq!(names(us).await.len(), 1);
}

async fn names_are_listed_in_order_in_pages(muster: Muster) {
    let us = &muster.us;
    for name in ["c", "B", "a", "1", "_"] {
        put(us, name, "x").await;
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/secrets?limit=2".to_owned());
    loop {
        let page = us.get(&path).await.ok();
        seen.extend(page["data"].as_array().unwrap().iter().map(|secret| text(secret, "name")));
        assert_eq!(page["has_more"], !page["next_cursor"].is_null());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/secrets?limit=2&after={cursor}");
    }
    assert_eq!(seen, ["1", "B", "_", "a", "c"]);
    let foreign = us.get("/v1/keys?limit=1").await.ok()["next_cursor"].clone();
    assert_eq!(foreign, Value::Null);
    assert_eq!(us.get("/v1/secrets?after=abc").await.param(), "after");
}

async fn an_organisation_has_its_secrets_for_itself(muster: Muster) {
    let (us, them) = (&muster.us, &muster.them);
    let ours = put(us, "KEY", "ours").await;
    assert_eq!(names(them).await, [""; 0]);
    let unknown = them.with("x-request-id", "same").delete("/v1/secrets/OTHER").await;
    let foreign = them.with("x-request-id", "same").delete("/v1/secrets/KEY").await;
    assert_eq!((foreign.code, &foreign.text), (404, &unknown.text));
    muster.pass(1_000);
    put(them, "KEY", "theirs").await;
    assert_eq!(us.get("/v1/secrets").await.ok()["data"], json!([ours]));
    us.delete("/v1/secrets/KEY").await.status(204);
    assert_eq!(names(them).await, ["KEY"]);
}

//! What holds for every call of this surface: unknown paths, wrong methods, keys, ids.

use serde_json::json;

use super::{agent, error_type, start, status_path};
use crate::harness::{Muster, on_every_backend};

on_every_backend!(
    unknown_paths_and_wrong_methods_are_answered_in_the_surfaces_body,
    a_missing_key_a_foreign_one_and_a_lesser_one_are_refused,
    a_chat_that_is_not_ours_is_not_found,
    a_body_that_is_too_large_is_refused,
);

async fn unknown_paths_and_wrong_methods_are_answered_in_the_surfaces_body(muster: Muster) {
    let root = "/api/v1/resource";
    for path in ["/", "/nothing", "/agent/x", "/agent/x/chat/", "/chat", "/chat/x", "/chat/x/y/status"] {
        let answer = muster.us.get(&format!("{root}{path}")).await;
        let expected = json!({"success": false, "errorType": "NotFound", "message": "path not found"});
        assert_eq!(answer.status(404), expected, "{path}");
    }
    for (method, path, allowed) in [
        ("GET", "/agent/x/chat", "POST"),
        ("PUT", "/agent/x/chat/batch", "POST"),
        ("DELETE", "/agent/x/update", "POST"),
        ("POST", "/chat/x/status", "GET"),
        ("POST", "/chat/x/list", "GET"),
        ("POST", "/chat/list", "GET"),
    ] {
        let answer = muster.us.send(method, &format!("{root}{path}"), "{}").await;
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
        assert_eq!(error_type(answer, 405), "InvalidInput");
    }
}

async fn a_missing_key_a_foreign_one_and_a_lesser_one_are_refused(muster: Muster) {
    let path = "/api/v1/resource/chat/list";
    let nobody = muster.us.with("authorization", "none").get(path).await;
    assert_eq!(nobody.header("www-authenticate"), "Bearer");
    assert_eq!(error_type(nobody, 401), "Unauthorized");
    let foreign = muster.us.with("x-org-id", &muster.them.org.to_string());
    assert_eq!(error_type(foreign.get(path).await, 403), "Forbidden");
    muster.us.with("x-org-id", &muster.us.org.to_string()).get(path).await.ok();
    let lesser = muster.us.new_key(json!({"scopes": ["agents:read"]})).await;
    let refused = lesser.get(path).await;
    assert_eq!(refused.body["info"], json!({"missingScopes": ["runs:read"]}));
    assert_eq!(error_type(refused, 403), "Forbidden");
    let hasty = muster.us.new_key(json!({"requests_per_minute": 1})).await;
    hasty.get(path).await.ok();
    let refused = hasty.get(path).await;
    assert_eq!(refused.header("retry-after"), "60");
    assert_eq!(error_type(refused, 429), "RateLimited");
}

async fn a_chat_that_is_not_ours_is_not_found(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let ids = start(&muster, &agent, &["a"]).await;
    let list = |id: &str| format!("/api/v1/resource/chat/{id}/list");
    for path in [&status_path as &dyn Fn(&str) -> String, &list] {
        let foreign = muster.them.get(&path(&ids[0])).await;
        let prefixed = format!("run_{}", ids[0]);
        for other in ["019a2b3c-4d5e-7f60-8123-456789abcdef", "1", "x%00", &prefixed, &"9".repeat(300)] {
            let unknown = muster.them.get(&path(other)).await;
            assert_eq!((foreign.code, &foreign.text), (404, &unknown.text), "{other}");
        }
        assert_eq!(foreign.body, json!({"success": false, "errorType": "NotFound", "message": "chat not found"}));
        muster.us.get(&path(&ids[0])).await.ok();
    }
}

async fn a_body_that_is_too_large_is_refused(muster: Muster) {
    let agent = agent(&muster.us, "demo/scripted-l0").await;
    let body = vec![b' '; functions::BODY_LIMIT_BYTES + 1];
    assert_eq!(error_type(muster.us.send("POST", &super::chat_path(&agent), body).await, 413), "InvalidInput");
}

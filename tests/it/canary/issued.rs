//! What is told once, to who asked for it: new keys, and addresses for uploads. And addresses of attachments, which may be signed.

use bytes::Bytes;
use http::{Request, request::Builder};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use model_server::Tools;
use serde_json::json;
use tokio::net::TcpListener;

use super::tools::told;
use crate::harness::{Answer, Muster, text};

/// Makes a key and an address for an upload, each asked for twice, and uses them over the network. Both secrets, and all answers but
/// those that shall tell them.
pub(super) async fn told_once(muster: &Muster) -> (Vec<String>, Vec<Answer>) {
    let once = muster.us.with("idempotency-key", "told once");
    let (key, again) =
        (once.post("/v1/keys", json!({"scopes": ["runs:write"]})).await, json!({"scopes": ["runs:write"]}));
    assert_eq!(once.post("/v1/keys", again).await.text, key.text);
    let announced = json!({"name": "a.txt", "media_type": "text/plain", "bytes": 4});
    let file = once.post("/v1/files", announced.clone()).await;
    assert_eq!(once.post("/v1/files", announced).await.text, file.text);
    let (key, url) = (text(&key.status(201), "key"), text(&file.body["upload"], "url"));
    let token = url.split_once("token=").unwrap().1.to_owned();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(muster::http::serve(listener, muster.app.clone(), std::future::pending()));
    for (target, body, code) in
        [(format!("{url}x"), "aaaa", 404), (url.clone(), "a", 400), (url.clone(), "aaaa", 200), (url, "aaaa", 409)]
    {
        let (status, said) = sent(Request::put(format!("{host}{target}")), body).await;
        assert!(status == code && !said.contains(&token), "{status} in place of {code}");
    }
    let bearer = format!("Bearer {key}");
    let (status, said) = sent(Request::get(format!("{host}/v1/files")).header("authorization", bearer), "").await;
    assert!(status == 403 && !said.contains(&key), "{status}");
    serving.abort();
    let mut others = Vec::new();
    for path in ["/v1/files".to_owned(), format!("/v1/files/{}", text(&file.body, "id")), "/v1/keys".to_owned()] {
        others.push(muster.us.get(&path).await);
    }
    let decoded = token.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    (vec![key, token, decoded], others)
}

/// The status and the body of what is answered over the network.
async fn sent(request: Builder, body: &'static str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request.body(Full::from(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

/// Attaches what is behind addresses that have the canary in their queries: one that is there, and some that are not.
pub(super) async fn attached(muster: &Muster, canary: &str) -> Vec<Answer> {
    let tools = Tools::start().await.unwrap();
    let agent = muster.us.agent("demo/scripted-l0").await;
    let path = format!("/v1/agents/{agent}/runs");
    let body = |url: String| json!({"message": "look", "attachments": [{"url": url}]});
    let good = muster.us.post(&path, body(tools.url(&format!("/do/a.json?signature={canary}")))).await;
    assert!(good.code == 202 && tools.effects()[0].path.contains(canary), "{}", good.text);
    Box::pin(muster.drain()).await;
    let mut answers = told(muster, &text(&good.body, "id")).await;
    for url in [
        tools.url(&format!("/do/b?status=404&signature={canary}")),
        tools.url(&format!("/do/c?cut=1&signature={canary}")),
        format!("http://127.0.0.1:1/?signature={canary}"),
        format!("http://10.0.0.1/?signature={canary}"),
        format!("https://user:{canary}@example.com/"),
        format!("ftp://example.com/{canary}"),
        format!("http://[{canary}/"),
    ] {
        let refused = muster.us.post(&path, body(url)).await;
        assert_eq!(refused.code, 400, "{}", refused.text);
        answers.push(refused);
    }
    answers.extend([good, muster.us.get("/v1/files").await]);
    answers
}

//! Triggers: how events come, are proven and told apart, and what they start; and what their owner does with them.

mod chains;
mod delivered;
mod forged;
mod made;
mod owned;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Muster, text};

/// A trigger as it was made: with its secret.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) secret: String,
    source: String,
}

/// Makes one of this source, with these fields besides.
pub(crate) async fn trigger(client: &Client, agent: &str, source: &str, others: Value) -> Made {
    let mut body = json!({"agent_id": agent, "name": "events", "source": source});
    body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    let made = client.post("/v1/triggers", body).await.status(201);
    Made {
        id: text(&made, "id"),
        secret: made["secret"].as_str().unwrap_or_default().to_owned(),
        source: source.to_owned(),
    }
}

/// HMAC-SHA-256, by the definition (RFC 2104) over the library's digest: not by the code that is tested.
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let digest = |parts: &[&[u8]]| sha256(&parts.concat());
    let mut block = if key.len() > 64 { digest(&[key]) } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |byte: u8| block.iter().map(|one| one ^ byte).collect::<Vec<u8>>();
    digest(&[&pad(0x5c), &digest(&[&pad(0x36), message])])
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Made {
    /// The headers of a genuine delivery of this event at that moment, in seconds.
    pub(crate) fn signed(&self, event: &str, at_s: i64, body: &[u8]) -> Vec<(&'static str, String)> {
        let secret = self.secret.as_bytes();
        let over = |before: String| [before.as_bytes(), body].concat();
        match self.source.as_str() {
            "standard_webhooks" => {
                let key = STANDARD.decode(self.secret.strip_prefix("whsec_").unwrap()).unwrap();
                let signature = STANDARD.encode(hmac(&key, &over(format!("{event}.{at_s}."))));
                vec![
                    ("webhook-id", event.to_owned()),
                    ("webhook-timestamp", at_s.to_string()),
                    ("webhook-signature", format!("v1,{signature}")),
                ]
            }
            "github" => vec![
                ("x-hub-signature-256", format!("sha256={}", hex(&hmac(secret, body)))),
                ("x-github-delivery", event.to_owned()),
                ("x-github-event", "push".to_owned()),
            ],
            "stripe" => {
                vec![("stripe-signature", format!("t={at_s},v1={}", hex(&hmac(secret, &over(format!("{at_s}."))))))]
            }
            "slack" => vec![
                ("x-slack-request-timestamp", at_s.to_string()),
                ("x-slack-signature", format!("v0={}", hex(&hmac(secret, &over(format!("v0:{at_s}:")))))),
            ],
            _ => vec![("authorization", format!("Bearer {}", self.secret)), ("idempotency-key", event.to_owned())],
        }
    }

    /// Sends these bytes with these headers.
    pub(crate) async fn send(&self, muster: &Muster, headers: &[(&'static str, String)], body: &[u8]) -> Answer {
        let mut sender = muster.us.nobody();
        for (name, value) in headers {
            sender = sender.with(name, value);
        }
        sender.send("POST", &format!("/v1/hooks/{}", self.id), body.to_vec()).await
    }

    /// Delivers an event now, with its id where its sender has it in the body too.
    pub(crate) async fn deliver(&self, muster: &Muster, event: &str, body: Value) -> Answer {
        let mut body = body;
        if let Some(fields) = body.as_object_mut() {
            let name = if self.source == "slack" { "event_id" } else { "id" };
            fields.insert(name.to_owned(), json!(event));
        }
        let body = body.to_string();
        let at_s = muster.app.now().millis() / 1_000;
        self.send(muster, &self.signed(event, at_s, body.as_bytes()), body.as_bytes()).await
    }
}

/// Every source whose events come by HTTP.
const SOURCES: [&str; 5] = ["standard_webhooks", "github", "stripe", "slack", "token"];

/// How many runs there are.
async fn runs(client: &Client) -> Vec<Value> {
    let (mut runs, mut path) = (Vec::new(), "/v1/runs?limit=100".to_owned());
    loop {
        let page = client.get(&path).await.ok();
        runs.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/runs?limit=100&after={cursor}"),
            None => return runs,
        }
    }
}

/// What the run was told.
async fn told(client: &Client, run: &str) -> Value {
    client.get(&format!("/v1/runs/{run}/messages")).await.ok()["data"][0]["content"].clone()
}

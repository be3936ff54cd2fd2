//! Objects that are put into a bucket start batches: events of EventBridge, through the border, and the emulator's S3.

use std::time::Duration;

use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use serde_json::{Value, json};
use shared::{engine, s3, trigger::Buckets};

use crate::{agent::Muster, emulator::Emulator};

/// A Muster whose triggers may read the bucket `drop`, and that bucket.
struct Bucket {
    muster: Muster,
    http: reqwest::Client,
    emulator: Emulator,
}

impl Bucket {
    async fn start() -> Self {
        let emulator = Emulator::start().await;
        // reqwest has no TLS of its own here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for bucket in ["drop", "other"] {
            let made = http.put(format!("{}/{bucket}", emulator.endpoint())).send().await.unwrap();
            assert!(made.status().is_success(), "{}", made.status());
        }
        let credentials = SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "test"));
        let client = s3::Client::new(credentials, "eu-west-1".to_owned()).unwrap().at(emulator.endpoint());
        let buckets = Buckets::new(client, "MUSTER_SOURCE_BUCKETS", "drop").unwrap();
        let muster = Muster::with(|app| app.with_buckets(buckets)).await;
        Self { muster, http, emulator }
    }

    /// Puts an object, by its key as a URL has it.
    async fn put(&self, key: &str, body: impl Into<String>) {
        let url = format!("{}/drop/{key}", self.emulator.endpoint());
        let put = self.http.put(url).body(body.into()).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
    }

    async fn agent(&self, others: Value) -> String {
        let mut body = json!({"name": "rows", "model": "demo/scripted-l0"});
        body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        let (status, agent) = self.muster.send("POST", "/v1/agents", body).await;
        assert_eq!(status, 201, "{agent}");
        agent["id"].as_str().unwrap().to_owned()
    }

    async fn trigger(&self, others: Value) -> (u16, Value) {
        let mut body = json!({"name": "uploads", "source": "s3", "object": {"bucket": "drop"}});
        body.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        self.muster.send("POST", "/v1/triggers", body).await
    }

    /// What a rule's invocation of the function comes to.
    async fn received(&self, trigger: &Value, event: Value) -> Value {
        let delivered = serde_json::from_value(json!({"trigger_id": trigger["id"], "event": event})).unwrap();
        let received = Box::pin(functions::receive_event::receive_event(&self.muster.app, delivered)).await;
        serde_json::to_value(received.unwrap()).unwrap()
    }

    /// What the batch's runs were told, with their custom ids, in the order of the items, when all have ended.
    async fn told(&mut self, batch: &Value) -> Vec<(Value, Value)> {
        while let Ok(Some(chunk)) =
            tokio::time::timeout(Duration::from_millis(300), self.muster.receiver.receive()).await
        {
            engine::work_on(&self.muster.app, chunk, None).await.unwrap();
        }
        let path = format!("/v1/batches/{}/results", batch.as_str().unwrap());
        let (_, results) = self.muster.send("GET", &path, Value::Null).await;
        let mut told = Vec::new();
        for result in results["data"].as_array().unwrap() {
            assert_eq!(result["status"], "done", "{result}");
            let path = format!("/v1/runs/{}/messages", result["run_id"].as_str().unwrap());
            let (_, messages) = self.muster.send("GET", &path, Value::Null).await;
            told.push((result["custom_id"].clone(), messages["data"][0]["content"].clone()));
        }
        told
    }

    async fn problem(&self, trigger: &Value) -> Value {
        let path = format!("/v1/triggers/{}/events", trigger["id"].as_str().unwrap());
        let (_, events) = self.muster.send("GET", &path, Value::Null).await;
        assert_eq!(events["data"][0]["outcome"], "failed", "{events}");
        events["data"][0]["problems"][0].clone()
    }
}

/// As EventBridge tells of a put: under an id of its own each time. What was put is whatever is there.
fn put_event(bucket: &str, key: &str, sequencer: &str) -> Value {
    json!({"version": "0", "id": uuid::Uuid::now_v7().to_string(), "detail-type": "Object Created", "source": "aws.s3",
        "account": "111122223333", "time": "2026-11-27T21:00:00Z", "region": "eu-west-1", "resources": [format!("arn:aws:s3:::{bucket}")],
        "detail": {"version": "0", "bucket": {"name": bucket}, "reason": "PutObject", "requester": "111122223333",
            "object": {"key": key, "size": 1, "sequencer": sequencer}}})
}

#[tokio::test]
async fn an_upload_starts_a_batch_once() {
    let mut bucket = Bucket::start().await;
    let agent = bucket.agent(json!({"inputs": [{"name": "company"}, {"name": "city"}]})).await;
    let (status, trigger) = bucket
        .trigger(json!({"agent_id": agent, "object": {"bucket": "drop", "prefix": "in/", "suffix": ".csv"}}))
        .await;
    assert_eq!(status, 201, "{trigger}");
    // A key with a blank, a plus and more: as EventBridge has it, which does not escape it.
    bucket
        .put("in/a%20b%2Bc%25%C3%A9.csv", "custom_id,company,city\nx,\"Acme, Inc.\",Leeds\n,Globex,Springfield\n")
        .await;
    let event = || put_event("drop", "in/a b+c%é.csv", "1");
    let received = tokio::join!(
        bucket.received(&trigger, event()),
        bucket.received(&trigger, event()),
        bucket.received(&trigger, event())
    );
    let received = [received.0, received.1, received.2];
    let batch = received[0]["batch_id"].clone();
    assert!(received.iter().all(|one| one["batch_id"] == batch), "{received:?}");
    assert_eq!(received.iter().filter(|one| one["duplicate"] == false).count(), 1, "{received:?}");
    let inputs = |company: &str, city: &str| json!(json!({"city": city, "company": company}).to_string());
    let told = bucket.told(&batch).await;
    let same = |said: &Value, expected: &Value| {
        let read = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();
        read(said) == read(expected)
    };
    assert_eq!((&told[0].0, &told[1].0, told.len()), (&json!("x"), &Value::Null, 2));
    assert!(same(&told[0].1, &inputs("Acme, Inc.", "Leeds")) && same(&told[1].1, &inputs("Globex", "Springfield")));
    // Put again, it is another event.
    let again = bucket.received(&trigger, put_event("drop", "in/a b+c%é.csv", "2")).await;
    assert!(again["batch_id"].is_string() && again["batch_id"] != batch, "{again}");
    // Others are none of this trigger's.
    for (name, key) in [("drop", "out/a.csv"), ("drop", "in/a.txt"), ("other", "in/a.csv")] {
        assert_eq!(bucket.received(&trigger, put_event(name, key, "3")).await["skipped"], "filtered");
    }
    let mut deleted = put_event("drop", "in/a.csv", "4");
    deleted["detail-type"] = json!("Object Deleted");
    assert_eq!(bucket.received(&trigger, deleted).await["skipped"], "filtered");
}

#[tokio::test]
async fn rows_are_read_as_the_key_says_and_templates_make_of_them_what_the_agent_is_told() {
    let mut bucket = Bucket::start().await;
    let agent = bucket.agent(json!({})).await;
    let (_, plain) = bucket.trigger(json!({"agent_id": agent})).await;
    let templates = json!({"agent_id": agent, "message": "{{ row.name }} ({{ row.n }}) of {{ body.detail.object.key }}",
        "custom_id": "{{ row.name }}", "reduce": {"message": "{{ results | length }}"}});
    let (status, each) = bucket.trigger(templates).await;
    assert_eq!((status, &each["custom_id"], &each["rows"]), (201, &json!("{{ row.name }}"), &Value::Null), "{each}");
    bucket.put("lines.txt", "one\n\ntwo\n").await;
    bucket.put("rows.jsonl", "{\"name\":\"a\",\"n\":1}\n{\"name\":\"b\",\"n\":2}\n").await;
    bucket.put("table.csv", "name,n\nc,3\n").await;
    let batch = bucket.received(&plain, put_event("drop", "lines.txt", "1")).await["batch_id"].clone();
    let told: Vec<Value> = bucket.told(&batch).await.into_iter().map(|(_, told)| told).collect();
    assert_eq!(told, [json!("one"), json!("two")]);
    let batch = bucket.received(&each, put_event("drop", "rows.jsonl", "1")).await["batch_id"].clone();
    let told = bucket.told(&batch).await;
    assert_eq!(told, [(json!("a"), json!("a (1) of rows.jsonl")), (json!("b"), json!("b (2) of rows.jsonl"))]);
    let path = format!("/v1/batches/{}", batch.as_str().unwrap());
    assert!(bucket.muster.send("GET", &path, Value::Null).await.1["reduce"]["run_id"].is_string());
    let batch = bucket.received(&each, put_event("drop", "table.csv", "1")).await["batch_id"].clone();
    assert_eq!(bucket.told(&batch).await, [(json!("c"), json!("c (3) of table.csv"))]);
    // 10,000 rows are a batch, one more are none.
    bucket.put("many.txt", "x\n".repeat(10_000)).await;
    let many = bucket.received(&plain, put_event("drop", "many.txt", "1")).await["batch_id"].clone();
    let path = format!("/v1/batches/{}", many.as_str().unwrap());
    assert_eq!(bucket.muster.send("GET", &path, Value::Null).await.1["items"], 10_000);
}

#[tokio::test]
async fn what_is_no_batch_is_said_and_starts_nothing() {
    let bucket = Bucket::start().await;
    let agent = bucket.agent(json!({})).await;
    let (_, plain) = bucket.trigger(json!({"agent_id": agent})).await;
    let (_, each) = bucket.trigger(json!({"agent_id": agent, "message": "{{ row.name.x.y }}"})).await;
    bucket.put("bad.jsonl", "{\"message\":\"a\"}\nno json\n").await;
    bucket.put("empty.txt", "\n").await;
    bucket.put("large.txt", "x".repeat(20 * 1024 * 1024 + 1)).await;
    bucket.put("many.txt", "x\n".repeat(10_001)).await;
    bucket.put("rows.jsonl", "{\"name\":\"a\"}\n").await;
    for (trigger, key, field, said) in [
        (&plain, "bad.jsonl", "object", "bad.jsonl: line 2: "),
        (&plain, "empty.txt", "object", "empty.txt: must have 1 to 10000 rows, not 0"),
        (&plain, "large.txt", "object", "large.txt: has more than 20971520 bytes"),
        (&plain, "many.txt", "object", "many.txt: must have 1 to 10000 rows, not 10001"),
        (&plain, "missing.txt", "object", "missing.txt: is not there"),
        (&each, "rows.jsonl", "rows[0].message", ""),
    ] {
        let received = bucket.received(trigger, put_event("drop", key, "1")).await;
        assert!(received["skipped"].is_string() && received["batch_id"].is_null(), "{key}: {received}");
        let problem = bucket.problem(trigger).await;
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["message"].as_str().unwrap().starts_with(said), "{problem}");
    }
    assert_eq!(bucket.muster.send("GET", "/v1/runs", Value::Null).await.1["data"], json!([]));
    for (body, param) in [
        (json!({"object": {"bucket": "other"}}), "object.bucket"),
        (json!({"object": null}), "object"),
        (json!({"object": {"bucket": "drop", "prefix": "x".repeat(1_025)}}), "object.prefix"),
        (json!({"rows": "body.x", "message": "x"}), "rows"),
        (json!({"custom_id": "x"}), "message"),
        (json!({"source": "token"}), "object"),
    ] {
        let mut others = json!({"agent_id": agent});
        others.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let (status, refused) = bucket.trigger(others).await;
        assert_eq!((status, &refused["error"]["param"]), (400, &json!(param)), "{refused}");
    }
}

#[tokio::test]
async fn a_late_event_starts_nothing_with_what_was_put_since() {
    let mut bucket = Bucket::start().await;
    let agent = bucket.agent(json!({})).await;
    let (_, trigger) = bucket.trigger(json!({"agent_id": agent})).await;
    let put = |etag: &str, sequencer: &str| {
        let mut event = put_event("drop", "lines.txt", sequencer);
        event["detail"]["object"]["etag"] = json!(etag);
        event
    };
    // MD5 of the objects, as S3 has it.
    let (old, new) = ("5bbf5a52328e7439ae6e719dfe712200", "c193497a1a06b2c72230e6146ff47080");
    bucket.put("lines.txt", "two\n").await;
    let late = bucket.received(&trigger, put(old, "1")).await;
    assert!(late["skipped"].is_string() && late["batch_id"].is_null(), "{late}");
    let problem = bucket.problem(&trigger).await;
    assert_eq!(
        problem["message"],
        "lines.txt: is another than the event tells of: it was put again, which is an event of its own"
    );
    let batch = bucket.received(&trigger, put(new, "2")).await["batch_id"].clone();
    assert_eq!(bucket.told(&batch).await, [(Value::Null, json!("two"))]);
    // What is no tag is not sent as one.
    for (etag, sequencer) in [("a\"\r\nx: y".to_owned(), "3"), ("x".repeat(129), "4"), (String::new(), "5")] {
        let received = bucket.received(&trigger, put(&etag, sequencer)).await;
        assert!(received["batch_id"].is_string(), "{received}");
    }
}

#[tokio::test]
async fn rules_reach_a_server_by_http_too() {
    let bucket = Bucket::start().await;
    let agent = bucket.agent(json!({})).await;
    let (_, trigger) = bucket.trigger(json!({"agent_id": agent})).await;
    bucket.put("lines.txt", "one\n").await;
    let post = async |token: &str, event: &Value| {
        let request = http::Request::builder().method("POST").uri(trigger["url_path"].as_str().unwrap());
        let request = request.header("x-muster-token", token).body(bytes::Bytes::from(event.to_string())).unwrap();
        let response = functions::handle(&bucket.muster.app, request).await;
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    let secret = trigger["secret"].as_str().unwrap();
    let event = put_event("drop", "lines.txt", "1");
    for wrong in ["", "whsec_", &secret[1..]] {
        assert_eq!(post(wrong, &event).await.0, 401);
    }
    let (status, first) = post(secret, &event).await;
    assert_eq!((status, first["batch_id"].is_string()), (202, true), "{first}");
    let (status, again) = post(secret, &put_event("drop", "lines.txt", "1")).await;
    assert_eq!((status, &again["batch_id"], &again["duplicate"]), (200, &first["batch_id"], &json!(true)));
    assert_eq!(post(secret, &json!("no event")).await.0, 400);
    assert_eq!(bucket.muster.send("GET", "/v1/runs", Value::Null).await.1["data"].as_array().unwrap().len(), 1);
}

//! Files in a bucket, through the border and signed URLs, against the emulator's S3.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::poll;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use shared::{
    App,
    api_key::{self, NewKey},
    clock::Clock,
    config::{Config, LEASE_MS, SyncRuns},
    file::{self, Files, Limits, S3, UNCLAIMED_MS},
    limit::Limiter,
    model::settings::Settings,
    queue::{Queue, embedded::Embedded},
    store::{Backend, Store, sqlite::Sqlite},
};

use crate::emulator::Emulator;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot really a picture";

/// A Muster whose files are in a bucket.
struct Muster {
    app: App,
    key: String,
    bucket: String,
    shift: Arc<AtomicI64>,
    http: Http<HttpConnector, Full<Bytes>>,
    _emulator: Emulator,
    _folder: tempfile::TempDir,
}

impl Muster {
    async fn start() -> Self {
        let emulator = Emulator::start().await;
        let http = Http::builder(TokioExecutor::new()).build_http();
        let bucket = format!("{}/files", emulator.endpoint());
        let made = http.request(request("PUT", &bucket, &[], Bytes::new())).await.unwrap();
        assert!(made.status().is_success(), "{}", made.status());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(Backend::Sqlite(Sqlite::open(&folder.path().join("muster.db")).unwrap()));
        let config = Config {
            pepper: SecretString::from("a pepper for tests, 32 bytes long"),
            models: Settings::from_lookup(|_| None),
            judge_model: None,
            embedding_model: None,
            lease_ms: LEASE_MS,
            model_timeout_ms: 1_000,
            sync_runs: SyncRuns::InProcess { limit_ms: 30_000 },
            allow_cidrs: Vec::new(),
            completions_path: None,
            files: Limits::default(),
            sole_epoch: None,
        };
        let files = Files::S3(S3::new(&emulator.config().await, &bucket).unwrap());
        let (queue, _) = Embedded::new();
        let shift = Arc::new(AtomicI64::new(0));
        let clock = Clock::Shifted(Arc::clone(&shift));
        let app = App::new(config, clock, store, Queue::Embedded(queue), files, Limiter::in_memory()).unwrap();
        let (_, minted) = api_key::create_for_organisation(&app, "us", NewKey::default()).await.unwrap();
        let key = minted.secret.expose_secret().to_owned();
        Self { app, key, bucket, shift, http, _emulator: emulator, _folder: folder }
    }

    /// Through our border.
    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, http::HeaderMap, Value) {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", self.key)).body(body).unwrap();
        let (parts, body) = functions::handle(&self.app, request).await.into_parts();
        let Ok::<_, Infallible>(body) = body.collect().await;
        (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body.to_bytes()).unwrap_or_default())
    }

    /// To the bucket, as a client with a signed URL.
    async fn direct(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Bytes) {
        let request = request(method, url, headers, Bytes::copy_from_slice(body));
        let response = self.http.request(request).await.unwrap();
        (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
    }

    /// How many objects the bucket has below that.
    async fn objects(&self, prefix: &str) -> usize {
        let (code, listed) =
            self.direct("GET", &format!("{}?list-type=2&prefix={prefix}", self.bucket), &[], b"").await;
        assert_eq!(code, 200);
        String::from_utf8_lossy(&listed).matches("<Key>").count()
    }

    async fn content(&self, id: &str) -> Bytes {
        let (code, headers, _) = self.send("GET", &format!("/v1/files/{id}/content"), Value::Null).await;
        assert_eq!(code, 302);
        let (code, bytes) = self.direct("GET", headers["location"].to_str().unwrap(), &[], b"").await;
        assert_eq!(code, 200);
        bytes
    }
}

fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Bytes) -> http::Request<Full<Bytes>> {
    let request = http::Request::builder().method(method).uri(url);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(Full::new(body)).unwrap()
}

#[tokio::test]
async fn a_file_in_a_bucket_is_kept_read_shown_and_deleted() {
    let muster = Muster::start().await;
    let body = json!({"name": "dot.png", "media_type": "image/png", "data": STANDARD.encode(PNG)});
    let (code, _, made) = muster.send("POST", "/v1/files", body).await;
    assert_eq!((code, &made["status"]), (201, &json!("ready")), "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(muster.content(id).await, PNG);
    let agent = json!({"name": "seer", "model": "demo/scripted-l0"});
    let (_, _, agent) = muster.send("POST", "/v1/agents", agent).await;
    let path = format!("/v1/agents/{}/runs?wait=20", agent["id"].as_str().unwrap());
    let (code, _, run) = muster.send("POST", &path, json!({"message": "see", "attachments": [{"file_id": id}]})).await;
    assert_eq!(code, 200, "{run}");
    assert!(run["result"].as_str().unwrap().contains("1 image"), "{run}");
    let path = format!("/v1/files/{id}");
    assert_eq!(muster.send("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(muster.send("GET", &path, Value::Null).await.0, 404);
}

#[tokio::test]
async fn an_upload_to_a_bucket_is_checked_and_then_never_changes() {
    let muster = Muster::start().await;
    let announced = |bytes: usize| json!({"name": "a.txt", "media_type": "text/plain", "bytes": bytes});
    let large = vec![b'x'; 9 * 1024 * 1024];
    let (code, _, made) = muster.send("POST", "/v1/files", announced(large.len())).await;
    assert_eq!((code, &made["status"]), (201, &json!("pending")), "{made}");
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    assert_eq!(muster.send("GET", &path, Value::Null).await.2["status"], "pending");
    let url = made["upload"]["url"].as_str().unwrap();
    assert!(url.contains("X-Amz-Signature=") && url.contains("/uploads/"), "{url}");
    let headers = [("content-type", "text/plain")];
    assert_eq!(muster.direct("PUT", url, &headers, &large).await.0, 200);
    let ready = muster.send("GET", &path, Value::Null).await.2;
    assert_eq!((&ready["status"], &ready["bytes"]), (&json!("ready"), &json!(large.len())));
    // The address still holds; what it leads to is not the file any more.
    muster.direct("PUT", url, &headers, &vec![b'y'; large.len()]).await;
    assert_eq!(muster.send("GET", &path, Value::Null).await.2, ready);
    assert_eq!(muster.content(made["id"].as_str().unwrap()).await, large);

    let (_, _, made) = muster.send("POST", "/v1/files", announced(3)).await;
    muster.direct("PUT", made["upload"]["url"].as_str().unwrap(), &headers, b"\xff\xfe\xfd").await;
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    let rejected = muster.send("GET", &path, Value::Null).await.2;
    assert_eq!(rejected["status"], "rejected", "{rejected}");
    assert!(rejected["problem"].as_str().unwrap().contains("UTF-8"), "{rejected}");
}

#[tokio::test]
async fn bytes_in_a_bucket_whose_row_was_never_written_go_after_a_day() {
    let muster = Muster::start().await;
    let body = json!({"name": "dot.png", "media_type": "image/png", "data": STANDARD.encode(PNG)});
    {
        // Asked until the bytes are there, and no further: as when the process died then.
        let mut request = pin!(muster.send("POST", "/v1/files", body.clone()));
        while muster.objects("files/").await == 0 {
            assert!(poll!(&mut request).is_pending());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(muster.send("GET", "/v1/files", Value::Null).await.2["data"], json!([]));
    let (_, _, kept) = muster.send("POST", "/v1/files", body).await;
    file::sweep(&muster.app).await.unwrap();
    assert_eq!(muster.objects("files/").await, 2);
    muster.shift.fetch_add(UNCLAIMED_MS + 1, Ordering::Relaxed);
    file::sweep(&muster.app).await.unwrap();
    assert_eq!(muster.objects("files/").await, 1);
    assert_eq!(muster.content(kept["id"].as_str().unwrap()).await, PNG);
}

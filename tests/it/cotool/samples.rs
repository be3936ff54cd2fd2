//! The requests of the vendor's documents, sent over a connection as curl sends them. Each answer is held to the shape that the vendor
//! gives it (`answers.json`, which knows nothing of our types), and to our own document. Each call of this surface is among them.

use std::collections::{BTreeMap, BTreeSet};

use functions::{Route, Routes, Surface};
use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::made;
use crate::harness::{Answer, Client, Muster, assert_documented, on_every_backend, text};

#[test]
fn every_call_of_the_surface_has_a_sample_that_is_answered_well() {
    let all = samples();
    let of = |sample: &Sample| {
        let bare = sample.path.split('?').next().unwrap();
        let (route, _) = Routes::all().find(&Method::from_bytes(sample.method.as_bytes()).unwrap(), bare).ok()?;
        Some(route.name).filter(|_| sample.status == 200)
    };
    let sampled: BTreeSet<&str> = all.iter().filter_map(of).collect();
    let calls = Route::all().filter(|route| route.surface == Surface::Cotool).map(|route| route.name);
    assert_eq!(calls.filter(|call| !sampled.contains(call)).collect::<Vec<_>>(), [""; 0]);
}

on_every_backend!(every_sample_is_answered_as_the_vendor_documents);

/// A request, and what is expected of its answer.
struct Sample {
    about: &'static str,
    method: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    status: u16,
    shape: &'static str,
    /// Which parts of the answer are kept, by name.
    kept: Vec<(&'static str, &'static str)>,
}

fn samples() -> Vec<Sample> {
    let blocks = include_str!("samples.txt").split("\n\n").skip(1).map(str::trim).filter(|block| !block.is_empty());
    blocks.map(sample).collect()
}

fn sample(block: &'static str) -> Sample {
    let lines: Vec<&str> = block.lines().collect();
    let [about, line, body @ .., expected] = lines.as_slice() else { panic!("{block}") };
    let (method, path) = line.split_once(' ').unwrap();
    let mut words = expected.strip_prefix("-> ").unwrap().split(' ');
    let (status, shape) = (words.next().unwrap().parse().unwrap(), words.next().unwrap());
    let kept = words.map(|word| word.split_once('=').unwrap()).collect();
    Sample { about, method, path, body: body.first().copied(), status, shape, kept }
}

impl Sample {
    /// The bytes that curl sends for it.
    fn bytes(&self, key: Option<&str>, ids: &BTreeMap<&str, String>) -> String {
        let filled =
            |text: &str| ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id));
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost:8080\r\n", self.method, filled(self.path));
        if let Some(key) = key {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        head.push_str("User-Agent: curl/8.5.0\r\nAccept: */*\r\nConnection: close\r\n");
        let Some(body) = self.body.map(filled) else { return head + "\r\n" };
        format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// The key that it is sent with.
    async fn key(&self, us: &Client, ids: &BTreeMap<&str, String>) -> Option<String> {
        let Some((_, rest)) = self.about.split_once("[key ") else { return Some(us.key()) };
        match rest.trim_end_matches(']') {
            "none" => None,
            "secret" => Some(ids["triggerSecret"].clone()),
            "slow" => {
                let slow = us.new_key(json!({"requests_per_minute": 1})).await;
                slow.get("/api/agents").await.ok();
                Some(slow.key())
            }
            scope => Some(us.new_key(json!({"scopes": [scope]})).await.key()),
        }
    }
}

/// What the host says to these bytes.
async fn exchange(muster: &Muster, bytes: &str) -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = tokio::spawn(muster::http::serve(listener, muster.app.clone(), std::future::pending()));
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(bytes.as_bytes()).await.unwrap();
    let mut said = String::new();
    connection.read_to_string(&mut said).await.unwrap();
    host.abort();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let code = head[9..12].parse().unwrap();
    let lines = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    let headers = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Answer { code, headers, text: body.to_owned(), body: serde_json::from_str(body).unwrap_or_default() }
}

async fn every_sample_is_answered_as_the_vendor_documents(muster: Muster) {
    let shapes: Value = serde_json::from_str(include_str!("answers.json")).unwrap();
    let file = json!({"name": "a.txt", "media_type": "text/plain", "data": "aGVsbG8="});
    let file = text(&muster.us.post("/v1/files", file).await.status(201), "id").replace("file_", "");
    let helper = text(&made(&muster.us, json!({})).await, "id");
    let tool = json!({"type": "agent", "name": "helper", "agent_id": format!("agent_{helper}")});
    muster
        .us
        .post("/v1/agents", json!({"name": "box", "model": "demo/scripted-l0", "tools": [tool]}))
        .await
        .status(201);
    let mut ids = BTreeMap::from([("fileId", file), ("unknownId", uuid::Uuid::now_v7().to_string())]);
    let all = samples();
    for sample in &all {
        if sample.about.contains("[work]") {
            muster.drain().await;
        }
        let key = sample.key(&muster.us, &ids).await;
        let answer = exchange(&muster, &sample.bytes(key.as_deref(), &ids)).await;
        assert_eq!(answer.code, sample.status, "{}: {}", sample.about, answer.text);
        assert_documented(sample.method, sample.path, &answer);
        let mut shape = shapes.clone();
        shape["$ref"] = json!(format!("#/$defs/{}", sample.shape));
        let validator = jsonschema::options().offline().build(&shape).unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(&answer.body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}\n{}", sample.about, answer.text);
        for (name, pointer) in &sample.kept {
            ids.insert(name, answer.body.pointer(pointer).unwrap().as_str().unwrap().to_owned());
        }
    }
    assert!(all.len() > 60);
}

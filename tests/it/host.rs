//! The local host: what only a connection shows.

use muster::host::Host;
use serde_json::json;
use shared::{App, file::FILE_LIMIT_BYTES};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::{Muster, text};

/// What the host says to these bytes, up to the end of the connection.
async fn say(app: App, head: &str, body: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = tokio::spawn(muster::http::serve(listener, app, std::future::pending()));
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    host.abort();
    answer
}

#[tokio::test]
async fn the_local_host_answers_every_route() {
    let muster = Muster::on_sqlite().await;
    let answer = say(muster.app.clone(), "GET /health HTTP/1.1", b"").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n") && answer.contains("x-request-id: "), "{answer}");
    assert!(answer.contains(r#"{"status":"healthy""#), "{answer}");
}

#[tokio::test]
async fn the_local_host_refuses_a_body_of_more_than_6_mib_in_the_surfaces_words() {
    let muster = Muster::on_sqlite().await;
    let answer =
        say(muster.app.clone(), "GET /openapi.json HTTP/1.1", &vec![b' '; functions::BODY_LIMIT_BYTES + 1]).await;
    assert!(answer.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{answer}");
    assert!(answer.contains(r#""code":"too_large""#), "{answer}");
}

#[tokio::test]
async fn an_upload_whose_address_does_not_hold_is_refused_before_its_body_is_read() {
    let muster = Muster::on_sqlite().await;
    let body = json!({"name": "a.txt", "media_type": "text/plain", "bytes": FILE_LIMIT_BYTES});
    let made = muster.us.post("/v1/files", body).await.status(201);
    let good = text(&made["upload"], "url");
    let bad = good.replace("token=", "token=x");
    let head = |url: &str| http::Request::put(url).body(()).unwrap().into_parts().0;
    assert_eq!(functions::body_limit_bytes(&muster.app, &head(&good)), FILE_LIMIT_BYTES);
    for url in [bad.as_str(), good.split_once('?').unwrap().0, "/v1/files/x/content?token=x"] {
        assert_eq!(functions::body_limit_bytes(&muster.app, &head(url)), 0, "{url}");
    }
    // Whoever asks before it sends its body is answered, and does not wait; whoever sends it anyway is answered too.
    let asking = "expect: 100-continue\r\ncontent-length: 20971520";
    let refused = begin(&muster.app, &format!("PUT {bad} HTTP/1.1\r\n{asking}")).await;
    assert!(refused.starts_with("HTTP/1.1 404 Not Found\r\n"), "{refused}");
    let asked = begin(&muster.app, &format!("PUT {good} HTTP/1.1\r\n{asking}")).await;
    assert!(asked.starts_with("HTTP/1.1 100 Continue\r\n"), "{asked}");
    let refused = say(muster.app.clone(), &format!("PUT {bad} HTTP/1.1"), &vec![b'x'; FILE_LIMIT_BYTES]).await;
    assert!(refused.starts_with("HTTP/1.1 404 Not Found\r\n"), "{refused}");
    let taken = say(muster.app.clone(), &format!("PUT {good} HTTP/1.1"), &vec![b'x'; FILE_LIMIT_BYTES]).await;
    assert!(taken.starts_with("HTTP/1.1 200 OK\r\n"), "{taken}");
}

/// The first that the host says to this head, without a body behind it.
async fn begin(app: &App, head: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = tokio::spawn(muster::http::serve(listener, app.clone(), std::future::pending()));
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("{head}\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = connection.read(&mut answer).await.unwrap();
    host.abort();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn what_a_process_had_begun_to_write_of_a_file_when_it_died_is_gone_when_the_next_starts() {
    let folder = tempfile::tempdir().unwrap();
    let unfinished = folder.path().join("files/.unfinished");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("half"), "half").unwrap();
    let host = Host::start(folder.path(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert!(!unfinished.join("half").exists());
    // Another does not serve the folder, and so takes nothing away.
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("whole"), "half").unwrap();
    assert!(Host::start(folder.path(), "127.0.0.1:0".parse().unwrap()).await.is_err());
    assert!(unfinished.join("whole").exists());
    host.stop().await;
}

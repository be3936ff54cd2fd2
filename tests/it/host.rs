//! The local host: what only a connection shows.

use shared::App;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::Muster;

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

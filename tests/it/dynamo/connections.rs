//! How the connections to AWS are used.

use std::{
    io,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_sdk_dynamodb::{
    Client,
    config::{Credentials, Region},
};
use shared::store::{
    Backend,
    dynamo::Dynamo,
    row::{When, Write},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::row;
use crate::harness::Log;

/// Answers every other request with a 500.
async fn serve(connection: TcpStream, requests: Arc<AtomicUsize>) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut length = 0;
        let mut line = String::new();
        while connection.read_line(&mut line).await? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        connection.read_exact(&mut vec![0; length]).await?;
        let failing = requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let (status, body) = if failing { (500, r#"{"__type":"InternalServerError"}"#) } else { (200, "{}") };
        let head = "content-type: application/x-amz-json-1.0\r\ncontent-length:";
        let answer = format!("HTTP/1.1 {status} x\r\n{head} {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).await?;
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_500_and_nothing_is_logged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, opened) = (requests.clone(), connections.clone());
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            opened.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(serve(connection, counted.clone()));
        }
    });
    let config = shared::aws::loader()
        .unwrap()
        .region(Region::new("eu-west-1"))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    let backend = Backend::Dynamo(Dynamo::new(Client::new(&config.load().await), "x-"));
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(move || writer.clone());
    let logging = tracing::subscriber::set_default(subscriber.finish());
    let row = row("a", "{}");
    assert_eq!(backend.get(&row.key).await.unwrap(), None);
    backend.transact(vec![Write::Put(row, When::Any)]).await.unwrap();
    drop(logging);
    assert_eq!((requests.load(Ordering::Relaxed), connections.load(Ordering::Relaxed)), (4, 1));
    assert_eq!(String::from_utf8(log.0.lock().unwrap().clone()).unwrap(), "");
}

/// Another test, in a process whose environment names a proxy where nothing listens.
#[test]
fn a_proxy_of_the_environment_is_not_for_aws() {
    let nowhere = "http://127.0.0.1:9";
    let test = "dynamo::schema::the_tables_are_made_as_they_are_described";
    let mut again = Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        again.env(name, nowhere);
    }
    let again = again.env_remove("NO_PROXY").env_remove("no_proxy").args(["--exact", test]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

//! Routes that do what a handler should not, or what takes too long for a test of a real one.

use std::{future::ready, time::Duration};

use bytes::Bytes;
use functions::{
    Request, Response, Route, Routes, Surface,
    response::{late, ok},
    route::{Answer, Operation, Wait},
};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{Error, id::AgentId};

use super::read;
use crate::harness::Muster;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read is of interest")]
pub(super) struct Note {
    text: String,
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it can be read is of interest")]
pub(super) struct Item {
    count: u32,
}

const OPERATION: Operation = Operation {
    about: &["A route of the tests"],
    query: None,
    body: None,
    answers: &[Answer { status: 200, media: None, schema: None }],
    access: &[],
    wait: Wait::Short,
    body_limit_bytes: functions::BODY_LIMIT_BYTES,
    admit: None,
    deployed: true,
};

const fn route(method: Method, path: &'static str, handler: functions::route::Handler) -> Route {
    Route { name: "odd", surface: Surface::Native, method, path, handler, operation: OPERATION }
}

pub(super) static ROUTES: [Route; 6] = [
    route(Method::POST, "/v1/notes", |_, request| Box::pin(ready(note(&request)))),
    route(Method::GET, "/v1/panic", |_, _| Box::pin(async { panic!("secret {}", 42) })),
    route(Method::GET, "/v1/late", |_, request| Box::pin(slow(request, Ok(7)))),
    route(Method::GET, "/v1/late-error", |_, request| Box::pin(slow(request, Err(Error::Conflict("too late".into()))))),
    route(Method::GET, "/v1/agents/{agent_id}", |_, request| Box::pin(ready(agent(&request)))),
    route(Method::GET, "/api/v1/agents/{agent_id}", |_, request| Box::pin(ready(agent(&request)))),
];

fn note(request: &Request) -> shared::Result<Response> {
    let _: Note = request.json()?;
    Ok(ok(&json!({ "idempotency_key": request.idempotency_key()?, "key": request.bearer_key() })))
}

fn agent(request: &Request) -> shared::Result<Response> {
    let id: AgentId = request.id("agent_id")?;
    Ok(ok(&id.to_string()))
}

async fn slow(request: Request, outcome: shared::Result<u8>) -> shared::Result<Response> {
    late(request.envelope().clone(), async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        Ok(ok(&outcome?))
    })
    .await
}

pub(super) async fn ask(request: http::Request<Bytes>) -> (u16, http::HeaderMap, Value) {
    let muster = Muster::on_sqlite().await;
    read(Routes::new(&ROUTES).handle(&muster.app, request).await).await
}

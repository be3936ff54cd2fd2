//! Idempotency keys at the border: what was answered before is answered again. Knows no route.

use http::{HeaderValue, StatusCode, header};
use shared::{
    App, Caller, Result, Scope,
    engine::fault,
    idempotency::{Answer, Claim, Seen},
    run::{self, Run},
};

use crate::{Body, Request, Response, response};

/// Does the work of a request, or answers what was answered before under its idempotency key. The caller needs the scope for either:
/// an answer may hold what only who may do the work may read, as a new key.
pub(crate) async fn once(
    app: &App,
    caller: &Caller,
    request: &Request,
    scope: Scope,
    work: impl AsyncFnOnce(Claim) -> Result<Response>,
) -> Result<Response> {
    match seen(app, caller, request, scope).await? {
        Seen::New(claim) => first(claim, work).await,
        Seen::Answered(answer) => Ok(replay(answer)),
        Seen::Run(_) => Err(Claim::in_progress()),
    }
}

/// The same for a request that may start a run and answer with its end: `ended` makes the answer of it once there is one.
pub(crate) async fn once_or_run(
    app: &App,
    caller: &Caller,
    request: &Request,
    scope: Scope,
    ended: impl AsyncFnOnce(&Run) -> Result<Response>,
    work: impl AsyncFnOnce(Claim) -> Result<Response>,
) -> Result<Response> {
    let again = async |run: Run| if run.status.terminal() { ended(&run).await } else { Err(Claim::in_progress()) };
    once_or_again(app, caller, request, scope, again, work).await
}

/// The same for a request that starts a run and answers while it goes on: `again` answers for the run that was started before.
pub(crate) async fn once_or_again(
    app: &App,
    caller: &Caller,
    request: &Request,
    scope: Scope,
    again: impl AsyncFnOnce(Run) -> Result<Response>,
    work: impl AsyncFnOnce(Claim) -> Result<Response>,
) -> Result<Response> {
    match seen(app, caller, request, scope).await? {
        Seen::New(claim) => first(claim, work).await,
        Seen::Answered(answer) => Ok(replay(answer)),
        Seen::Run(id) => Ok(replayed(again(run::own(app, caller, id).await?).await?)),
    }
}

/// Does the work for the first time.
async fn first(claim: Claim, work: impl AsyncFnOnce(Claim) -> Result<Response>) -> Result<Response> {
    fault::point("I1");
    let response = work(claim).await?;
    fault::point("I2");
    Ok(response)
}

/// The same request is the same method, path, query and body, byte for byte, however long its client waits. Which key a request makes depends on what the key may
/// do that asks for it: there, that is part of the request too.
async fn seen(app: &App, caller: &Caller, request: &Request, scope: Scope) -> Result<Seen> {
    caller.require(scope)?;
    let (method, target) = (request.method().as_str(), without_wait(request.target()));
    let mut same = vec![method.as_bytes(), target.as_bytes(), request.body()];
    let mut rights = caller.scopes().to_vec();
    rights.sort_unstable();
    if scope == Scope::KeysManage {
        same.extend(rights.iter().map(|right| right.name().as_bytes()));
    }
    Claim::check(app, caller, request.idempotency_key()?, &format!("{method} {}", request.path()), &same).await
}

/// The target without its `wait`: that is not what is asked for.
fn without_wait(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let others: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("wait=")).collect();
    if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) }
}

/// The claim with this answer.
pub(crate) fn answered(claim: Claim, response: &Response) -> Claim {
    claim.with(|| Answer {
        status: response.status().as_u16(),
        location: response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned),
        body: match response.body() {
            Body::Full(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Body::Stream(_) => String::new(),
        },
    })
}

/// Marks an answer as one that was given before.
fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

fn replay(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = response::with_bytes(status, answer.body.into());
    if let Some(location) = answer.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    replayed(response)
}

//! Idempotency keys at the border: what was answered before is answered again. Knows no route.

use http::{HeaderValue, StatusCode, header};
use shared::{
    App, Caller, Result,
    id::RunId,
    idempotency::{Answer, Claim, Seen},
};

use crate::{Body, Request, Response, response};

/// What is known of a request's idempotency key.
pub(crate) enum Claimed {
    /// Nothing, or there is no key: do the work.
    New(Claim),
    /// This is the answer.
    Replay(Response),
    /// This run was started; its end is the answer.
    Run(RunId),
}

/// Looks the request's idempotency key up. The same request is the same method, path, query and body, byte for byte.
pub(crate) async fn claim(app: &App, caller: &Caller, request: &Request) -> Result<Claimed> {
    let (method, target) = (request.method().as_str(), request.target());
    let same = [method.as_bytes(), target.as_bytes(), request.body()];
    let seen =
        Claim::check(app, caller, request.idempotency_key()?, &format!("{method} {}", request.path()), &same).await?;
    Ok(match seen {
        Seen::New(claim) => Claimed::New(claim),
        Seen::Run(run) => Claimed::Run(run),
        Seen::Answered(answer) => Claimed::Replay(replay(answer)),
    })
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
pub(crate) fn replayed(mut response: Response) -> Response {
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

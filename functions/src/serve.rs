//! From a request to its answer: the route, the limits that hold everywhere, the log. Knows no host.

use std::{collections::HashMap, sync::OnceLock};

use bytes::Bytes;
use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use shared::{App, Error, Result, config::Invalid};
use tracing::{Instrument, info_span};

use crate::{BODY_LIMIT_BYTES, Body, Envelope, Request, Response, Route};

/// Where completions are asked for; the operator may name a path beside it that means the same.
const COMPLETIONS: &str = "/api/v1/completions";

/// Whether the operator's path of completions can be one.
///
/// # Errors
/// [`Invalid`] when it is no plain path, or another call's.
pub fn check_completions_path(app: &App) -> Result<(), Invalid> {
    let Some(path) = app.config().completions_path.as_deref() else { return Ok(()) };
    let invalid = |problem: &str| Err(Invalid { name: "MUSTER_COMPLETIONS_PATH", problem: problem.to_owned() });
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    if !path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) {
        return invalid("must be a path such as /v1/complete: parts of A-Z a-z 0-9 - . _ ~, each after a slash");
    }
    let mut routers = Routes::all().by_method.values();
    if routers.any(|router| router.at(path).is_ok_and(|found| found.value.path != COMPLETIONS)) {
        return invalid("is the path of another call");
    }
    Ok(())
}

/// The path that the routes know: their own of completions for the operator's.
fn known<'a>(app: &App, path: &'a str) -> &'a str {
    if app.config().completions_path.as_deref() == Some(path) { COMPLETIONS } else { path }
}

/// The answer to a request, by whatever route it names.
pub async fn handle(app: &App, request: http::Request<Bytes>) -> Response {
    Routes::all().handle(app, request).await
}

/// The answer to a request that has no route; whatever it names, nothing is done.
#[must_use]
pub fn refuse<T>(request: &http::Request<T>) -> Response {
    let envelope = Envelope::of(request);
    let found = Routes::all().find(request.method(), request.uri().path());
    let error = found.err().unwrap_or(Error::NotFound("path"));
    let _request = info_span!("request", id = envelope.request_id).entered();
    envelope.seal(envelope.refuse(&error))
}

/// The largest body of a request with this head, in bytes; 0 when it is refused whatever its body is, so that nobody needs to read it.
/// [`handle`] then refuses it, too, without a body.
#[must_use]
pub fn body_limit_bytes(app: &App, head: &http::request::Parts) -> usize {
    let path = known(app, head.uri.path());
    let Ok((route, parameters)) = Routes::all().find(&head.method, path) else { return BODY_LIMIT_BYTES };
    let limit_bytes = route.operation.body_limit_bytes;
    let Some(admit) = route.operation.admit else { return limit_bytes };
    let request = http::Request::from_parts(head.clone(), Bytes::new());
    let envelope = Envelope::of(&request);
    if admit(app, &Request::new(route, request, parameters, envelope)).is_ok() { limit_bytes } else { 0 }
}

/// Routes, to be found by method and path.
#[derive(Debug, Default)]
pub struct Routes {
    by_method: HashMap<Method, matchit::Router<&'static Route>>,
}

/// The parts of a path that vary, by name, decoded.
pub type Parameters = Vec<(String, String)>;

impl Routes {
    /// These routes.
    pub fn new(routes: impl IntoIterator<Item = &'static Route>) -> Self {
        let mut all = Self::default();
        for route in routes {
            if let Err(error) = all.by_method.entry(route.method.clone()).or_default().insert(route.path, route) {
                tracing::error!(route = route.name, %error, "the route is left out: its path is taken");
            }
        }
        all
    }

    /// Every route; made once, when the first request comes.
    pub fn all() -> &'static Self {
        static ALL: OnceLock<Routes> = OnceLock::new();
        ALL.get_or_init(|| Self::new(Route::all()))
    }

    /// The answer to a request, by whatever of these routes it names.
    pub async fn handle(&self, app: &App, mut request: http::Request<Bytes>) -> Response {
        let path = known(app, request.uri().path());
        if path != request.uri().path() {
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            let target = format!("{path}{query}").parse::<Uri>();
            *request.uri_mut() = target.unwrap_or_else(|_| Uri::from_static(COMPLETIONS));
        }
        let envelope = Envelope::of(&request);
        let span = info_span!("request", id = envelope.request_id, route = tracing::field::Empty);
        let response = self.answer(app, request, &envelope).instrument(span).await;
        if matches!(response.body(), Body::Full(_)) {
            envelope.leave().await;
        }
        envelope.seal(response)
    }

    async fn answer(&self, app: &App, request: http::Request<Bytes>, envelope: &Envelope) -> Response {
        let (route, parameters) = match self.find(request.method(), request.uri().path()) {
            Ok(found) => found,
            Err(error) => return envelope.refuse(&error),
        };
        tracing::Span::current().record("route", route.name);
        let limit_bytes = route.operation.body_limit_bytes;
        if request.body().len() > limit_bytes {
            return envelope.refuse(&Error::TooLarge { limit_bytes });
        }
        route.answer(app, Request::new(route, request, parameters, envelope.clone())).await
    }

    /// The route for this method and path. A path with a slash at its end is another path.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MethodNotAllowed`] when the path has other methods.
    pub fn find(&self, method: &Method, path: &str) -> Result<(&'static Route, Parameters)> {
        let at = |(method, router): (&'_ Method, &matchit::Router<&'static Route>)| {
            router.at(path).ok().map(|found| (method.clone(), *found.value, decoded(&found.params)))
        };
        let all: Vec<(Method, &'static Route, Option<Parameters>)> = self.by_method.iter().filter_map(at).collect();
        // What some routes have as it stands is no other's parameter, as where each path has its methods.
        let nearest = all.iter().map(|(_, route, _)| varies(route.path)).min();
        let mut those: Vec<_> = all.into_iter().filter(|(_, its, _)| Some(varies(its.path)) == nearest).collect();
        if let Some(index) = those.iter().position(|(its, ..)| its == method) {
            let (_, route, parameters) = those.swap_remove(index);
            return parameters.map(|parameters| (route, parameters)).ok_or(Error::NotFound("path"));
        }
        let mut allowed: Vec<String> = those.into_iter().map(|(method, ..)| method.to_string()).collect();
        allowed.sort_unstable();
        match allowed.as_slice() {
            [] => Err(Error::NotFound("path")),
            methods => Err(Error::MethodNotAllowed { allowed: methods.join(", ") }),
        }
    }
}

/// Which parts of the path vary: of two that fit a path, the nearer is the less.
fn varies(path: &str) -> Vec<bool> {
    path.split('/').map(|part| part.starts_with('{')).collect()
}

/// `None` when a part is not UTF-8: no such thing can exist.
fn decoded(parameters: &matchit::Params<'_, '_>) -> Option<Parameters> {
    let decode = |(name, value): (&str, &str)| {
        let value = percent_decode_str(value).decode_utf8().ok()?;
        Some((name.to_owned(), value.into_owned()))
    };
    parameters.iter().map(decode).collect()
}

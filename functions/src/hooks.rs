//! Events as they come by HTTP, for the surfaces that take some. Knows no route.

use shared::{
    order::Started,
    trigger::{Came, Headers},
};

use crate::Request;

/// The event of a request. A header that is no text is none.
pub(crate) fn came(request: &Request) -> Came {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Came { headers: Headers::new(request.headers().iter().map(text)), body: request.body().clone() }
}

/// The ids of what was started: of a run and of a batch, of which there is one.
pub(crate) fn ids(started: Started) -> (Option<String>, Option<String>) {
    match started {
        Started::Run(id) => (Some(id.prefixed()), None),
        Started::Batch(id) => (None, Some(id.prefixed())),
    }
}

//! Work that takes its time, on threads of their own, so that whoever else is served does not wait for it.

use crate::error::{Error, Result};

/// Does what keeps a processor or a disk busy for long. Once it has begun it goes on to its end, also when nobody waits for it any more.
///
/// # Errors
/// [`Error::Internal`] when it panics.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn others_go_on_meanwhile() {
        let (tell, told) = mpsc::channel();
        let (heard, ()) = tokio::join!(aside(move || told.recv()), async { tell.send("done").unwrap() });
        assert_eq!(heard.unwrap(), Ok("done"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let outcome = aside(|| assert!(std::env::args().count() == 0, "there are always some")).await;
        assert!(matches!(outcome, Err(Error::Internal(_))), "{outcome:?}");
    }
}

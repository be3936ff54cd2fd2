//! Long work of the processor, on threads of its own, so that whoever else is served does not wait for it.

use std::{num::NonZero, sync::LazyLock, thread::available_parallelism};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::error::{Error, Result};

/// As many at a time as there are processors: more would only hold more memory, and leave less time to who serves.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, NonZero::get)));

/// Does what keeps a processor busy for long, when it is its turn. Once it has begun it goes on to its end, also when nobody waits for it any
/// more.
///
/// # Errors
/// [`Error::Internal`] when it panics; [`Error::Unavailable`] when the process ends before it begins.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let place = PLACES.acquire().await.map_err(|error| Error::Internal(error.into()))?;
    let done = spawn_blocking(move || {
        let _until_it_is_done = place;
        work()
    });
    done.await.map_err(
        |error| if error.is_panic() { Error::Internal(error.into()) } else { Error::Unavailable(error.into()) },
    )
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

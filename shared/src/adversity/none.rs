//! No adversity.

use crate::{
    model::Request,
    store::{
        Backend,
        row::{Result, Write},
    },
};

#[inline]
#[expect(clippy::unnecessary_wraps, reason = "with adversity it may fail")]
pub(crate) const fn before() -> Result<()> {
    Ok(())
}

#[inline]
#[expect(clippy::missing_const_for_fn, reason = "as with adversity")]
pub(crate) fn after<T>(outcome: Result<T>) -> Result<T> {
    outcome
}

#[inline]
#[expect(clippy::unused_async, reason = "with adversity it reads and writes")]
pub(crate) async fn meddle(_backend: &Backend, _writes: &[Write]) {}

#[cfg(feature = "embedded")]
#[inline]
pub(crate) const fn delivered<T>(chunks: Vec<T>) -> (Vec<T>, Vec<(T, std::time::Duration)>) {
    (chunks, Vec::new())
}

#[inline]
pub(crate) const fn yields_after(_steps: u32) -> bool {
    false
}

#[inline]
pub(crate) const fn told(_request: &Request) {}

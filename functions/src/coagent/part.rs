//! Parts of long answers: which one is asked for, and how long it may be.

use std::io::{self, Write};

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{Error, Result};

use crate::{Response, response};

/// The most that one answer may have, in bytes: what a Lambda function can answer, with some room.
pub(super) const ANSWER_LIMIT_BYTES: usize = 5 * 1024 * 1024;

/// Which part: our own addition.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartQuery {
    /// At most so many; all unless given.
    #[schemars(range(min = 1))]
    limit: Option<usize>,
    /// Without so many at the beginning.
    #[serde(default)]
    offset: usize,
}

impl PartQuery {
    /// How many are left out at the beginning.
    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    /// How many there are at most.
    pub(super) fn limit(&self) -> Result<usize> {
        limit(self.limit)
    }
}

/// How many there are at most, where so many are asked for.
pub(super) fn limit(asked: Option<usize>) -> Result<usize> {
    if asked == Some(0) {
        return Err(Error::invalid("limit", "must be at least 1"));
    }
    Ok(asked.unwrap_or(usize::MAX))
}

/// 200 with this body, unless it is too long. `what` it has is what a caller may ask fewer of.
pub(super) fn answer(whole: &(impl Serialize + ?Sized), what: &str) -> Result<Response> {
    let written = written(whole, ANSWER_LIMIT_BYTES).ok_or_else(|| too_long(what))?;
    Ok(response::with_bytes(StatusCode::OK, written.into()))
}

/// Why an answer is not given.
pub(super) fn too_long(what: &str) -> Error {
    Error::invalid("limit", format!("the {what} are more than 5 MiB: ask for fewer, with limit and offset"))
}

/// JSON, unless it is longer than that.
pub(super) fn written(value: &(impl Serialize + ?Sized), most_bytes: usize) -> Option<Vec<u8>> {
    let mut bounded = Bounded { bytes: Vec::new(), most: most_bytes };
    serde_json::to_writer(&mut bounded, value).ok().map(|()| bounded.bytes)
}

/// Bytes that end when there are too many.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(more.len()) > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Pages of a list, and the opaque cursors between them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{error::Error, seal::fingerprint};

/// The most entries of a page.
pub const LIMIT: usize = 100;

/// How many rows one page looks at before it answers short, when a filter leaves most of them out.
pub(crate) const SCAN_LIMIT: usize = 2_000;

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many entries: 1 to [`LIMIT`].
    pub limit: usize,
    /// Where to go on: the previous page's cursor.
    pub after: Option<String>,
}

impl PageRequest {
    /// The page, checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `limit` when it is not 1 to [`LIMIT`].
    pub fn new(limit: Option<usize>, after: Option<String>) -> Result<Self, Error> {
        let limit = limit.unwrap_or(20);
        if !(1..=LIMIT).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be from 1 to {LIMIT}")));
        }
        Ok(Self { limit, after })
    }

    /// The position after which this page begins, if it is not the first.
    pub(crate) fn position(&self, of: &str) -> Result<Option<String>, Error> {
        self.after.as_deref().map(|cursor| open(cursor, of)).transpose()
    }
}

/// A page.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The entries, in order. A page may be short, even empty, while more follow.
    pub entries: Vec<T>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn new(entries: Vec<T>, next_position: Option<&str>, of: &str) -> Self {
        Self { entries, next: next_position.map(|position| cursor(position, of)) }
    }

    /// The same page with each entry made into something else.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { entries: self.entries.into_iter().map(make).collect(), next: self.next }
    }
}

/// A cursor says where the next page begins, and of which list with which filters.
fn cursor(position: &str, of: &str) -> String {
    let mut bound = fingerprint(&[of.as_bytes(), position.as_bytes()]);
    bound.truncate(16);
    URL_SAFE_NO_PAD.encode(format!("{bound}{position}"))
}

fn open(cursor: &str, of: &str) -> Result<String, Error> {
    let refused = || Error::invalid("after", "is not a cursor of this list with these filters");
    let text =
        URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(refused)?;
    let (bound, position) = text.split_at_checked(16).ok_or_else(refused)?;
    let ours = fingerprint(&[of.as_bytes(), position.as_bytes()]);
    if ours.starts_with(bound) { Ok(position.to_owned()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_for_its_own_list() {
        let page: Page<()> = Page::new(vec![], Some("position"), "runs?status=done");
        let next = PageRequest::new(None, page.next).unwrap();
        assert_eq!(next.position("runs?status=done").unwrap().as_deref(), Some("position"));
        assert!(next.position("runs?status=error").is_err());
        for junk in ["", "x", "!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(PageRequest::new(None, Some(junk.to_owned())).unwrap().position("runs").is_err());
        }
    }
}

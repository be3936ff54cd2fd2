//! What a condition that failed means when an earlier attempt of the same write may have been applied.
//!
//! A reply was lost, we try again, and the condition fails: either our first attempt was applied, or somebody was
//! faster. The row itself tells: it has our revision, or remembers it among the last [`super::item::HISTORY`] ones when
//! others have written since. When it remembers the revision that we had seen but not ours, ours was never there. Only
//! when it remembers neither (more writes than that during one pause of ours, or the row is gone) nothing can be said.
//! A transaction of several rows has DynamoDB's own token for this, good for ten minutes; the same reading covers what
//! the token does not.

use super::item::{HISTORY, Item, revisions};
use crate::store::row::{Rev, When, Write};

/// What became of a write whose condition failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was applied by an earlier attempt.
    Applied,
    /// It was never applied.
    Refused,
    /// It cannot be known.
    Unknown,
}

/// `there` is the row that failed the condition, if there is one; `unsure` says that an earlier attempt may have been applied.
pub(super) fn fate(write: &Write, there: Option<&Item>, unsure: bool) -> Fate {
    let revisions = there.map(revisions).unwrap_or_default();
    match write {
        Write::Put(row, _) if revisions.first() == Some(&row.rev.0) => Fate::Applied,
        _ if !unsure => Fate::Refused,
        Write::Put(row, _) if revisions.contains(&row.rev.0) => Fate::Applied,
        Write::Put(_, When::Absent) if !revisions.is_empty() && revisions.len() <= HISTORY => Fate::Refused,
        Write::Put(_, When::Rev(Rev(seen))) if revisions.contains(seen) => Fate::Refused,
        Write::Put(..) => Fate::Unknown,
        Write::Delete(_, When::Rev(_)) if there.is_none() => Fate::Applied,
        Write::Delete(..) | Write::Check(..) | Write::Add(_) => Fate::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        dynamo::item::{REV, earlier, number},
        row::{Key, Row, Table},
    };

    fn there(revisions: &[i64]) -> Item {
        let name = |n: usize| if n == 0 { REV.to_owned() } else { earlier(n) };
        revisions.iter().enumerate().map(|(n, rev)| (name(n), number(*rev))).collect()
    }

    fn put(rev: i64, when: When) -> Write {
        let key = Key::new(Table::Runs, "p", "s");
        Write::Put(Row { key, rev: Rev(rev), body: String::new(), listed: None, due: None, expires_at_s: None }, when)
    }

    #[test]
    fn a_write_is_found_among_the_revisions_that_the_row_remembers() {
        let ours = put(7, When::Rev(Rev(6)));
        assert_eq!(fate(&ours, Some(&there(&[7, 6])), true), Fate::Applied);
        assert_eq!(fate(&ours, Some(&there(&[9, 8, 7, 6])), true), Fate::Applied);
        assert_eq!(fate(&ours, Some(&there(&[9, 8, 6])), true), Fate::Refused);
        assert_eq!(fate(&ours, Some(&there(&[9, 8])), true), Fate::Unknown);
        assert_eq!(fate(&ours, Some(&there(&[7, 6])), false), Fate::Applied);
        assert_eq!(fate(&ours, Some(&there(&[8, 7, 6])), false), Fate::Refused);
        assert_eq!(fate(&ours, None, true), Fate::Unknown);
        assert_eq!(fate(&ours, None, false), Fate::Refused);
    }

    #[test]
    fn a_row_that_remembers_its_beginning_says_who_made_it() {
        let ours = put(7, When::Absent);
        assert_eq!(fate(&ours, Some(&there(&[8, 7])), true), Fate::Applied);
        assert_eq!(fate(&ours, Some(&there(&[8])), true), Fate::Refused);
        let full: Vec<i64> = (100..=100 + HISTORY as i64).collect();
        assert_eq!(fate(&ours, Some(&there(&full)), true), Fate::Unknown);
    }

    #[test]
    fn a_deletion_that_was_tried_before_has_happened_when_the_row_is_gone() {
        let ours = Write::Delete(Key::new(Table::Runs, "p", "s"), When::Rev(Rev(6)));
        assert_eq!(fate(&ours, None, true), Fate::Applied);
        assert_eq!(fate(&ours, None, false), Fate::Refused);
        assert_eq!(fate(&ours, Some(&there(&[7, 6])), true), Fate::Refused);
    }
}

//! The first of many, in an order: all are counted, few are kept.

use std::{cmp::Ordering, sync::Arc};

use super::{Direction, Order, PLACES_LIMIT, Slice};
use crate::{clock::Timestamp, id::RunId};

/// So many are added before those are let go that cannot be in the slice.
const SLACK: usize = 1_024;

/// What a run is sorted by.
#[derive(Debug, Clone)]
pub(super) enum Rank {
    Time(Timestamp),
    Name(Arc<str>),
    Score(f64),
}

impl Rank {
    /// Two ranks of one search are of the same kind.
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Time(one), Self::Time(other)) => one.cmp(other),
            (Self::Name(one), Self::Name(other)) => one.cmp(other),
            (Self::Score(one), Self::Score(other)) => one.total_cmp(other),
            (Self::Time(_) | Self::Name(_) | Self::Score(_), _) => Ordering::Equal,
        }
    }
}

type Ranked = (Option<Rank>, RunId);

/// The runs up to the end of a slice.
pub(super) struct Top {
    direction: Direction,
    slice: Slice,
    /// How many may be in the slice or before it.
    keep: usize,
    kept: Vec<Ranked>,
    total: usize,
}

impl Top {
    pub(super) fn new(order: Order, slice: Slice) -> Self {
        let keep = slice.skip.saturating_add(slice.take).min(PLACES_LIMIT);
        Self { direction: order.direction, slice, keep, kept: Vec::new(), total: 0 }
    }

    pub(super) fn add(&mut self, rank: Option<Rank>, id: RunId) {
        self.total = self.total.saturating_add(1);
        self.kept.push((rank, id));
        if self.kept.len() >= self.keep.saturating_mul(2).saturating_add(SLACK) {
            self.let_go();
        }
    }

    /// The ids of the slice, in order, and how many were added.
    pub(super) fn into_slice(mut self) -> (Vec<RunId>, usize) {
        self.let_go();
        let direction = self.direction;
        self.kept.sort_unstable_by(|one, other| compare(direction, one, other));
        let Slice { skip, take } = self.slice;
        (self.kept.into_iter().skip(skip).take(take).map(|(_, id)| id).collect(), self.total)
    }

    fn let_go(&mut self) {
        if self.kept.len() > self.keep {
            let direction = self.direction;
            self.kept.select_nth_unstable_by(self.keep, |one, other| compare(direction, one, other));
            self.kept.truncate(self.keep);
        }
    }
}

/// No two are equal, since no two ids are: so pages are stable. What has no rank comes last.
fn compare(direction: Direction, (one, id): &Ranked, (other, other_id): &Ranked) -> Ordering {
    let turned = |ordering: Ordering| match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    };
    match (one, other) {
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => turned(id.cmp(other_id)),
        (Some(one), Some(other)) => turned(one.compare(other).then(id.cmp(other_id))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SortBy, *};

    /// Whether it has no rank, its rank in quarters, and its id.
    type Plain = (bool, u8, RunId);

    /// Sorted without any of the above.
    fn by_hand(direction: Direction, mut all: Vec<Plain>) -> Vec<RunId> {
        all.sort_by_key(|(_, rank, id)| (*rank, *id));
        if direction == Direction::Descending {
            all.reverse();
        }
        let (last, first): (Vec<Plain>, Vec<Plain>) = all.into_iter().partition(|(none, ..)| *none);
        first.into_iter().chain(last).map(|(.., id)| id).collect()
    }

    fn by_top(direction: Direction, slice: Slice, all: &[Plain]) -> (Vec<RunId>, usize) {
        let mut top = Top::new(Order { by: SortBy::Score, direction }, slice);
        for (none, rank, id) in all {
            top.add((!none).then(|| Rank::Score(f64::from(*rank) / 4.0)), *id);
            assert!(top.kept.len() <= top.keep * 2 + SLACK);
        }
        top.into_slice()
    }

    #[test]
    fn every_slice_of_many_is_that_of_all_of_them_sorted() {
        let now = Timestamp::from_millis(1_780_000_000_000);
        // Few ranks, so that most are decided by ids, and some without any.
        let all: Vec<Plain> = (0..5_000_usize)
            .map(|n| {
                if n.is_multiple_of(7) {
                    (true, 0, RunId::new(now))
                } else {
                    (false, [0, 1, 4][n * 31 % 3], RunId::new(now))
                }
            })
            .collect();
        for direction in [Direction::Ascending, Direction::Descending] {
            let sorted = by_hand(direction, all.clone());
            for (skip, take) in [(0, 1), (0, 50), (50, 50), (1_000, 100), (4_990, 50), (6_000, 5), (usize::MAX, 5)] {
                let (found, total) = by_top(direction, Slice { skip, take }, &all);
                let expected: Vec<RunId> = sorted.iter().skip(skip).take(take).copied().collect();
                assert_eq!((found, total), (expected, 5_000), "{direction:?} {skip} {take}");
            }
        }
    }
}

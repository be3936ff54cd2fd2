//! The cases that a configuration missed, gathered from cells as they are read.

use std::mem;

use shared::evaluation::{Cell, Verdict};

use super::text::shortened;

/// How many of them a page shows.
pub(super) const SHOWN: usize = 200;

/// How much of an answer a page shows, in characters.
const ANSWER_CHARS: usize = 500;

/// The first [`SHOWN`] cases that at least one configuration missed, each with all of its cells, and how many there are. Takes the
/// cells case by case, in any pieces.
#[derive(Debug, Default)]
pub(in super::super) struct Missed {
    pub(super) cases: Vec<Vec<Cell>>,
    pub(super) number: usize,
    at: Vec<Cell>,
}

impl Missed {
    /// Takes the next cell.
    pub(in super::super) fn take(&mut self, cell: Cell) {
        if self.at.first().is_some_and(|first| first.case != cell.case) {
            self.close();
        }
        self.at.push(cell);
    }

    /// All cells were taken.
    pub(in super::super) fn all(mut self) -> Self {
        self.close();
        self
    }

    /// The cells that a page shows with what the agent said, which is not there yet.
    pub(in super::super) fn untold(&mut self) -> Vec<&mut Cell> {
        self.cases.iter_mut().flatten().filter(|cell| cell.verdict != Verdict::Correct).collect()
    }

    fn close(&mut self) {
        let case = mem::take(&mut self.at);
        if case.iter().any(|cell| matches!(cell.verdict, Verdict::Wrong(_) | Verdict::NoAnswer)) {
            self.number = self.number.saturating_add(1);
            if self.cases.len() < SHOWN {
                self.cases.push(case);
            }
        }
    }
}

/// Leaves as much of what the agent said as a page shows.
pub(in super::super) fn shorten(cell: &mut Cell) {
    cell.output = cell.output.take().map(|output| shortened(&output, ANSWER_CHARS).into_owned());
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn what_is_shown_of_answers_is_cut() {
        let mut missed = Missed::default();
        for (configuration, verdict) in [Verdict::Correct, Verdict::NoAnswer].into_iter().enumerate() {
            missed.take(Cell { output: Some("é".repeat(900)), ..samples::cell(0, configuration, verdict) });
        }
        let mut missed = missed.all();
        let mut untold = missed.untold();
        assert_eq!(untold.len(), 1);
        untold.iter_mut().for_each(|cell| shorten(cell));
        assert_eq!(untold[0].output.as_ref().unwrap().chars().count(), ANSWER_CHARS + 1);
    }

    #[test]
    fn a_case_is_shown_with_all_its_cells_when_one_missed_it() {
        let mut missed = Missed::default();
        let verdicts = [Verdict::Correct, Verdict::NoAnswer, Verdict::Correct, Verdict::Correct, Verdict::Pending];
        for (index, verdict) in verdicts.into_iter().chain([samples::wrong(&["no"])]).enumerate() {
            missed.take(samples::cell(index / 2, index % 2, verdict));
        }
        let missed = missed.all();
        let shown: Vec<_> = missed.cases.iter().map(|case| (case[0].case, case.len())).collect();
        assert_eq!((missed.number, shown), (2, vec![(0, 2), (2, 2)]));
    }

    #[test]
    fn so_many_are_shown_and_all_are_counted() {
        let mut missed = Missed::default();
        (0..SHOWN + 50).for_each(|case| missed.take(samples::cell(case, 0, Verdict::NoAnswer)));
        let missed = missed.all();
        assert_eq!((missed.cases.len(), missed.number), (SHOWN, SHOWN + 50));
        assert_eq!(Missed::default().all().number, 0);
    }
}

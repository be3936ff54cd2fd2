//! The results of an evaluation as others read them: lines of CSV for spreadsheets, JUnit XML for CI, a page for people. Pure: what
//! is written follows from what is given. Knows no store and no host.

mod axis;
mod cases;
mod csv;
mod junit;
mod labels;
mod page;
mod plot;
#[cfg(test)]
mod samples;
mod text;
mod words;

pub(super) use self::{
    cases::{Missed, shorten},
    csv::lines,
    junit::{Tally, begin, end, suite_begins, suite_ends, test_cases},
    page::{POLICY, page},
};

//! The whole matrix of an evaluation as one answer: read and written in pieces, so that the largest takes little more memory than a small one.

use std::{future::ready, iter, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use shared::{
    App, Caller, Error, Result,
    evaluation::{self, Cell, Verdict},
    id::EvaluationId,
};

use super::{
    evaluation_views::{CellView, EvaluationView},
    report::{self, Missed, POLICY, Tally},
    results::{in_pieces, lines, streamed},
};
use crate::{Response, response};

/// How many cases are read at a time without what the agents said: of one configuration, and of all.
const CASES_OF_ONE: usize = 500;
const CASES_OF_ALL: usize = 100;

/// How many answers are read at a time.
const ANSWERS: usize = 100;

/// A JSON object for each cell, as it is at this moment.
pub(super) async fn ndjson(app: &App, caller: Caller, id: EvaluationId) -> Result<Response> {
    let app = app.clone();
    let read = move |from: usize, most: usize| {
        let (app, caller) = (app.clone(), caller.clone());
        async move {
            let cells = evaluation::cells(&app, &caller, id, from, most).await?;
            Ok::<Vec<CellView>, Error>((from..).zip(cells).map(|(index, cell)| CellView::new(index, cell)).collect())
        }
    };
    in_pieces("application/x-ndjson", read, lines).await
}

/// A line of CSV for each cell, as it is at this moment.
pub(super) async fn csv(app: &App, caller: Caller, id: EvaluationId) -> Result<Response> {
    let view = seen(app, &caller, id).await?;
    let app = app.clone();
    let read = move |from: usize, most: usize| {
        let (app, caller) = (app.clone(), caller.clone());
        async move { evaluation::cells(&app, &caller, id, from, most).await }
    };
    let write = move |cells: &[Cell], first: bool| report::lines(&view, cells, first);
    Ok(as_it_is_called(in_pieces("text/csv; charset=utf-8", read, write).await?))
}

/// JUnit XML, when the evaluation has ended: CI would take a part of the tests for all of them. What a suite counts up to is said before
/// its tests, so verdicts are read twice.
pub(super) async fn junit(app: &App, caller: Caller, id: EvaluationId) -> Result<Response> {
    let view = seen(app, &caller, id).await?;
    if !view.terminal {
        let why = format!("the evaluation is {}: JUnit XML is written when it is done", view.status);
        return Err(Error::Conflict(why));
    }
    let mut junit = Junit { app: app.clone(), caller, id, tallies: Vec::new(), view };
    junit.count().await?;
    let parts = junit.parts();
    let junit = Arc::new(junit);
    let written = stream::iter(parts).then(move |part| {
        let junit = Arc::clone(&junit);
        async move { junit.write(part).await }
    });
    // A document that is cut is none: who reads it sees that.
    let pieces = written.scan((), |(), piece| {
        ready(piece.inspect_err(|error| tracing::warn!(%error, "the results of an evaluation end early")).ok())
    });
    Ok(as_it_is_called(streamed("application/xml; charset=utf-8", pieces)))
}

/// What a JUnit document is made from.
struct Junit {
    app: App,
    caller: Caller,
    id: EvaluationId,
    view: EvaluationView,
    /// One for each configuration.
    tallies: Vec<Tally>,
}

/// A part of a JUnit document; suites by their configurations' numbers.
enum Part {
    Begin,
    SuiteBegins(usize),
    /// The tests of the cases from that one on.
    Tests(usize, usize),
    SuiteEnds,
    End,
}

impl Junit {
    async fn count(&mut self) -> Result<()> {
        for configuration in 0..self.view.configurations.len() {
            let mut tally = Tally::default();
            for from in (0..self.view.cases).step_by(CASES_OF_ONE) {
                let cells = self.cells(configuration, from, CASES_OF_ONE).await?;
                cells.iter().for_each(|cell| tally.count(cell));
            }
            self.tallies.push(tally);
        }
        Ok(())
    }

    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let cases = self.view.cases;
        let suite = move |configuration: usize| {
            let tests = (0..cases).step_by(ANSWERS).map(move |from| Part::Tests(configuration, from));
            iter::once(Part::SuiteBegins(configuration)).chain(tests).chain(iter::once(Part::SuiteEnds))
        };
        let suites = (0..self.view.configurations.len()).flat_map(suite);
        iter::once(Part::Begin).chain(suites).chain(iter::once(Part::End))
    }

    async fn write(&self, part: Part) -> Result<Bytes> {
        let column = |configuration: usize| self.view.configurations.get(configuration);
        Ok(match part {
            Part::Begin => report::begin(&self.view, &self.tallies),
            Part::SuiteBegins(number) => {
                let tally = self.tallies.get(number).copied().unwrap_or_default();
                column(number).map(|column| report::suite_begins(&self.view, column, tally)).unwrap_or_default()
            }
            Part::Tests(number, from) => {
                let mut cells = self.cells(number, from, ANSWERS).await?;
                let missed = cells.iter_mut().filter(|cell| cell.verdict != Verdict::Correct);
                evaluation::tell(&self.app, &self.caller, missed).await?;
                column(number).map(|column| report::test_cases(column, &cells)).unwrap_or_default()
            }
            Part::SuiteEnds => report::suite_ends(),
            Part::End => report::end(),
        })
    }

    async fn cells(&self, configuration: usize, from: usize, most: usize) -> Result<Vec<Cell>> {
        evaluation::column(&self.app, &self.caller, self.id, configuration, from, most).await
    }
}

/// The page, of what is known at this moment.
pub(super) async fn html(app: &App, caller: &Caller, id: EvaluationId) -> Result<Response> {
    let view = seen(app, caller, id).await?;
    let number = view.configurations.len();
    let mut missed = Missed::default();
    for case in (0..view.cases).step_by(CASES_OF_ALL) {
        let (from, most) = (case.saturating_mul(number), CASES_OF_ALL.saturating_mul(number));
        evaluation::bare_cells(app, caller, id, from, most).await?.into_iter().for_each(|cell| missed.take(cell));
    }
    let mut missed = missed.all();
    for some in missed.untold().chunks_mut(ANSWERS) {
        evaluation::tell(app, caller, some.iter_mut().map(|cell| &mut **cell)).await?;
        some.iter_mut().for_each(|cell| report::shorten(cell));
    }
    let mut response = as_it_is_called(response::with_bytes(StatusCode::OK, report::page(&view, &missed)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

async fn seen(app: &App, caller: &Caller, id: EvaluationId) -> Result<EvaluationView> {
    Ok(EvaluationView::new(&evaluation::get(app, caller, id).await?))
}

/// The answer, which no browser takes for anything else than it is called: words of others are in it.
fn as_it_is_called(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

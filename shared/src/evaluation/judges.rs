//! The judges' phase: models that say what they think of answers. No validation asks for that yet.

use super::{Configuration, Evaluation};
use crate::{
    app::App,
    batch::Progress,
    error::{Error, Result},
    test_set::{Case, Kind},
};

/// Whether a model judges one of the case's validations.
pub(super) fn wanted_by(case: &Case) -> bool {
    case.validations.iter().any(|validation| match validation.kind {
        Kind::Exact { .. } | Kind::ContentMatch { .. } | Kind::JsonSchema { .. } | Kind::ToolCall { .. } => false,
    })
}

/// Goes on with the judges of a configuration whose runs are so far: they begin when these have ended. Answers how far they are; `None` when
/// there are none, and nothing is waited for.
#[expect(clippy::unused_async, reason = "judges are batches, which are looked at")]
pub(super) async fn advance(
    app: &App,
    evaluation: &Evaluation,
    configuration: &Configuration,
    runs: &Progress,
) -> Result<Option<Progress>> {
    let _ = (app, evaluation, runs);
    none_yet(configuration)
}

/// How far the judges of a configuration are, without going on with them.
#[expect(clippy::unused_async, reason = "judges are batches, which are looked at")]
pub(super) async fn stands(
    app: &App,
    evaluation: &Evaluation,
    configuration: &Configuration,
) -> Result<Option<Progress>> {
    let _ = (app, evaluation);
    none_yet(configuration)
}

fn none_yet(configuration: &Configuration) -> Result<Option<Progress>> {
    match configuration.judge_batch_id {
        None => Ok(None),
        Some(_) => Err(Error::Internal("an evaluation has judges".into())),
    }
}

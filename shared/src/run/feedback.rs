//! What people think of runs, and of what was said in them. It lies beside the runs: giving it writes no row of theirs.

use serde::{Deserialize, Serialize};

use super::{Chat, history::said, visible};
use crate::{
    app::App,
    clock::Timestamp,
    error::{Error, Result},
    id::{AgentId, KeyId, RunId},
    random, store,
    tenant::{Caller, Scope},
};

/// The longest comment, in characters.
pub const COMMENT_CHARS: usize = 1_000;
/// How often it is tried again when others say something of the same at the same time.
const TRIES: u32 = 20;

/// Whether it was good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Yes.
    Up,
    /// No.
    Down,
}

/// What somebody thinks of a run or of an event of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFeedback {
    /// Whether it was good.
    pub label: Label,
    /// The run's agent; another one's run is not found.
    pub agent_id: Option<AgentId>,
    /// The event: [`super::ChatEvent::id`]; `None` is the run as a whole.
    pub event_id: Option<String>,
    /// Why, at most [`COMMENT_CHARS`] characters.
    pub comment: Option<String>,
}

/// What was thought last of a run or of an event of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feedback {
    /// The run.
    pub run_id: RunId,
    /// The event; `None` is the run as a whole.
    pub event_id: Option<String>,
    /// Whether it was good.
    pub label: Label,
    /// Why.
    pub comment: Option<String>,
    /// The key with which it was said.
    pub key_id: KeyId,
    /// When it was said.
    pub at: Timestamp,
}

/// Keeps what somebody thinks of a run or of an event of it, in the place of what was thought of the same before.
///
/// # Errors
/// [`Error::NotFound`] for the run, also when it is another agent's, and for an event that is not one of the run;
/// [`Error::Invalid`] for a comment that is too long.
pub async fn give_feedback(app: &App, caller: &Caller, id: RunId, new: NewFeedback) -> Result<()> {
    caller.require(Scope::RunsWrite)?;
    let NewFeedback { label, agent_id, event_id, comment } = new;
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT_CHARS) {
        return Err(Error::invalid("comment", format!("must be at most {COMMENT_CHARS} characters long")));
    }
    let run = visible(app, caller.tenant(), id).await?.value;
    if agent_id.is_some_and(|agent| agent != run.agent_id) {
        return Err(Error::NotFound("run"));
    }
    if let Some(event) = &event_id
        && !said(app, caller, &run).await?.iter().any(|said| said.id == *event)
    {
        return Err(Error::NotFound("event"));
    }
    for attempt in 1..=TRIES {
        let (event_id, comment) = (event_id.clone(), comment.clone());
        let given = Feedback { run_id: id, event_id, label, comment, key_id: caller.key_id(), at: app.now() };
        match app.store().save_feedback(caller.tenant(), run.chat_id, &given).await {
            Err(store::Error::Conflict { .. }) => random::pause(attempt).await,
            other => return Ok(other?),
        }
    }
    Err(Error::Unavailable("the feedback is being written all the time".into()))
}

/// What was thought last of the chat's runs and of what was said in them.
///
/// # Errors
/// As the store says.
pub async fn feedback(app: &App, caller: &Caller, chat: &Chat) -> Result<Vec<Feedback>> {
    caller.require(Scope::RunsRead)?;
    Ok(app.store().feedback(caller.tenant(), chat.first.id).await?)
}

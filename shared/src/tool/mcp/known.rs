//! What is known of a call afterwards, and why a server could not be spoken with.

use http::StatusCode;
use serde_json::Value;

use crate::tool::answer::passes;

/// What is known of the call of a tool.
#[derive(Debug, Clone, Default)]
pub(super) enum Called {
    /// Nothing was sent.
    #[default]
    Not,
    /// It was sent, or may have been, and no complete answer came.
    Unclear,
    /// The server does not know the session, so it did nothing.
    Expired,
    /// The server answered with this status, which is no success, and this text.
    Refused(StatusCode, String),
    /// The server's JSON-RPC message.
    Answered(Value),
}

/// Why a server could not be spoken with. `Display` is for whoever named it, and for the model: no text of the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody is there, or it may not be called.
    #[error("the MCP server could not be reached")]
    Unreached,
    /// It took too long, or hung up.
    #[error("the MCP server gave no complete answer")]
    Silent,
    /// It refuses.
    #[error("the MCP server answered HTTP {0}")]
    Status(StatusCode),
    /// It says more than is read.
    #[error("the MCP server says more than is read of it")]
    TooMuch,
    /// What it says is not MCP.
    #[error("the server did not answer as an MCP server does")]
    Foreign,
    /// Its list does not end.
    #[error("the MCP server lists more than {0} tools")]
    TooMany(usize),
}

impl Trouble {
    /// Whether it may be gone later.
    pub(super) fn passing(&self) -> bool {
        match self {
            Self::Unreached | Self::Silent => true,
            Self::Status(status) => passes(*status),
            Self::TooMuch | Self::Foreign | Self::TooMany(_) => false,
        }
    }
}

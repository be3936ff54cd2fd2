//! Tools that are Lambda functions: which ones a deployment may invoke, and what is known of a call afterwards.
//!
//! Knows no run and no retry: the engine decides what an outcome means.

#[cfg(feature = "aws")]
mod invoke;
mod name;

use std::time::Duration;

use serde_json::{Map, Value};

#[cfg(feature = "aws")]
pub use self::invoke::Invoker;
pub use self::name::Name;
use super::{Outcome, Policy};
use crate::error::Problem;

/// The Lambda functions that tools may be.
#[derive(Debug, Default)]
pub enum Functions {
    /// None: this host is not on Lambda.
    #[default]
    Unavailable,
    /// Those that the deployment says, in its own account and region.
    #[cfg(feature = "aws")]
    Aws(Invoker),
}

/// One call of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The function's name or ARN.
    pub function: &'a str,
    /// The arguments, valid by the tool's schema.
    pub arguments: &'a Map<String, Value>,
    /// The same at every try of this call.
    pub idempotency_key: &'a str,
    /// How long it may take, connecting included.
    pub timeout: Duration,
}

impl Functions {
    /// What is wrong with a tool that is this function, by its fields.
    #[must_use]
    pub fn check(&self, function: &str, policy: Policy) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |field: &str, message: String| problems.push(Problem { field: field.to_owned(), message });
        match self {
            Self::Unavailable => {
                let _ = function;
                let message = "lambda is not available: this host does not run on AWS Lambda; use an http tool";
                refuse("type", message.to_owned());
            }
            #[cfg(feature = "aws")]
            Self::Aws(invoker) => {
                if let Err(message) = invoker.find(function) {
                    refuse("function", message);
                }
            }
        }
        if policy == Policy::Verify {
            refuse("policy", "verify is for tools of type http, which have a lookup_url".to_owned());
        }
        problems
    }

    /// Calls the function once.
    pub async fn call(&self, call: &Call<'_>) -> Outcome {
        match self {
            Self::Unavailable => {
                let message = format!("the function '{}' cannot be invoked: this host is not on Lambda", call.function);
                Outcome::NotSent { message, passing: false }
            }
            #[cfg(feature = "aws")]
            Self::Aws(invoker) => invoker.call(call).await,
        }
    }
}

//! A function is invoked, once, and its answer read.

use aws_config::SdkConfig;
use aws_sdk_lambda::{
    Client,
    config::{StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig},
    operation::invoke::{InvokeError, InvokeOutput},
    primitives::Blob,
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Call, Name};
use crate::{
    aws::fault,
    tool::{Outcome, answer},
};

/// The longest event of a synchronous invocation, in bytes.
const PAYLOAD_LIMIT_BYTES: usize = 6 * 1024 * 1024;
/// What the model is told when it is not known whether the function ran.
const UNCLEAR: &str = "the function was invoked, and no complete answer came: it may have run or not";

/// Invokes the functions that a deployment may invoke.
#[derive(Debug)]
pub struct Invoker {
    client: Client,
    /// What an ARN of the same account and region begins with.
    scope: String,
    allowed: Vec<Name>,
}

impl Invoker {
    /// Of these functions; `scope` is what their ARNs begin with (see [`Name::parse`]). Nothing is tried twice, and nothing but a
    /// call's own timeout ends it, if the configuration's HTTP client is one that waits ([`crate::aws::patient_http_client`]).
    #[must_use]
    pub fn new(config: &SdkConfig, scope: String, allowed: Vec<Name>) -> Self {
        let config = aws_sdk_lambda::Config::from(config)
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), scope, allowed }
    }

    /// The function of this name or ARN, if it may be invoked.
    ///
    /// # Errors
    /// What is wrong with it, to stand after its field.
    pub(super) fn find(&self, function: &str) -> Result<Name, String> {
        let name = Name::parse(function, &self.scope)?;
        if self.allowed.contains(&name) {
            return Ok(name);
        }
        Err("is none of the functions that this deployment may invoke: an operator names them in the template's parameter \
             ToolFunctions"
            .to_owned())
    }

    /// Invokes the function and waits for its answer.
    pub(super) async fn call(&self, call: &Call<'_>) -> Outcome {
        let not_sent = |message: String| Outcome::NotSent { message, passing: false };
        let name = match self.find(call.function) {
            Ok(name) => name,
            Err(problem) => return not_sent(format!("the tool's function {problem}")),
        };
        let payload = Value::Object(call.arguments.clone()).to_string();
        if payload.len() > PAYLOAD_LIMIT_BYTES {
            return not_sent(format!("the arguments are longer than {PAYLOAD_LIMIT_BYTES} bytes"));
        }
        let context = json!({"custom": {"idempotencyKey": call.idempotency_key}}).to_string();
        let invoking = self
            .client
            .invoke()
            .function_name(name.function)
            .set_qualifier(name.qualifier)
            .client_context(STANDARD.encode(context))
            .payload(Blob::new(payload))
            .send();
        match tokio::time::timeout(call.timeout, invoking).await {
            Ok(Ok(output)) => answered(output),
            Ok(Err(error)) => failed(&error),
            Err(_elapsed) => unclear(),
        }
    }
}

fn answered(output: InvokeOutput) -> Outcome {
    let text = String::from_utf8_lossy(output.payload.as_ref().map_or(&[], Blob::as_ref)).into_owned();
    // `Handled` or `Unhandled`: the function ran, and says or shows that it failed.
    let failed = output.function_error.is_some();
    let text = if failed { format!("the function failed\n{text}") } else { text };
    Outcome::Answered { content: answer::within_limit(text, false), failed, passing: false }
}

/// What an invocation that has no answer of the function means. The service answers 4xx before the function runs, but for a few that
/// speak of its file system while it may be running.
fn failed(error: &SdkError<InvokeError, HttpResponse>) -> Outcome {
    let refused = |message: &str, passing| Outcome::NotSent { message: message.to_owned(), passing };
    if let SdkError::ConstructionFailure(_) = error {
        return refused("the invocation cannot be sent", false);
    }
    if fault::never_connected(error) {
        return refused("the function was not invoked: Lambda cannot be reached", true);
    }
    let SdkError::ServiceError(context) = error else { return unclear() };
    match context.raw().status().as_u16() {
        429 => refused("the function was not invoked: too many invocations at the moment", true),
        409 => refused("the function was not invoked: it is being changed", true),
        404 => refused("the function was not invoked: there is no such function", false),
        401 | 403 => refused("the function was not invoked: access is denied", false),
        400 | 413 | 415 => refused("the function was not invoked: Lambda does not take the event", false),
        _ => unclear(),
    }
}

fn unclear() -> Outcome {
    Outcome::Unclear { message: UNCLEAR.to_owned() }
}

//! The route table: one row per call, with its handler and what is documented of it. Knows no host.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures_util::{FutureExt, future::BoxFuture};
use http::Method;
use schemars::{Schema, SchemaGenerator};
use shared::{App, Error, Result, store::row::Table};

use crate::{Request, Response, Surface};

/// Answers one request.
pub type Handler = for<'a> fn(&'a App, Request) -> BoxFuture<'a, Result<Response>>;

/// Whether a request may go on, by its head alone.
pub type Admit = fn(&App, &Request) -> Result<()>;

/// Makes a type's JSON schema.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A row of the table.
#[derive(Debug)]
pub struct Route {
    /// Its name, which is also the handler's on Lambda and the operation's in the OpenAPI document.
    pub name: &'static str,
    /// The surface it belongs to.
    pub surface: Surface,
    /// The method.
    pub method: Method,
    /// The path, with `{names}` for the parts that vary.
    pub path: &'static str,
    /// Who answers.
    pub handler: Handler,
    /// What is documented of it.
    pub operation: Operation,
}

/// What the OpenAPI document and the deployment template say about a route.
#[derive(Debug)]
pub struct Operation {
    /// What it does: the first line is the summary.
    pub about: &'static [&'static str],
    /// The type of its query parameters.
    pub query: Option<SchemaOf>,
    /// The type of its body.
    pub body: Option<SchemaOf>,
    /// What it answers when all is well, and errors that its kind of call does not have by itself.
    pub answers: &'static [Answer],
    /// What the function needs the right to do: the least privilege.
    pub access: &'static [Access],
    /// How long a call may take, and how much it may answer.
    pub wait: Wait,
    /// The largest body, in bytes.
    pub body_limit_bytes: usize,
    /// What is asked before the body is read, where that is large: of a request without its body, which the handler refuses too.
    pub admit: Option<Admit>,
    /// Whether a function of AWS answers it; otherwise only the embedded host does.
    pub deployed: bool,
}

/// One way in which a route answers.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The content type, unless it is JSON.
    pub media: Option<&'static str>,
    /// The body's type, if it has one; of an error, unless it is the surface's own.
    pub schema: Option<SchemaOf>,
}

/// A right that a route's function needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads rows of the table.
    Read(Table),
    /// Reads and writes rows of the table.
    Write(Table),
    /// Reads files.
    ReadFiles,
    /// Reads and keeps files.
    WriteFiles,
    /// Deletes files.
    DeleteFiles,
    /// Sends to the queue.
    Send,
    /// Asks models, lists them, or checks a name or a budget against them.
    Models,
    /// Calls the tools of agents that are Lambda functions.
    Tools,
    /// Sets and deletes timers of schedules.
    Timers,
    /// Reads objects of the buckets that triggers may read.
    SourceBuckets,
    /// Puts events on the event bus.
    Bus,
}

/// How long a call may take, and how much it may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Less than the 29 seconds that a gateway waits for a whole answer, which has at most the 6 MB that a function can give it.
    Short,
    /// Up to 15 minutes, with the answer streamed, however large it is.
    Long,
}

impl Operation {
    /// Whether a caller must show a key: a route that may not read keys cannot ask for one.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        let keys = [Access::Read(Table::ApiKeys), Access::Write(Table::ApiKeys)];
        self.access.iter().any(|access| keys.contains(access))
    }
}

impl Route {
    /// Every route of every surface.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        Surface::ALL.into_iter().flat_map(Surface::routes)
    }

    /// The route of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|route| route.name == name)
    }

    /// The answer to a request for this route: here, and only here, a handler's error is logged and rendered.
    pub async fn answer(&self, app: &App, request: Request) -> Response {
        let envelope = request.envelope().clone();
        let outcome = caught(async { (self.handler)(app, request).await }).await;
        outcome.unwrap_or_else(|error| envelope.refuse(&error))
    }
}

/// The handler was wrong in a way that it did not expect.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
struct Panicked(String);

/// The outcome; a panic is an error of our own, so that one bad request never ends the process.
pub(crate) async fn caught(outcome: impl Future<Output = Result<Response>> + Send) -> Result<Response> {
    AssertUnwindSafe(outcome).catch_unwind().await.unwrap_or_else(|payload| Err(panicked(payload.as_ref())))
}

fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::Internal(Panicked(text.unwrap_or("without a message").to_owned()).into())
}

/// A surface's table. A row reads:
///
/// ```text
/// /// Create an agent
/// create_agent = POST "/v1/agents" => agents::create_agent {
///     body: CreateAgent,
///     answer: 201 AgentView,
///     access: [write api_keys, write agents],
/// }
/// ```
///
/// `query: ListAgents,` goes before `body`; answers are separated by `|` and may name a content type (`200 "text/csv"`);
/// an error that calls of its kind do not have by themselves is an answer too (`| 404`, where the body names a thing);
/// `wait: Long,`, `limit: …`, the largest body in bytes, `admit: …`, what is asked before that is read, and `deployed: false`, for a call
/// that only the embedded host answers, come last.
macro_rules! routes {
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
    (@limit) => { $crate::BODY_LIMIT_BYTES };
    (@limit $limit:expr) => { $limit };
    (@deployed) => { true };
    (@deployed $deployed:literal) => { $deployed };
    (@wait) => { $crate::route::Wait::Short };
    (@wait $wait:ident) => { $crate::route::Wait::$wait };
    (@access send queue) => { $crate::route::Access::Send };
    (@access set timers) => { $crate::route::Access::Timers };
    (@access read buckets) => { $crate::route::Access::SourceBuckets };
    (@access use tools) => { $crate::route::Access::Tools };
    (@access read files) => { $crate::route::Access::ReadFiles };
    (@access write files) => { $crate::route::Access::WriteFiles };
    (@access delete files) => { $crate::route::Access::DeleteFiles };
    (@access use models) => { $crate::route::Access::Models };
    (@access read $table:ident) => { $crate::route::Access::Read($crate::route::routes!(@table $table)) };
    (@access write $table:ident) => { $crate::route::Access::Write($crate::route::routes!(@table $table)) };
    (@table agents) => { shared::store::row::Table::Agents };
    (@table api_keys) => { shared::store::row::Table::ApiKeys };
    (@table runs) => { shared::store::row::Table::Runs };
    (@table messages) => { shared::store::row::Table::Messages };
    ($surface:ident; $(
        $(#[doc = $about:literal])+
        $name:ident = $method:ident $path:literal => $handler:path {
            $(query: $query:ty,)?
            $(body: $body:ty,)?
            answer: $($status:literal $($media:literal)? $($answer:ty)?)|+,
            access: [$($mode:ident $what:ident),*]
            $(, wait: $wait:ident)? $(, limit: $limit:expr)? $(, admit: $admit:path)?
            $(, deployed: $deployed:literal)? $(,)?
        }
    )+) => {
        /// The surface's routes.
        pub(crate) static ROUTES: &[$crate::route::Route] = &[$($crate::route::Route {
            name: stringify!($name),
            surface: $crate::Surface::$surface,
            method: http::Method::$method,
            path: $path,
            handler: |app, request| Box::pin($handler(app, request)),
            operation: $crate::route::Operation {
                about: &[$($about),+],
                query: $crate::route::routes!(@optional $(schemars::SchemaGenerator::subschema_for::<$query>)?),
                body: $crate::route::routes!(@optional $(schemars::SchemaGenerator::subschema_for::<$body>)?),
                answers: &[$($crate::route::Answer {
                    status: $status,
                    media: $crate::route::routes!(@optional $($media)?),
                    schema: $crate::route::routes!(@optional $(schemars::SchemaGenerator::subschema_for::<$answer>)?),
                }),+],
                access: &[$($crate::route::routes!(@access $mode $what)),*],
                wait: $crate::route::routes!(@wait $($wait)?),
                body_limit_bytes: $crate::route::routes!(@limit $($limit)?),
                admit: $crate::route::routes!(@optional $($admit)?),
                deployed: $crate::route::routes!(@deployed $($deployed)?),
            },
        }),+];
    };
}

pub(crate) use routes;

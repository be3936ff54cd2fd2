//! Objects that are put into a bucket of S3: each starts a batch, a run for each of its rows. What is here beside what all triggers do: which
//! objects, and how their rows become what the agent is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tokio::sync::Semaphore;

use super::{Definition, Source, Told, Trigger};
use crate::{
    app::App,
    aside::aside,
    clock::Timestamp,
    error::{Error, Problem, Result},
    order::{OrderItem, Work, rows},
    seal::fingerprint,
    template::Known,
    tenant::Caller,
};

/// Which objects are a trigger's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// Of this bucket.
    pub bucket: String,
    /// With keys that begin so.
    #[serde(default)]
    pub prefix: String,
    /// With keys that end so.
    #[serde(default)]
    pub suffix: String,
}

/// The longest beginning and end of keys, in bytes: as a key's.
const KEY_LIMIT_BYTES: usize = 1024;

/// The longest entity tag, in bytes: S3's have up to 38.
const ETAG_LIMIT_BYTES: usize = 128;
/// How many objects are in hand at a time: each may be 20 MiB, and ten times as much when it is read.
static PLACES: Semaphore = Semaphore::const_new(4);

/// An object that was put, as EventBridge tells of it.
pub(super) struct Put<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    /// Which of its versions, where the bucket keeps them.
    pub(super) version: Option<&'a str>,
    /// By what its bytes are told from those of another put.
    pub(super) etag: Option<&'a str>,
}

impl<'a> Put<'a> {
    /// `None` when the event tells of something else.
    fn told(event: &'a Json) -> Option<Self> {
        let is = |field: &str, expected: &str| event.get(field).is_some_and(|value| value == expected);
        let detail = event.get("detail").filter(|_| is("source", "aws.s3") && is("detail-type", "Object Created"))?;
        let object = detail.get("object")?;
        Some(Self {
            bucket: detail.get("bucket")?.get("name")?.as_str()?,
            key: object.get("key")?.as_str()?,
            version: object.get("version-id").and_then(Json::as_str).filter(|version| !matches!(*version, "" | "null")),
            etag: object.get("etag").and_then(Json::as_str).filter(|etag| is_etag(etag)),
        })
    }
}

/// Whether it can be what S3 has as an entity tag, between its quotes.
fn is_etag(text: &str) -> bool {
    (1..=ETAG_LIMIT_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

/// By what an event of S3 is told from others: S3 may tell twice of the same, under two ids. `None` when it tells of something else.
pub(super) fn event_id(event: &Json) -> Option<String> {
    let (put, object) = (Put::told(event)?, event.get("detail")?.get("object")?);
    let text = |field: &str| object.get(field).and_then(Json::as_str);
    let which = put.version.or_else(|| text("sequencer")).or(put.etag)?;
    Some(format!("s3:{}", fingerprint(&[put.bucket.as_bytes(), put.key.as_bytes(), which.as_bytes()])))
}

/// Refuses objects that are none, or that may not be read.
pub(super) fn check(app: &App, caller: &Caller, definition: &Definition) -> Result<()> {
    let objects = match (&definition.object, definition.source) {
        (None, Source::S3) => return Err(Error::invalid("object", "must say of which bucket the objects are")),
        (None, _) => return Ok(()),
        (Some(objects), Source::S3) => objects,
        (Some(_), _) => return Err(Error::invalid("object", "is only for the source s3")),
    };
    for (field, text) in [("object.prefix", &objects.prefix), ("object.suffix", &objects.suffix)] {
        if text.len() > KEY_LIMIT_BYTES {
            return Err(Error::invalid(field, format!("must be at most {KEY_LIMIT_BYTES} bytes long")));
        }
    }
    if app.buckets().may_read(caller.tenant().org(), &objects.bucket) {
        return Ok(());
    }
    let message = "is none of those that the operator lets be read (MUSTER_SOURCE_BUCKETS)";
    Err(Error::invalid("object.bucket", message))
}

/// What an event of S3 becomes; `None` when it tells of another object.
///
/// # Errors
/// [`Error::Unavailable`] when S3 does not answer.
pub(super) async fn made(
    app: &App,
    trigger: &Trigger,
    (event_id, at): (&str, Timestamp),
    headers: Map<String, Json>,
    event: Json,
) -> Result<std::result::Result<Option<Work>, Vec<Problem>>> {
    let definition = &trigger.definition;
    let wanted = |put: &Put<'_>, objects: &Objects| {
        put.bucket == objects.bucket && put.key.starts_with(&objects.prefix) && put.key.ends_with(&objects.suffix)
    };
    let put = Put::told(&event).filter(|put| definition.object.as_ref().is_some_and(|objects| wanted(put, objects)));
    let Some(put) = put else { return Ok(Ok(None)) };
    let key = put.key;
    let problem = |message: String| vec![Problem { field: "object".to_owned(), message: format!("{key}: {message}") }];
    let known = Arc::new(super::receive::known(trigger, (event_id, at), headers, event.clone()));
    if let Some(filter) = definition.filter.clone() {
        let known = Arc::clone(&known);
        match aside(move || known.holds("filter", &filter)).await? {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(None)),
            Err(problem) => return Ok(Err(vec![problem])),
        }
    }
    // The operator may have changed their mind since the trigger was made.
    if !app.buckets().may_read(trigger.org, put.bucket) {
        return Ok(Err(problem("the bucket may not be read any more".to_owned())));
    }
    let place = PLACES.acquire().await.map_err(|error| Error::Internal(error.into()))?;
    let bytes = match app.buckets().read(&put).await? {
        Ok(bytes) => bytes,
        Err(message) => return Ok(Err(problem(message))),
    };
    let (told, media_type) = (definition.told.clone(), media_type(key));
    let made = aside(move || {
        let _until_it_is_read = place;
        items(&told, &known, media_type, &bytes)
    });
    let made = made.await?;
    Ok(made.map(|items| Some(Work::Items(items))).map_err(|problems| {
        let named = |one: Problem| match one.field.as_str() {
            "file_id" => Problem { field: "object".to_owned(), message: format!("{key}: {}", one.message) },
            _ => one,
        };
        problems.into_iter().map(named).collect()
    }))
}

/// What the rows are read as.
fn media_type(key: &str) -> &'static str {
    let end = key.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    match end.as_str() {
        "csv" => "text/csv",
        "jsonl" | "ndjson" | "json" => "application/x-ndjson",
        _ => "text/plain",
    }
}

fn items(
    told: &Told,
    known: &Known,
    media_type: &str,
    bytes: &[u8],
) -> std::result::Result<Vec<OrderItem>, Vec<Problem>> {
    let (custom_id, prompt) = match told {
        Told::Each { custom_id, prompt } | Told::Rows { custom_id, prompt, .. } => (custom_id.as_ref(), prompt),
        Told::Prompt(prompt) => (None, prompt),
        Told::Body => {
            let rows = rows::read(media_type, bytes)?;
            return Ok(rows
                .into_iter()
                .map(|item| OrderItem { custom_id: item.custom_id, prompt: item.prompt })
                .collect());
        }
    };
    let rows = rows::values(media_type, bytes)?;
    let mut items = Vec::with_capacity(rows.len());
    for (index, row) in known.each(rows).into_iter().enumerate() {
        let at = |problem: Problem| {
            vec![Problem { field: format!("rows[{index}].{}", problem.field), message: problem.message }]
        };
        let own = custom_id.map(|own| row.text("custom_id", own)).transpose().map_err(at)?;
        items.push(OrderItem { custom_id: own, prompt: row.prompt(prompt).map_err(at)? });
    }
    Ok(items)
}

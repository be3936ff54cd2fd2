//! What DynamoDB does on a bad day, done to the SDK's own requests: between the SDK and the connection stands a connector
//! that throttles, loses replies, reports conflicts and cuts pages short. Knows nothing of the store above.
//!
//! Chances are drawn from a seed; which call draws which number depends on the order of the calls.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpClient, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use serde_json::{Value, json};
use tests::tap::{self, Tap};
use tokio::sync::Semaphore;

/// Chances from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A call is refused by throttling; nothing is applied.
    pub(crate) throttled: f64,
    /// A call is applied and its reply is lost.
    pub(crate) lost: f64,
    /// A write is refused because another transaction holds the row.
    pub(crate) conflicts: f64,
    /// A batch leaves some undone; a page of a query is short or empty, with more behind it.
    pub(crate) short: f64,
}

impl Faults {
    /// What the protocol has to stand.
    pub(crate) const USUAL: Self = Self { throttled: 0.1, lost: 0.1, conflicts: 0.05, short: 0.3 };
}

/// What stands between the SDK and the connection, for a test to look at and to handle.
#[derive(Debug)]
pub(crate) struct Line {
    faults: Faults,
    random: Mutex<u64>,
    calls: Mutex<BTreeMap<String, usize>>,
    lose_next: AtomicUsize,
    held: Mutex<Option<(&'static str, Arc<Semaphore>)>>,
    refused: Mutex<Option<(&'static str, usize)>>,
}

impl Line {
    pub(crate) fn new(seed: u64, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            faults,
            random: Mutex::new(seed),
            calls: Mutex::default(),
            lose_next: AtomicUsize::new(0),
            held: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// How often each operation was called since the last look.
    pub(crate) fn take_calls(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// The replies of the next so many calls are lost.
    pub(crate) fn lose_next(&self, calls: usize) {
        self.lose_next.store(calls, Ordering::Relaxed);
    }

    /// Calls of this operation wait until the semaphore has a permit for each.
    pub(crate) fn hold(&self, operation: &'static str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.held.lock().unwrap() = Some((operation, gate.clone()));
        gate
    }

    /// From now on, calls of this operation are throttled, but for the first so many. `None` ends that.
    pub(crate) fn refuse(&self, operation: Option<(&'static str, usize)>) {
        *self.refused.lock().unwrap() = operation;
    }

    fn refuses(&self, operation: &str) -> bool {
        match self.refused.lock().unwrap().as_mut().filter(|(refused, _)| *refused == operation) {
            Some((_, 0)) => true,
            Some((_, left)) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// An HTTP client over this line.
    pub(crate) fn over(self: &Arc<Self>, inner: SharedHttpClient) -> SharedHttpClient {
        tap::tapped(self.clone(), inner)
    }

    /// SplitMix64 (public domain, Sebastiano Vigna).
    fn random(&self) -> u64 {
        let mut state = self.random.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&self, chance: f64) -> bool {
        (self.random() >> 11) as f64 / (1_u64 << 53) as f64 <= chance && chance > 0.0
    }

    fn loses(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.lose_next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
            || self.happens(self.faults.lost)
    }

    async fn shortened(
        &self,
        operation: &str,
        asked: &Value,
        answer: HttpResponse,
    ) -> Result<HttpResponse, ConnectorError> {
        let mut body = tap::body(answer).await?;
        match operation {
            "BatchGetItem" => self.leave_keys(asked, &mut body),
            "BatchWriteItem" => self.leave_writes(asked, &mut body),
            "Query" => self.cut(asked, &mut body),
            _ => {}
        }
        Ok(tap::answer(200, &body))
    }

    /// Takes some of the found items away and says that their keys were not looked at.
    fn leave_keys(&self, asked: &Value, body: &mut Value) {
        let tables: Vec<String> = body["Responses"].as_object().unwrap().keys().cloned().collect();
        for table in &tables {
            let items = body["Responses"][table].as_array_mut().unwrap();
            let left = items.split_off(items.len() - self.some_of(items.len()));
            if left.is_empty() {
                continue;
            }
            let keys: Vec<Value> = left.iter().map(|item| json!({ "pk": item["pk"], "sk": item["sk"] })).collect();
            let request = &mut body["UnprocessedKeys"][table];
            if request.is_null() {
                *request = asked["RequestItems"][table].clone();
                request["Keys"] = json!([]);
            }
            request["Keys"].as_array_mut().unwrap().extend(keys);
        }
    }

    /// Says of some writes that they were not done; they were, and doing them again changes nothing.
    fn leave_writes(&self, asked: &Value, body: &mut Value) {
        for (table, writes) in asked["RequestItems"].as_object().unwrap() {
            let writes = writes.as_array().unwrap();
            let left = &writes[writes.len() - self.some_of(writes.len())..];
            if !left.is_empty() && body["UnprocessedItems"][table].is_null() {
                body["UnprocessedItems"][table] = json!(left);
            }
        }
    }

    /// Leaves the first rows of a page, or none when there was a page before.
    fn cut(&self, asked: &Value, body: &mut Value) {
        let start = asked["ExclusiveStartKey"].clone();
        let items = body["Items"].as_array_mut().unwrap();
        let kept = items.len() - self.some_of(items.len());
        if kept == items.len() || (kept == 0 && start.is_null()) {
            return;
        }
        items.truncate(kept);
        let last = match items.last() {
            None => start,
            Some(item) => {
                let index = match asked["IndexName"].as_str() {
                    Some("listed") => &["lpk", "lsk"][..],
                    Some("due") => &["dpk", "dsk"],
                    _ => &[],
                };
                ["pk", "sk"].iter().chain(index).map(|name| ((*name).to_owned(), item[*name].clone())).collect()
            }
        };
        body["Count"] = json!(kept);
        body["LastEvaluatedKey"] = last;
    }

    /// A number from 0 to all of them.
    fn some_of(&self, count: usize) -> usize {
        usize::try_from(self.random() % (count as u64 + 1)).unwrap()
    }
}

impl Tap for Line {
    async fn pass(
        &self,
        connection: SharedHttpConnector,
        request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        *self.calls.lock().unwrap().entry(operation.clone()).or_default() += 1;
        let gate = self.held.lock().unwrap().clone().filter(|(held, _)| *held == operation);
        if let Some((_, gate)) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if self.refuses(&operation) || self.happens(self.faults.throttled) {
            let code = if self.happens(0.5) { "ProvisionedThroughputExceededException" } else { "ThrottlingException" };
            return Ok(refusal(code, Value::Null));
        }
        if self.happens(self.faults.conflicts)
            && let Some(answer) = conflict(&operation, &asked)
        {
            return Ok(answer);
        }
        let answer = connection.call(request).await?;
        if self.loses() {
            return Err(ConnectorError::timeout("the reply was lost".into()));
        }
        if answer.status().is_success() && self.happens(self.faults.short) {
            return self.shortened(&operation, &asked, answer).await;
        }
        Ok(answer)
    }
}

fn conflict(operation: &str, asked: &Value) -> Option<HttpResponse> {
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => Some(refusal("TransactionConflictException", Value::Null)),
        "TransactWriteItems" => {
            let count = asked["TransactItems"].as_array().map_or(0, Vec::len);
            let mut reasons = vec![json!({ "Code": "None" }); count];
            *reasons.last_mut()? = json!({ "Code": "TransactionConflict", "Message": "in conflict" });
            Some(refusal("TransactionCanceledException", json!(reasons)))
        }
        _ => None,
    }
}

fn refusal(code: &str, reasons: Value) -> HttpResponse {
    let mut body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "not now" });
    if !reasons.is_null() {
        body["CancellationReasons"] = reasons;
    }
    tap::answer(400, &body)
}

//! Messages through SQS. Knows no run: a message is a [`Chunk`] as JSON.

use std::sync::Arc;

use aws_sdk_sqs::{
    Client,
    types::{BatchResultErrorEntry, QueueAttributeName, SendMessageBatchRequestEntry},
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Chunk, DELAY_LIMIT_S, Unavailable};
use crate::aws::{backoff::Backoff, fault::CallFault};

/// The most messages of one call. With [`super::CHUNK_LIMIT`] ids each they are 21 KB; SQS takes 1 MiB in a call.
const PAGE: usize = 10;

/// How many calls are made at a time.
const AT_ONCE: usize = 8;

/// Two queues of SQS: what goes to endpoints has one of its own, so that runs wait for none of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: Client,
    queue_url: Arc<str>,
    posts_url: Arc<str>,
}

impl Sqs {
    /// The queue at this address, and the one for what goes to endpoints.
    #[must_use]
    pub fn new(client: Client, queue_url: impl Into<Arc<str>>, posts_url: impl Into<Arc<str>>) -> Self {
        Self { client, queue_url: queue_url.into(), posts_url: posts_url.into() }
    }

    pub(super) async fn send(&self, chunks: Vec<Chunk>, delay_s: u32) -> Result<(), Unavailable> {
        let delay_s = i32::try_from(delay_s.min(DELAY_LIMIT_S)).unwrap_or_default();
        let (posts, others): (Vec<Chunk>, Vec<Chunk>) = chunks.into_iter().partition(Chunk::posts);
        self.send_to(&self.queue_url, &others, delay_s).await?;
        self.send_to(&self.posts_url, &posts, delay_s).await
    }

    async fn send_to(&self, queue_url: &str, chunks: &[Chunk], delay_s: i32) -> Result<(), Unavailable> {
        let pages = chunks.chunks(PAGE).map(|page| page.iter().enumerate().map(|(n, chunk)| entry(n, chunk, delay_s)));
        let pages = pages.map(Iterator::collect).collect::<Result<Vec<Vec<_>>, _>>()?;
        let pages: Vec<_> = pages.into_iter().map(|page| self.send_page(queue_url, page)).collect();
        stream::iter(pages).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Opens a connection and resolves the credentials; whatever comes back is ignored.
    pub(crate) async fn touch(&self) {
        let call = self.client.get_queue_attributes().queue_url(&*self.queue_url);
        let _ = call.attribute_names(QueueAttributeName::QueueArn).send().await;
    }

    async fn send_page(
        &self,
        queue_url: &str,
        mut entries: Vec<SendMessageBatchRequestEntry>,
    ) -> Result<(), Unavailable> {
        let mut backoff = Backoff::new();
        let mut refused = None;
        loop {
            let before = entries.len();
            let call = self.client.send_message_batch().queue_url(queue_url);
            let answer = call.set_entries(Some(entries.clone())).send().await;
            let failed = answer.map_err(|error| fault(CallFault::of("SendMessageBatch", &error)))?.failed;
            let (ours, theirs): (Vec<_>, Vec<_>) = failed.into_iter().partition(BatchResultErrorEntry::sender_fault);
            refused = refused.or_else(|| ours.into_iter().next());
            entries.retain(|entry| theirs.iter().any(|failure| failure.id() == entry.id()));
            let Some(failure) = theirs.first() else { break };
            if entries.len() < before {
                backoff.progressed();
            }
            if !backoff.wait().await {
                return Err(fault(CallFault::new("SendMessageBatch", reason(failure))));
            }
        }
        // What SQS refuses once, it refuses always.
        refused.map_or(Ok(()), |failure| Err(fault(CallFault::new("SendMessageBatch", reason(&failure)))))
    }
}

/// The organisation is the message group: a fair queue then serves one with many messages no better than the others.
fn entry(n: usize, chunk: &Chunk, delay_s: i32) -> Result<SendMessageBatchRequestEntry, Unavailable> {
    SendMessageBatchRequestEntry::builder()
        .id(n.to_string())
        .message_body(chunk.body())
        .message_group_id(chunk.org.to_string())
        .delay_seconds(delay_s)
        .build()
        .map_err(|error| Unavailable(error.into()))
}

fn reason(failure: &BatchResultErrorEntry) -> String {
    format!("{}: {}", failure.code(), failure.message().unwrap_or_default())
}

fn fault(fault: CallFault) -> Unavailable {
    Unavailable(fault.into())
}

//! Messages within one process: a channel. What waits is lost when the process ends, and the reaper sends it again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::mpsc, time};

use super::{Chunk, Unavailable};
use crate::adversity;

/// The sending side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Embedded {
    sender: mpsc::UnboundedSender<Chunk>,
    waiting: Arc<AtomicUsize>,
}

/// The receiving side: there is one.
#[derive(Debug)]
pub struct Receiver {
    receiver: mpsc::UnboundedReceiver<Chunk>,
    waiting: Arc<AtomicUsize>,
}

impl Embedded {
    /// A queue and its receiving side.
    #[must_use]
    pub fn new() -> (Self, Receiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Self { sender, waiting: Arc::clone(&waiting) }, Receiver { receiver, waiting })
    }

    /// How many messages can be received at once: without those whose delay has not passed.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    #[expect(clippy::unused_async, reason = "both queues are called alike")]
    pub(super) async fn send(&self, chunks: Vec<Chunk>, delay_s: u32) -> Result<(), Unavailable> {
        let delay = Duration::from_secs(delay_s.into());
        let (chunks, later) = adversity::delivered(chunks);
        for (chunk, wait) in later {
            self.send_later(vec![chunk], delay.saturating_add(wait));
        }
        if delay.is_zero() {
            return deliver(&self.sender, &self.waiting, chunks);
        }
        if self.sender.is_closed() {
            return Err(Unavailable("the worker has ended".into()));
        }
        self.send_later(chunks, delay);
        Ok(())
    }

    fn send_later(&self, chunks: Vec<Chunk>, delay: Duration) {
        // Weak: a message that is still delayed does not keep the queue open.
        let (sender, waiting) = (self.sender.downgrade(), Arc::clone(&self.waiting));
        tokio::spawn(async move {
            time::sleep(delay).await;
            if let Some(sender) = sender.upgrade() {
                let _ = deliver(&sender, &waiting, chunks);
            }
        });
    }
}

impl Receiver {
    /// The next message; `None` when no sender is left and everything was received. Dropped while it waits, it loses none.
    pub async fn receive(&mut self) -> Option<Chunk> {
        let chunk = self.receiver.recv().await?;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        Some(chunk)
    }
}

fn deliver(
    sender: &mpsc::UnboundedSender<Chunk>,
    waiting: &AtomicUsize,
    chunks: Vec<Chunk>,
) -> Result<(), Unavailable> {
    for chunk in chunks {
        // Counted before it can be received, so that the count never goes below zero.
        waiting.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = sender.send(chunk) {
            waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(Unavailable(error.to_string().into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        id::{OrgId, RunId},
        tenant::Tenant,
    };

    fn chunks(count: usize) -> Vec<Chunk> {
        let now = Clock::System.now();
        let tenant = Tenant::of(OrgId::new(now));
        (0..count).map(|_| Chunk::new(tenant, vec![RunId::new(now)])).collect()
    }

    #[tokio::test]
    async fn messages_come_in_order_and_are_counted() {
        let (queue, mut receiver) = Embedded::new();
        let sent = chunks(3);
        queue.send(sent.clone(), 0).await.unwrap();
        assert_eq!(queue.waiting(), 3);
        for chunk in sent {
            assert_eq!(receiver.receive().await, Some(chunk));
        }
        assert_eq!(queue.waiting(), 0);
        drop(queue);
        assert_eq!(receiver.receive().await, None);
    }

    #[tokio::test]
    async fn a_delayed_message_comes_later_and_does_not_hold_up_others() {
        let (queue, mut receiver) = Embedded::new();
        let (late, prompt) = (chunks(1), chunks(1));
        let started = std::time::Instant::now();
        queue.send(late.clone(), 1).await.unwrap();
        assert_eq!(queue.waiting(), 0);
        queue.send(prompt.clone(), 0).await.unwrap();
        assert_eq!(receiver.receive().await.as_slice(), prompt);
        assert_eq!(receiver.receive().await.as_slice(), late);
        assert!(started.elapsed() >= Duration::from_secs(1));
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test]
    async fn a_delayed_message_does_not_keep_the_queue_open() {
        let (queue, mut receiver) = Embedded::new();
        queue.send(chunks(1), 900).await.unwrap();
        drop(queue);
        assert_eq!(receiver.receive().await, None);
    }

    #[tokio::test]
    async fn without_a_receiver_nothing_is_accepted() {
        let (queue, receiver) = Embedded::new();
        drop(receiver);
        assert!(queue.send(chunks(1), 0).await.is_err());
        assert!(queue.send(chunks(1), 5).await.is_err());
        assert_eq!(queue.waiting(), 0);
    }
}

//! A streamed answer: a list of bytes, each with the moment at which it leaves, and what goes wrong half-way.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper::body::Frame;
use tokio::time::{sleep, sleep_until};

use crate::{
    answer::{Answer, Said, ToolCall},
    format::{Call, Format},
    spec::{Spec, StreamFault},
    stats::Ticket,
};

/// A piece of an answer.
pub(crate) enum Piece<'a> {
    Text(String),
    Call(usize, &'a ToolCall),
}

/// A streamed answer as bytes of its format.
pub(crate) struct Events {
    pub(crate) head: Vec<Bytes>,
    pub(crate) deltas: Vec<Bytes>,
    pub(crate) tail: Vec<Bytes>,
}

/// What is done at a moment.
enum Step {
    Send(Bytes),
    /// The last bytes leave: the answer is complete.
    Finish(Bytes),
    Cut,
    Stall,
}

/// The chunks of an answer that is due `total` after `started`.
pub(crate) fn chunks(
    (format, call, hash): (Format, &Call, u64),
    (spec, fault): (&Spec, Option<StreamFault>),
    answer: &Answer,
    (started, total): (Instant, Duration),
    ticket: Ticket,
) -> BoxStream<'static, io::Result<Frame<Bytes>>> {
    let Events { head, mut deltas, tail } = format.events(call, hash, answer, &pieces(answer, spec));
    let first = Duration::from_millis(spec.first_ms.unwrap_or(spec.latency_ms / 4)).min(total);
    let gap = (total - first) / deltas.len().max(1) as u32;
    if fault.is_some() {
        deltas.truncate(deltas.len() / 2);
    }
    let last = match fault {
        None => Some(Step::Finish(Bytes::from(tail.concat()))),
        Some(StreamFault::Cut) => Some(Step::Cut),
        Some(StreamFault::End) => None,
        Some(StreamFault::Stall) => Some(Step::Stall),
        Some(StreamFault::Garbage) => Some(Step::Send(format.unreadable_event())),
        Some(StreamFault::Error) => Some(Step::Send(format.error_event())),
    };
    let end = if fault.is_some() { started + first + gap * deltas.len() as u32 } else { started + total };
    let moments = (0_u32..).map(|i| started + first + gap * i);
    let mut plan: Vec<(Instant, Step)> = head.into_iter().map(|bytes| (started + first, Step::Send(bytes))).collect();
    plan.extend(moments.zip(deltas.into_iter().map(Step::Send)));
    plan.extend(last.map(|step| (end, step)));
    played(plan, ticket)
}

/// A ticket that is left over when the plan ends or breaks counts as failed; when the client leaves, as aborted.
fn played(plan: Vec<(Instant, Step)>, ticket: Ticket) -> BoxStream<'static, io::Result<Frame<Bytes>>> {
    let state = (plan.into_iter(), Some(ticket));
    stream::unfold(state, |(mut plan, mut ticket)| async move {
        let Some((at, step)) = plan.next() else {
            ticket.into_iter().for_each(Ticket::failed);
            return None;
        };
        sleep_until(at.into()).await;
        let sent = match step {
            Step::Send(bytes) => Ok(Frame::data(bytes)),
            Step::Finish(bytes) => {
                if let Some(ticket) = ticket.take() {
                    ticket.answered(at);
                }
                Ok(Frame::data(bytes))
            }
            Step::Cut => {
                // What is not flushed is lost with the connection; and it is flushed when there is something to wait for.
                sleep(Duration::from_millis(5)).await;
                ticket.take().into_iter().for_each(Ticket::failed);
                Err(io::Error::other("cut on purpose"))
            }
            Step::Stall => std::future::pending().await,
        };
        Some((sent, (plan, ticket)))
    })
    .boxed()
}

fn pieces<'a>(answer: &'a Answer, spec: &Spec) -> Vec<Piece<'a>> {
    match &answer.said {
        Said::Text(text) => {
            let words: Vec<&str> = text.split_inclusive(' ').collect();
            let per_chunk = words.len().div_ceil(spec.chunks).max(1);
            words.chunks(per_chunk).map(|piece| Piece::Text(piece.concat())).collect()
        }
        Said::ToolCalls(calls) => calls.iter().enumerate().map(|(index, call)| Piece::Call(index, call)).collect(),
    }
}

//! Runs: started, followed, explained, approved, cancelled.

use crate::native::{
    approvals::{self, ApprovalsView, Decide},
    events::{self, EventsQuery, EventsView, StreamedEvent},
    explain::{self, ExplainView},
    messages::{self, MessagesView},
    runs::{self, CancelledView, CreateRun, ListRuns, RunView, WaitQuery},
    views::PageView,
};

crate::route::routes! { Native;
    /// Start a run, and wait for its end if you like
    create_run = POST "/v1/agents/{agent_id}/runs" => runs::create_run {
        query: WaitQuery,
        body: CreateRun,
        answer: 202 RunView | 200 RunView,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models],
    }
    /// Start a run and follow it: its events as they happen, the model's answer piece by piece
    stream_run = POST "/v1/agents/{agent_id}/runs/stream" => events::stream_run {
        body: CreateRun,
        answer: 200 "text/event-stream" StreamedEvent | 204,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models, use tools],
        wait: Long,
    }
    /// List runs, newest first
    list_runs = GET "/v1/runs" => runs::list_runs {
        query: ListRuns,
        answer: 200 PageView<RunView>,
        access: [write api_keys, write runs, read messages],
    }
    /// Get a run
    get_run = GET "/v1/runs/{run_id}" => runs::get_run {
        answer: 200 RunView,
        access: [write api_keys, write runs, read messages],
    }
    /// List a run's messages, in order
    list_run_messages = GET "/v1/runs/{run_id}/messages" => messages::list_run_messages {
        answer: 200 MessagesView,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// List a run's events, in order: in pages, or as a stream that goes on where `Last-Event-ID` says
    list_run_events = GET "/v1/runs/{run_id}/events" => events::list_run_events {
        query: EventsQuery,
        answer: 200 EventsView | 200 "text/event-stream" StreamedEvent | 204,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// Say why a run stands where it stands
    explain_run = GET "/v1/runs/{run_id}/explain" => explain::explain_run {
        answer: 200 ExplainView,
        access: [write api_keys, write runs, read messages],
    }
    /// List the tool calls of a run about which a person is asked
    list_run_approvals = GET "/v1/runs/{run_id}/approvals" => approvals::list_run_approvals {
        answer: 200 ApprovalsView,
        access: [write api_keys, write runs, read messages],
    }
    /// Approve or deny a tool call: the run goes on at once
    decide_run_approval = POST "/v1/runs/{run_id}/approvals" => approvals::decide_run_approval {
        body: Decide,
        answer: 200 RunView,
        access: [write api_keys, write runs, read messages, send queue],
    }
    /// Cancel a run and every run below it, and say what had been sent already
    cancel_run = POST "/v1/runs/{run_id}/cancel" => runs::cancel_run {
        answer: 200 CancelledView | 202 CancelledView,
        access: [write api_keys, write runs, read messages, send queue],
    }
}

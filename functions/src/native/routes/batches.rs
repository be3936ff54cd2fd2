//! Batches.

use crate::native::{
    batches::{self, BatchQuery, BatchView, CancelledBatchView, CreateBatch},
    results::{self, ResultsQuery, ResultsView},
    runs::WaitQuery,
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Start a batch of runs, and wait for their end if you like
    create_batch = POST "/v1/agents/{agent_id}/batches" => batches::create_batch {
        query: BatchQuery,
        body: CreateBatch,
        answer: 202 BatchView | 200 BatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models],
    }
    /// List batches, newest first
    list_batches = GET "/v1/batches" => batches::list_batches {
        query: ListQuery,
        answer: 200 PageView<BatchView>,
        access: [write api_keys, write runs],
    }
    /// Get a batch, and how far it is
    get_batch = GET "/v1/batches/{batch_id}" => batches::get_batch {
        answer: 200 BatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue],
    }
    /// List a batch's results in the order of the request
    list_batch_results = GET "/v1/batches/{batch_id}/results" => results::list_batch_results {
        query: ResultsQuery,
        answer: 200 ResultsView | 200 "application/x-ndjson" String | 200 "text/csv" String,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// Cancel every run of a batch that has not ended
    cancel_batch = POST "/v1/batches/{batch_id}/cancel" => batches::cancel_batch {
        answer: 200 CancelledBatchView | 202 CancelledBatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue],
    }
    /// Start a new batch of the items that did not end well
    retry_batch = POST "/v1/batches/{batch_id}/retry" => batches::retry_batch {
        query: WaitQuery,
        answer: 202 BatchView | 200 BatchView,
        access: [write api_keys, read agents, write runs, write messages, send queue, write files, use models],
    }
}

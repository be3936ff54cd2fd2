//! Evaluations.

use crate::native::{
    evaluation_views::{CellsView, EvaluationView},
    evaluations::{self, CellsQuery, CreateEvaluation},
    runs::WaitQuery,
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Start an evaluation of a test set: each of its cases is run with each configuration
    create_evaluation = POST "/v1/test_sets/{test_set_id}/evaluations" => evaluations::create_evaluation {
        query: WaitQuery,
        body: CreateEvaluation,
        answer: 202 EvaluationView | 200 EvaluationView,
        access: [write api_keys, write agents, write runs, write messages, send queue, use models],
    }
    /// List evaluations, newest first
    list_evaluations = GET "/v1/evaluations" => evaluations::list_evaluations {
        query: ListQuery,
        answer: 200 PageView<EvaluationView>,
        access: [write api_keys, write runs],
    }
    /// Get an evaluation: how far it is, and what came of each configuration
    get_evaluation = GET "/v1/evaluations/{evaluation_id}" => evaluations::get_evaluation {
        answer: 200 EvaluationView,
        access: [write api_keys, read agents, write runs, write messages, send queue, use models],
    }
    /// List what came of each case with each configuration, case by case, as it is at this moment
    ///
    /// CSV, NDJSON and the page are of this moment; JUnit XML is 409 until the evaluation is done, because CI would take a part of its tests
    /// for all of them. 409 too when the test set was deleted before the evaluation had ended: then nobody knows any more what would
    /// have been correct.
    list_evaluation_results = GET "/v1/evaluations/{evaluation_id}/results" => evaluations::list_evaluation_results {
        query: CellsQuery,
        answer: 200 CellsView | 200 "application/x-ndjson" String | 200 "text/csv" String | 200 "application/xml" String
            | 200 "text/html" String | 409,
        access: [write api_keys, write runs, read messages],
        wait: Long,
    }
    /// Cancel every run of an evaluation that has not ended: who has no answer then has missed
    cancel_evaluation = POST "/v1/evaluations/{evaluation_id}/cancel" => evaluations::cancel_evaluation {
        answer: 200 EvaluationView | 202 EvaluationView,
        access: [write api_keys, read agents, write runs, read messages, use models],
    }
}

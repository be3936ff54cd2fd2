//! Test sets.

use crate::native::{
    test_sets::{self, AddCases, CaseView, CreateTestSet, TestSetView},
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Make a test set: cases that agents are tried with
    create_test_set = POST "/v1/test_sets" => test_sets::create_test_set {
        body: CreateTestSet,
        answer: 201 TestSetView,
        access: [write api_keys, read agents, write runs, write messages, use models],
    }
    /// List test sets, newest first
    list_test_sets = GET "/v1/test_sets" => test_sets::list_test_sets {
        query: ListQuery,
        answer: 200 PageView<TestSetView>,
        access: [write api_keys, write runs, read messages],
    }
    /// Get a test set, without its cases
    get_test_set = GET "/v1/test_sets/{test_set_id}" => test_sets::get_test_set {
        answer: 200 TestSetView,
        access: [write api_keys, write runs, read messages],
    }
    /// Delete a test set with its cases
    delete_test_set = DELETE "/v1/test_sets/{test_set_id}" => test_sets::delete_test_set {
        answer: 204,
        access: [write api_keys, write runs, write messages],
    }
    /// Add cases to a test set, all of them or none: new ones, or the case that a run makes
    add_test_cases = POST "/v1/test_sets/{test_set_id}/items" => test_sets::add_test_cases {
        body: AddCases,
        answer: 200 TestSetView,
        access: [write api_keys, read agents, write runs, write messages, use models],
    }
    /// List a test set's cases, in the order in which they were added
    list_test_cases = GET "/v1/test_sets/{test_set_id}/items" => test_sets::list_test_cases {
        query: ListQuery,
        answer: 200 PageView<CaseView>,
        access: [write api_keys, write runs, read messages],
    }
}

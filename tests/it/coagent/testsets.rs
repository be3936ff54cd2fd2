//! Test sets on CoAgent's surface: the same as the native surface's, in the vendor's words.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(a_test_set_is_made_listed_and_read, what_is_wrong_with_a_case_is_named_in_the_vendors_words);

const SETS: &str = "/api/v1/testsets";

async fn a_test_set_is_made_listed_and_read(muster: Muster) {
    let validations = json!([
        {"id_validation": "v1", "kind": {"content_match": {"pattern": "Oslo"}}},
        {"id_validation": null, "kind": {"tool_call": {"tool_name": "add", "arguments": {"a": 1}}}},
        {"id_validation": "v3", "kind": {"llm_v0": {"llm0": {
            "llm_criteria": "is polite", "model_reference": {"provider_id": "openai", "model_name": "fake-y"},
        }}}},
        {"id_validation": null, "kind": {"semantic_similarity": {"sentence": "It is Oslo.", "threshold": 0.75}}},
    ]);
    let cases = json!([
        {"id": "c1", "input": "What is the capital?", "validations": validations},
        {"id": null, "input": {"city": "Oslo"}, "validations": [{"id_validation": null, "kind": {"exact": {"expected": "x"}}}]},
    ]);
    let body = json!({"name": "capitals", "description": "of countries", "cases": cases});
    let made = muster.us.post(SETS, body).await.status(201);
    let id = text(&made, "id");
    uuid::Uuid::try_parse(&id).unwrap();
    let at = text(&made, "created_at");
    assert!(at.ends_with('Z') && !at.contains('.'), "{at}");
    let set = json!({"id": id, "name": "capitals", "description": "of countries", "case_count": 2, "created_at": at});
    let mut whole = set.clone();
    whole["cases"] = cases.clone();
    assert_eq!(made, whole);
    assert_eq!(muster.us.get(SETS).await.ok(), json!({"testsets": [set]}));
    for id in [id.clone(), format!("ts_{id}")] {
        assert_eq!(muster.us.get(&format!("{SETS}/{id}")).await.ok(), whole);
    }
    let part = muster.us.get(&format!("{SETS}/{id}?offset=1&limit=1")).await.ok();
    assert_eq!(part["cases"], json!([cases[1]]));
    assert_eq!(muster.us.get(&format!("{SETS}/{id}?offset=2")).await.ok()["cases"], json!([]));
    let refused = muster.us.get(&format!("{SETS}/{id}?limit=0")).await.status(400);
    assert_eq!(refused["error"]["details"]["field"], "limit");
    assert_eq!(muster.us.get(&format!("/v1/test_sets/ts_{id}")).await.ok()["items"], 2);
    muster.us.delete(&format!("/v1/test_sets/ts_{id}")).await.status(204);
    let gone = muster.us.get(&format!("{SETS}/{id}")).await.status(404);
    assert_eq!(gone["error"]["code"], "NOT_FOUND");
    assert_eq!(muster.us.get(SETS).await.ok(), json!({"testsets": []}));
}

async fn what_is_wrong_with_a_case_is_named_in_the_vendors_words(muster: Muster) {
    let good = json!({"exact": {"expected": "x"}});
    let of = |kind: &Value| json!([{"id_validation": "v", "kind": kind}]);
    for (case, field) in [
        (json!({"input": "", "validations": of(&good)}), "cases[0].input"),
        (json!({"input": 5, "validations": of(&good)}), "cases[0].input"),
        (json!({"validations": of(&good)}), "cases[0].input"),
        (json!({"id": "", "input": "a", "validations": of(&good)}), "cases[0].id"),
        (json!({"input": "a", "validations": []}), "cases[0].validations"),
        (
            json!({"input": "a", "validations": [{"id_validation": "", "kind": good}]}),
            "cases[0].validations[0].id_validation",
        ),
        (
            json!({"input": "a", "validations": of(&json!({"content_match": {"pattern": "["}}))}),
            "cases[0].validations[0].kind.pattern",
        ),
        (
            json!({"input": "a", "validations": of(&json!({"json_schema": {"schema": {"type": 1}}}))}),
            "cases[0].validations[0].kind.schema",
        ),
        (
            json!({"input": "a", "validations": of(&json!({"llm_v0": {"llm0": {"llm_criteria": ""}}}))}),
            "cases[0].validations[0].kind.llm0.llm_criteria",
        ),
        (
            json!({"input": "a", "validations": of(&json!({"semantic_similarity": {"sentence": "a", "threshold": 2}}))}),
            "cases[0].validations[0].kind.threshold",
        ),
    ] {
        let refused = muster.us.post(SETS, json!({"name": "set", "cases": [case]})).await.status(400);
        assert_eq!(refused["error"]["code"], "INVALID_REQUEST");
        assert_eq!(refused["error"]["details"]["field"], field, "{case}");
    }
    let nobodys = json!({"llm_criteria": "a", "model_reference": {"provider_id": "acme", "model_name": "x"}});
    let case = json!({"input": "a", "validations": of(&json!({"llm_v0": {"llm0": nobodys}}))});
    let refused = muster.us.post(SETS, json!({"name": "set", "cases": [case]})).await.status(404);
    assert_eq!(refused["error"]["code"], "MODEL_NOT_FOUND");
    assert_eq!(refused["error"]["details"]["provider_id"], "acme");
    let refused = muster.us.post(SETS, json!({"name": "set"})).await.status(400);
    assert_eq!(refused["error"]["details"]["field"], "cases");
    assert_eq!(muster.us.get(SETS).await.ok(), json!({"testsets": []}));
}

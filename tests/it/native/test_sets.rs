//! Test sets: made, added to, read in pages, deleted; and what cannot be tried is refused when it is stored.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, text};

on_every_backend!(
    a_test_set_is_made_read_and_deleted,
    cases_are_added_in_order_and_read_in_pages,
    writers_of_one_set_lose_nothing,
    one_bad_case_and_nothing_is_stored,
    a_set_has_no_more_than_its_limits,
    large_cases_come_in_short_pages,
    a_run_becomes_a_case_in_one_call,
    the_same_request_again_adds_once,
    test_sets_are_listed_newest_first,
);

const SETS: &str = "/v1/test_sets";

fn case(message: &str) -> Value {
    json!({"message": message, "validations": [{"content_match": {"pattern": "^a"}}]})
}

fn model_ref(provider: &str, model: &str) -> Value {
    json!({"provider_id": provider, "model_name": model})
}

fn judge(criteria: &str) -> Value {
    json!({"llm_v0": {"llm0": {"llm_criteria": criteria}}})
}

fn similar(sentence: &str, threshold: f64) -> Value {
    json!({"semantic_similarity": {"sentence": sentence, "threshold": threshold}})
}

async fn made(muster: &Muster, items: Value) -> String {
    text(&muster.us.post(SETS, json!({"name": "capitals", "items": items})).await.status(201), "id")
}

fn items(set: &str) -> String {
    format!("{SETS}/{set}/items")
}

/// Every case, read in pages of so many.
async fn read(muster: &Muster, set: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = muster.us.get(&format!("{}?limit={limit}{after}", items(set))).await.ok();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            return all;
        }
        after = format!("&after={}", text(&page, "next_cursor"));
    }
}

fn messages(cases: &[Value]) -> Vec<String> {
    cases.iter().map(|case| text(case, "message")).collect()
}

async fn a_test_set_is_made_read_and_deleted(muster: Muster) {
    let validations = json!([
        {"exact": {"expected": {"a": [1, null]}}},
        {"content_match": {"pattern": "(?i)oslo"}},
        {"json_schema": {"schema": {"type": "object"}}},
        {"tool_call": {"tool_name": "add", "arguments": {"a": 1}}},
        {"tool_call": {"tool_name": "add"}},
        {"llm_v0": {"llm0": {"llm_criteria": "names a capital", "model_reference": model_ref("openai", "fake-y")}}},
        {"llm_v0": {"llm0": {"llm_criteria": "is polite"}}},
        {"semantic_similarity": {"sentence": "It is Oslo.", "threshold": 0.75, "model_reference": model_ref("openai", "a/b")}},
        {"semantic_similarity": {"sentence": "It is Oslo.", "threshold": 1.0}},
    ]);
    let one = json!({"custom_id": "c1", "inputs": {"city": "Oslo"}, "validations": validations});
    let body = json!({"name": "capitals", "description": "of countries", "items": [one, case("b")]});
    let set = muster.us.post(SETS, body).await;
    let id = text(&set.body, "id");
    assert_eq!(
        set.shape(201),
        json!({"id": "<id>", "name": "capitals", "description": "of countries", "items": 2, "created_at": "<time>", "updated_at": "<time>"})
    );
    assert!(id.starts_with("ts_"));
    assert_eq!(muster.us.get(&format!("{SETS}/{id}")).await.ok()["items"], 2);
    let expected =
        json!({"index": 0, "custom_id": "c1", "message": null, "inputs": {"city": "Oslo"}, "validations": validations});
    assert_eq!(read(&muster, &id, 100).await[0], expected);
    muster.us.delete(&format!("{SETS}/{id}")).await.status(204);
    for path in [format!("{SETS}/{id}"), items(&id)] {
        assert_eq!(muster.us.get(&path).await.code_of(404), "not_found");
    }
    muster.us.delete(&format!("{SETS}/{id}")).await.status(404);
    assert_eq!(muster.us.post(&items(&id), json!({"items": [case("a")]})).await.code_of(404), "not_found");
    assert_eq!(muster.us.get(SETS).await.ok()["data"], json!([]));
}

async fn cases_are_added_in_order_and_read_in_pages(muster: Muster) {
    let set = made(&muster, json!([])).await;
    assert_eq!(read(&muster, &set, 10).await, Vec::<Value>::new());
    let mut expected = Vec::new();
    for count in [1, 250, 3, 101] {
        let new: Vec<String> = (expected.len()..expected.len() + count).map(|n| format!("case {n}")).collect();
        let body: Vec<Value> = new.iter().map(|message| case(message)).collect();
        expected.extend(new);
        assert_eq!(muster.us.post(&items(&set), json!({"items": body})).await.ok()["items"], expected.len());
    }
    for limit in [7, 100] {
        let cases = read(&muster, &set, limit).await;
        assert_eq!(messages(&cases), expected, "{limit}");
        assert!((0..).zip(&cases).all(|(n, case)| case["index"] == n));
    }
    let other = made(&muster, json!([case("a"), case("b")])).await;
    let cursor = text(&muster.us.get(&format!("{}?limit=1", items(&other))).await.ok(), "next_cursor");
    assert_eq!(muster.us.get(&format!("{}?after={cursor}", items(&set))).await.param(), "after");
}

async fn writers_of_one_set_lose_nothing(muster: Muster) {
    let set = made(&muster, json!([case("first")])).await;
    let path = items(&set);
    let writers =
        (0..8).map(|n| muster.us.post(&path, json!({"items": [case(&format!("a{n}")), case(&format!("b{n}"))]})));
    for answer in futures_util::future::join_all(writers).await {
        answer.ok();
    }
    let found = messages(&read(&muster, &set, 100).await);
    assert_eq!(found.len(), 17);
    for n in 0..8 {
        let at = found.iter().position(|message| *message == format!("a{n}")).unwrap();
        assert_eq!(found[at + 1], format!("b{n}"), "what came together stays together");
    }
}

async fn one_bad_case_and_nothing_is_stored(muster: Muster) {
    let set = made(&muster, json!([])).await;
    let deep = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let with = |validation: Value| json!({"message": "a", "validations": [validation]});
    let judged_by = |model: Value| with(json!({"llm_v0": {"llm0": {"llm_criteria": "a", "model_reference": model}}}));
    let compared_by = |model: Value| {
        with(json!({"semantic_similarity": {"sentence": "a", "threshold": 0, "model_reference": model}}))
    };
    for (bad, param) in [
        (json!({"message": "a", "validations": []}), "items[1].validations"),
        (json!({"message": "a"}), "items[1].validations"),
        (json!({"message": " ", "validations": [{"exact": {"expected": 1}}]}), "items[1].message"),
        (json!({"validations": [{"exact": {"expected": 1}}]}), "items[1]"),
        (json!({"custom_id": "", "message": "a", "validations": [{"exact": {"expected": 1}}]}), "items[1].custom_id"),
        (with(json!({"exact": {"expected": deep(121)}})), "items[1]"),
        (with(json!({"exact": {}})), "items[1].validations[0].expected"),
        (with(json!({"colour": {}})), "items[1].validations[0]"),
        (with(json!({"content_match": {"pattern": "("}})), "items[1].validations[0].pattern"),
        (with(json!({"content_match": {"pattern": "(a)\\1"}})), "items[1].validations[0].pattern"),
        (with(json!({"content_match": {"pattern": "(a{1000}){1000}"}})), "items[1].validations[0].pattern"),
        (with(json!({"json_schema": {"schema": {"type": "colour"}}})), "items[1].validations[0].schema"),
        (with(json!({"json_schema": {"schema": 5}})), "items[1].validations[0].schema"),
        (with(json!({"tool_call": {"tool_name": ""}})), "items[1].validations[0].tool_name"),
        (with(json!({"tool_call": {"tool_name": "a", "x": 1}})), "items[1].validations[0].x"),
        (with(judge(" ")), "items[1].validations[0].llm0.llm_criteria"),
        (with(judge(&"a".repeat(10_001))), "items[1].validations[0].llm0.llm_criteria"),
        (with(json!({"llm_v0": {}})), "items[1].validations[0].llm0"),
        (judged_by(model_ref("acme", "x")), "items[1].validations[0].llm0.model_reference"),
        (judged_by(model_ref("a/b", "x")), "items[1].validations[0].llm0.model_reference.provider_id"),
        (judged_by(model_ref("openai", "")), "items[1].validations[0].llm0.model_reference.model_name"),
        (with(similar("", 0.5)), "items[1].validations[0].sentence"),
        (with(similar(&"a".repeat(8_001), 0.5)), "items[1].validations[0].sentence"),
        (with(similar("a", 1.5)), "items[1].validations[0].threshold"),
        (compared_by(model_ref("acme", "x")), "items[1].validations[0].model_reference"),
    ] {
        let body = json!({"name": "set", "items": [case("good"), bad]});
        let refused = muster.us.post(&items(&set), json!({"items": body["items"]})).await.param();
        assert!(text(&json!({"is": refused}), "is").starts_with(param), "{refused} for {bad}");
        assert!(text(&json!({"is": muster.us.post(SETS, body).await.param()}), "is").starts_with(param));
    }
    for (body, param) in [
        (json!({"name": "", "items": []}), "name"),
        (json!({"name": "a".repeat(201)}), "name"),
        (json!({"name": "a", "description": "a".repeat(2_001)}), "description"),
        (json!({"items": []}), "name"),
    ] {
        assert_eq!(muster.us.post(SETS, body).await.param(), param);
    }
    for (body, param) in [
        (json!({}), "items"),
        (json!({"items": []}), "items"),
        (json!({"expected": 1}), "expected"),
        (json!({"items": [case("a")], "custom_id": "a"}), "custom_id"),
    ] {
        assert_eq!(muster.us.post(&items(&set), body).await.param(), param);
    }
    assert_eq!(read(&muster, &set, 10).await, Vec::<Value>::new());
    assert_eq!(muster.us.get(SETS).await.ok()["data"].as_array().unwrap().len(), 1);
}

async fn a_set_has_no_more_than_its_limits(muster: Muster) {
    let many = |count: usize| (0..count).map(|n| case(&format!("case {n}"))).collect::<Vec<_>>();
    let set = made(&muster, json!(many(1_000))).await;
    assert_eq!(muster.us.post(SETS, json!({"name": "set", "items": many(1_001)})).await.param(), "items");
    for _ in 1..10 {
        muster.us.post(&items(&set), json!({"items": many(1_000)})).await.ok();
    }
    assert_eq!(muster.us.post(&items(&set), json!({"items": many(1)})).await.param(), "items");
    let all = read(&muster, &set, 100).await;
    assert_eq!((all.len(), &all[9_999]["message"]), (10_000, &json!("case 999")));
    muster.us.delete(&format!("{SETS}/{set}")).await.status(204);
}

async fn large_cases_come_in_short_pages(muster: Muster) {
    let set = made(&muster, json!([])).await;
    let large = |letter: char| case(&letter.to_string().repeat(2_500_000));
    let too_large = json!({"items": [large('a'), large('b')]});
    assert_eq!(muster.us.post(&items(&set), too_large).await.param(), "items");
    for letter in 'a'..='f' {
        muster.us.post(&items(&set), json!({"items": [large(letter)]})).await.ok();
    }
    assert_eq!(muster.us.post(&items(&set), json!({"items": [large('g')]})).await.param(), "items", "16 MiB in all");
    let page = muster.us.get(&items(&set)).await.ok();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (1, &json!(true)));
    let firsts: String = messages(&read(&muster, &set, 100).await).iter().map(|message| &message[..1]).collect();
    assert_eq!(firsts, "abcdef");
}

async fn a_run_becomes_a_case_in_one_call(muster: Muster) {
    let set = made(&muster, json!([case("first")])).await;
    let agent = muster.us.agent("demo/scripted-l0").await;
    let run = muster.us.run(&agent, "What is the capital?").await;
    let own = json!({"run_id": run, "custom_id": "own"});
    assert_eq!(muster.us.post(&items(&set), own.clone()).await.code_of(409), "conflict", "it has no answer yet");
    let body = json!({"run_id": run, "expected": "Oslo"});
    assert_eq!(muster.us.post(&items(&set), body.clone()).await.ok()["items"], 2);
    muster.drain().await;
    assert_eq!(muster.us.post(&items(&set), own).await.ok()["items"], 3);
    let answer = text(&muster.us.get(&format!("/v1/runs/{run}")).await.ok(), "result");
    let cases = read(&muster, &set, 10).await;
    for (index, custom_id, expected) in [(1, Value::Null, "Oslo"), (2, json!("own"), &*answer)] {
        let validations = json!([{"exact": {"expected": expected}}]);
        let case = json!({"index": index, "custom_id": custom_id, "message": "What is the capital?", "inputs": null, "validations": validations});
        assert_eq!(cases[index], case);
    }
    let theirs = muster.them.agent("demo/scripted-l0").await;
    let theirs = muster.them.run(&theirs, "hello").await;
    for id in [theirs, "run_x".to_owned(), format!("run_{}", uuid::Uuid::now_v7())] {
        muster.us.post(&items(&set), json!({"run_id": id, "expected": 1})).await.status(404);
    }
    let blind = muster.us.new_key(json!({"scopes": ["runs:write"]})).await;
    blind.post(&items(&set), body).await.status(403);
    let more = json!({"message": "and then", "chat_id": run});
    let more = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), more).await.status(202), "id");
    let file = json!({"message": "look", "attachments": [{"media_type": "text/plain", "data": "aGVsbG8="}]});
    let file = text(&muster.us.post(&format!("/v1/agents/{agent}/runs"), file).await.status(202), "id");
    for id in [more, file] {
        assert_eq!(muster.us.post(&items(&set), json!({"run_id": id, "expected": 1})).await.param(), "run_id");
    }
    assert_eq!(read(&muster, &set, 10).await.len(), 3);
}

async fn the_same_request_again_adds_once(muster: Muster) {
    let us = muster.us.with("idempotency-key", "once");
    let body = json!({"name": "set", "items": [case("a")]});
    let set = text(&us.post(SETS, body.clone()).await.status(201), "id");
    assert_eq!(text(&us.post(SETS, body).await.status(201), "id"), set);
    let more = json!({"items": [case("b")]});
    assert_eq!(us.post(&items(&set), more.clone()).await.ok()["items"], 2);
    muster.us.post(&items(&set), json!({"items": [case("c")]})).await.ok();
    let again = us.post(&items(&set), more).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.ok()["items"], 2);
    assert_eq!(messages(&read(&muster, &set, 10).await), ["a", "b", "c"]);
}

async fn test_sets_are_listed_newest_first(muster: Muster) {
    let mut expected = Vec::new();
    for _ in 0..3 {
        muster.pass(5);
        expected.insert(0, made(&muster, json!([])).await);
    }
    let first = muster.us.get(&format!("{SETS}?limit=2")).await.ok();
    let rest = muster.us.get(&format!("{SETS}?limit=2&after={}", text(&first, "next_cursor"))).await.ok();
    let pages = [first["data"].as_array().unwrap().as_slice(), rest["data"].as_array().unwrap()].concat();
    let found: Vec<String> = pages.iter().map(|set| text(set, "id")).collect();
    assert_eq!((found, &rest["has_more"]), (expected, &json!(false)));
}

//! The results of a batch: in the order of the request, as they land, as JSON, lines and CSV.

use serde_json::{Value, json};

use crate::harness::{Muster, on_every_backend, redacted, text};

on_every_backend!(
    results_come_in_order_and_in_pages,
    results_are_there_as_they_land,
    results_are_written_as_lines_and_as_csv,
    a_csv_field_may_hold_anything,
    what_is_no_page_is_refused,
);

/// The path of a batch of so many items whose custom ids are their indexes.
async fn batch(muster: &Muster, count: usize) -> String {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let items: Vec<Value> =
        (0..count).map(|n| json!({"message": format!("item {n}"), "custom_id": n.to_string()})).collect();
    let made = muster.us.post(&format!("/v1/agents/{agent}/batches"), json!({"items": items})).await;
    format!("/v1/batches/{}/results", text(&made.status(202), "id"))
}

async fn results_come_in_order_and_in_pages(muster: Muster) {
    let path = batch(&muster, 205).await;
    muster.drain().await;
    let (mut seen, mut sizes, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = muster.us.get(&format!("{path}{after}")).await.ok();
        let data = page["data"].as_array().unwrap().clone();
        sizes.push(data.len());
        seen.extend(data);
        if page["has_more"] == false {
            assert_eq!(page["next_after"], Value::Null);
            break;
        }
        after = format!("?after={}", page["next_after"]);
    }
    assert_eq!(sizes, [100, 100, 5]);
    for (index, result) in seen.iter().enumerate() {
        assert_eq!(result["index"], index);
        assert_eq!(result["custom_id"], index.to_string());
        assert!(text(result, "result").contains(&format!("item {index}\"")), "{result}");
    }
    assert_eq!(
        redacted(&seen[7]),
        json!({
            "index": 7, "custom_id": "7", "run_id": "<id>", "status": "done", "reason": null,
            "result": seen[7]["result"], "output": null, "error": null, "usage": seen[7]["usage"],
            "cost_micro_usd": seen[7]["cost_micro_usd"], "run_ms": "<ms>",
        })
    );
    let run = muster.us.get(&format!("/v1/runs/{}", text(&seen[7], "run_id"))).await.ok();
    assert_eq!(json!([run["batch_index"], run["custom_id"], run["result"]]), json!([7, "7", seen[7]["result"]]));
}

async fn results_are_there_as_they_land(muster: Muster) {
    let path = batch(&muster, 3).await;
    let results = muster.us.get(&path).await.ok();
    let run = text(&results["data"][1], "run_id");
    muster.us.send("POST", &format!("/v1/runs/{run}/cancel"), "").await.ok();
    let results = muster.us.get(&path).await.ok();
    let seen: Vec<Value> =
        results["data"].as_array().unwrap().iter().map(|one| json!([one["status"], one["reason"]])).collect();
    assert_eq!(seen, [json!(["queued", null]), json!(["interrupted", "cancelled"]), json!(["queued", null])]);
}

async fn results_are_written_as_lines_and_as_csv(muster: Muster) {
    let path = batch(&muster, 501).await;
    muster.drain().await;
    let json = muster.us.get(&format!("{path}?after=499")).await.ok();
    let lines = muster.us.get(&format!("{path}?format=ndjson")).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[500]), (501, &json["data"][0]));
    let csv = muster.us.get(&format!("{path}?format=csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let rows: Vec<&str> = csv.text.lines().collect();
    assert_eq!(rows.len(), 502);
    assert_eq!(
        rows[0],
        "index,custom_id,run_id,status,reason,result,error,model_calls,input_tokens,output_tokens,cost_micro_usd,run_ms"
    );
    assert!(rows[501].starts_with(&format!("500,500,{},done,,", text(&json["data"][0], "run_id"))));
    for (accept, media) in [("text/csv", "text/csv; charset=utf-8"), ("application/x-ndjson", "application/x-ndjson")] {
        assert_eq!(muster.us.with("accept", accept).get(&path).await.header("content-type"), media);
    }
    let json = muster.us.with("accept", "text/csv").get(&format!("{path}?format=json")).await;
    assert_eq!(json.header("content-type"), "application/json");
}

async fn a_csv_field_may_hold_anything(muster: Muster) {
    let agent = muster.us.agent("demo/scripted-l0").await;
    let body = json!({"items": [{"message": "a \"b\", c\nd; é", "custom_id": "x,\"y\"\nz"}]});
    let made = muster.us.post(&format!("/v1/agents/{agent}/batches"), body).await.status(202);
    muster.drain().await;
    let path = format!("/v1/batches/{}/results", text(&made, "id"));
    let json = muster.us.get(&path).await.ok();
    let csv = muster.us.get(&format!("{path}?format=csv")).await.text;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    assert!(csv.contains(&format!("0,{},run_", quoted("x,\"y\"\nz"))), "{csv}");
    assert!(csv.contains(&quoted(&text(&json["data"][0], "result"))), "{csv}");
}

async fn what_is_no_page_is_refused(muster: Muster) {
    let path = batch(&muster, 1).await;
    for query in ["limit=0", "limit=101", "limit=x", "after=-1", "after=x", "format=xml", "colour=red"] {
        let param = query.split('=').next().unwrap();
        assert_eq!(muster.us.get(&format!("{path}?{query}")).await.param(), param, "{query}");
    }
    for after in ["0", "1", "70000", "18446744073709551615"] {
        let beyond = muster.us.get(&format!("{path}?after={after}")).await.ok();
        assert_eq!(beyond, json!({"data": [], "has_more": false, "next_after": null}));
    }
}

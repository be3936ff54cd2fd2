//! The document of a table of its own.
#![expect(dead_code, reason = "only the types' schemas are of interest")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{App, Result, store::row::Table};

use super::*;
use crate::{
    Request, Response,
    response::no_content,
    route::{Access, Wait},
};

/// A part that is both received and sent.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Part {
    #[serde(default)]
    size: u32,
    parts: Vec<Part>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateThing {
    part: Part,
    note: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct ThingView {
    part: Part,
}

#[derive(Deserialize, JsonSchema)]
struct ListThings {
    /// At most so many.
    limit: Option<u32>,
    kind: Kind,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Big,
    Small,
}

async fn nothing(_: &App, _: Request) -> Result<Response> {
    std::future::ready(Ok(no_content())).await
}

crate::route::routes! { Native;
    /// Make a thing
    ///
    /// It is made at once.
    create_thing = POST "/v1/things" => nothing {
        body: CreateThing,
        answer: 200 ThingView | 200 "text/csv" | 202 ThingView,
        access: [write api_keys, write agents, send queue],
        wait: Long,
    }
    /// List things
    list_things = GET "/v1/boxes/{box_id}/things" => nothing {
        query: ListThings,
        answer: 200 Vec<ThingView>,
        access: [read api_keys, read messages, read runs],
    }
    /// Throw a thing away
    delete_thing = DELETE "/v1/things/{thing_id}" => nothing { answer: 204, access: [] }
}

fn document() -> Value {
    described(|_| ROUTES.iter())
}

#[test]
fn a_row_says_what_its_function_may_do() {
    let operation = &ROUTES[0].operation;
    assert_eq!(operation.access, [Access::Write(Table::ApiKeys), Access::Write(Table::Agents), Access::Send]);
    assert_eq!((operation.wait, ROUTES[1].operation.wait), (Wait::Long, Wait::Short));
    assert!(operation.needs_key() && !ROUTES[2].operation.needs_key());
}

#[test]
fn a_type_that_is_received_and_sent_is_described_twice() {
    let schemas = &document()["components"]["schemas"];
    assert_eq!(schemas["NativePartInput"]["required"], json!(["parts"]));
    assert_eq!(schemas["NativePart"]["required"], json!(["size", "parts"]));
    assert_eq!(
        schemas["NativePartInput"]["properties"]["parts"]["items"]["$ref"],
        "#/components/schemas/NativePartInput"
    );
    assert_eq!(schemas["CoteraCreateThing"]["properties"]["part"]["$ref"], "#/components/schemas/CoteraPartInput");
}

#[test]
fn a_row_becomes_an_operation() {
    let document = document();
    let create = &document["paths"]["/v1/things"]["post"];
    assert_eq!((&create["summary"], &create["description"]), (&json!("Make a thing"), &json!("It is made at once.")));
    let contents: Vec<&String> = create["responses"]["200"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(contents, ["application/json", "text/csv"]);
    let statuses: Vec<&String> = create["responses"].as_object().unwrap().keys().collect();
    assert_eq!(statuses, ["200", "202", "400", "401", "403", "409", "413", "422", "429", "500", "503"]);
    let list = &document["paths"]["/v1/boxes/{box_id}/things"]["get"]["parameters"];
    let named = |name: &str| {
        let list = list.as_array().unwrap();
        list.iter().find(|found| found["name"] == name).unwrap()
    };
    for (name, required) in [("box_id", true), ("kind", true), ("limit", false), ("x-org-id", false)] {
        assert_eq!(named(name)["required"], required, "{name}");
    }
    assert_eq!(named("limit")["schema"]["type"], json!(["integer"]));
    assert_eq!(named("limit")["description"], "At most so many.");
    assert!(document["paths"]["/v1/things/{thing_id}"]["delete"]["responses"]["204"].get("content").is_none());
}

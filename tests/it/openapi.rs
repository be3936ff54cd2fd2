//! The route table and the OpenAPI document: each says what the other says.

use functions::{Route, Routes, Surface};
use serde_json::Value;

use crate::http::ask;

async fn openapi() -> Value {
    let (status, _, document) = ask("GET", "/openapi.json").await;
    assert_eq!(status, 200);
    document
}

#[tokio::test]
async fn the_openapi_document_lists_every_route() {
    let document = openapi().await;
    let mut operations = 0;
    for route in Route::all() {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], route.name);
        for answer in route.operation.answers {
            assert!(operation["responses"][answer.status.to_string()].is_object(), "{}: {}", route.name, answer.status);
        }
        operations += 1;
    }
    let listed: usize =
        document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(listed, operations);
}

#[tokio::test]
async fn every_reference_of_the_openapi_document_resolves() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = openapi().await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_route_is_found_and_named_as_its_surface_wants() {
    let mut names = std::collections::HashSet::new();
    for route in Route::all() {
        let path = route.path.replace(['{', '}'], "");
        let (found, _) = Routes::all().find(&route.method, &path).unwrap();
        assert_eq!(found.name, route.name);
        assert_eq!(Surface::of(route.path), route.surface, "{}", route.name);
        assert!(names.insert(route.name), "{} is there twice", route.name);
        let prefix = match route.surface {
            Surface::Native => "",
            Surface::Cotera => "cotera_",
            Surface::Cotool => "cotool_",
            Surface::Coagent => "coagent_",
        };
        assert!(route.name.starts_with(prefix), "{}", route.name);
    }
}

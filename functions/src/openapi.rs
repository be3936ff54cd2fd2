//! The OpenAPI document, made from the route tables and the types they name, when it is first asked for.

mod types;

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use http::{Method, StatusCode};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use types::Types;

use crate::{
    Route, Surface,
    route::{Answer, SchemaOf},
};

/// OpenAPI 3.1 for every route of every surface.
#[must_use]
pub fn document() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT
        .get_or_init(|| serde_json::to_vec(&described(Surface::routes)).map(Bytes::from).unwrap_or_default())
        .clone()
}

fn described<R: Iterator<Item = &'static Route>>(routes: fn(Surface) -> R) -> Value {
    let mut paths = BTreeMap::<&str, Map<String, Value>>::new();
    let mut schemas = Map::new();
    for surface in Surface::ALL {
        let mut types = Types::new(surface);
        let operations: Vec<Value> = routes(surface).map(|route| operation(route, &mut types)).collect();
        for (route, mut operation) in routes(surface).zip(operations) {
            types.name_refs(&mut operation);
            paths.entry(route.path).or_default().insert(route.method.as_str().to_lowercase(), operation);
        }
        schemas.extend(types.into_schemas());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Run AI agents from your own code in your own account. One core, four surfaces.",
        },
        "servers": [{ "url": "/" }],
        "tags": Surface::ALL.map(|surface| json!({ "name": surface.name() })),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer", "description": "An API key" } },
        },
    })
}

fn operation(route: &Route, types: &mut Types) -> Value {
    let operation = &route.operation;
    let about: Vec<&str> = operation.about.iter().map(|line| line.trim()).collect();
    let (summary, description) =
        about.split_first().map_or(("", String::new()), |(first, rest)| (first, rest.join("\n")));
    let mut described = json!({
        "operationId": route.name,
        "tags": [route.surface.name()],
        "summary": summary,
        "parameters": parameters(route),
        "responses": responses(route, types),
        "security": if operation.needs_key() { json!([{ "key": [] }]) } else { json!([]) },
    });
    if let Some(fields) = described.as_object_mut() {
        if !description.trim().is_empty() {
            fields.insert("description".to_owned(), description.trim().into());
        }
        if let Some(body) = operation.body {
            let content = json!({ "application/json": { "schema": types.received(body) } });
            fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
        }
    }
    described
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut all: Vec<Value> =
        path_names(route.path).map(|name| parameter("path", name, true, json!({ "type": "string" }))).collect();
    all.extend(route.operation.query.map(query_parameters).unwrap_or_default());
    if route.operation.needs_key() {
        all.push(parameter(
            "header",
            "x-org-id",
            false,
            json!({ "type": "string", "description": "Must be the key's organisation" }),
        ));
        if route.method == Method::POST {
            let about = "The same request with the same key is answered as before, for 7 days. A call that creates nothing \
                         has the same effect again with or without it.";
            let key = json!({
                "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$", "description": about,
            });
            all.push(parameter("header", "Idempotency-Key", false, key));
        }
    }
    if route.operation.answers.iter().any(|answer| answer.media == Some("text/event-stream")) {
        let about =
            "The number of the last event that was seen: a stream goes on behind it. 204 when that was the last one.";
        all.push(parameter("header", "Last-Event-ID", false, json!({ "type": "string", "description": about })));
    }
    all
}

fn parameter(place: &str, name: &str, required: bool, mut schema: Value) -> Value {
    let description = schema.as_object_mut().and_then(|fields| fields.remove("description"));
    let mut parameter = json!({ "in": place, "name": name, "required": required, "schema": schema });
    if let (Some(fields), Some(description)) = (parameter.as_object_mut(), description) {
        fields.insert("description".to_owned(), description);
    }
    parameter
}

fn path_names(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// Each field of the query's type as a parameter; one that may be left out is not `null`.
fn query_parameters(query: SchemaOf) -> Vec<Value> {
    let mut inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let schema = query(&mut inline).to_value();
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    fields
        .map(|(name, field)| parameter("query", name, required.contains(&name.as_str()), without_null(field.clone())))
        .collect()
}

fn without_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    }
    schema
}

fn responses(route: &Route, types: &mut Types) -> BTreeMap<String, Value> {
    let error = types.sent(route.surface.error_schema());
    let mut all: BTreeMap<String, Value> = error_statuses(route)
        .into_iter()
        .map(|status| {
            (status.as_str().to_owned(), response(status.as_u16(), Some(("application/json", error.clone()))))
        })
        .collect();
    for Answer { status, media, schema } in route.operation.answers {
        let error = (*status >= 400).then(|| error.clone());
        let schema = schema.map(|schema| types.sent(schema)).or(error);
        let content = match (media, schema) {
            (None, None) => None,
            (media, schema) => Some((media.unwrap_or("application/json"), schema.unwrap_or_else(|| json!({})))),
        };
        add_response(&mut all, *status, content);
    }
    all
}

/// Two answers of one status are two content types of one response.
fn add_response(all: &mut BTreeMap<String, Value>, status: u16, content: Option<(&str, Value)>) {
    let response = response(status, content);
    let before = all.get_mut(&status.to_string()).filter(|_| status < 400);
    match (before.and_then(|before| before.get_mut("content")), response.get("content")) {
        (Some(Value::Object(before)), Some(Value::Object(new))) => before.extend(new.clone()),
        _ => {
            all.insert(status.to_string(), response);
        }
    }
}

fn response(status: u16, content: Option<(&str, Value)>) -> Value {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Answer");
    match content {
        Some((media, schema)) => {
            json!({ "description": reason, "content": { media: { "schema": schema } } })
        }
        None => json!({ "description": reason }),
    }
}

/// What can go wrong with a request for this route.
fn error_statuses(route: &Route) -> Vec<StatusCode> {
    let operation = &route.operation;
    let mut all = vec![StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    if operation.needs_key() {
        all.extend([
            StatusCode::BAD_REQUEST,
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::TOO_MANY_REQUESTS,
        ]);
        if route.method != Method::GET {
            all.extend([StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY]);
        }
    }
    if operation.body.is_some() {
        all.extend([StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE]);
    }
    if path_names(route.path).next().is_some() {
        all.push(StatusCode::NOT_FOUND);
    }
    all
}

#[cfg(test)]
mod tests;

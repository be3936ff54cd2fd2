//! Every call of the OpenAPI document, and the smallest request for it.

use functions::Surface;
use serde_json::{Map, Value, json};

use super::{
    besides, bodies,
    things::{Kind, Things},
};
use crate::harness::{Answer, Client, document};

/// Stands in a request for the id that a test is about.
const HERE: &str = "<<here>>";
/// How deep types that hold types are looked into.
const DEPTH: usize = 8;

/// A call of the document.
pub(super) struct Call {
    /// Its name: `operationId`.
    pub(super) name: &'static str,
    pub(super) surface: Surface,
    pub(super) method: String,
    path: &'static str,
    parameters: &'static [Value],
    body: Option<&'static Value>,
    needs_key: bool,
}

impl Call {
    /// Whether it takes parameters of a query.
    pub(super) fn takes_query(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter["in"] == "query")
    }
}

/// Every call that needs a key.
pub(super) fn with_key() -> Vec<Call> {
    let paths = document()["paths"].as_object().unwrap().iter();
    let all =
        paths.flat_map(|(path, calls)| calls.as_object().unwrap().iter().map(|(method, call)| of(path, method, call)));
    all.filter(|call| call.needs_key).collect()
}

fn of(path: &'static str, method: &str, call: &'static Value) -> Call {
    Call {
        name: call["operationId"].as_str().unwrap(),
        surface: Surface::of(path),
        method: method.to_uppercase(),
        path,
        parameters: call["parameters"].as_array().unwrap(),
        body: call.pointer("/requestBody/content/application~1json/schema"),
        needs_key: call["security"] != json!([]),
    }
}

/// Where in a request an id stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// As in `path.agent_id`, `query.agent_id` or `body.items[].id`.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What the body must have in it for that.
    body: Option<Value>,
}

impl Place {
    /// The surface as whose ids are written those that stand here: tools are written everywhere as on the native one.
    pub(super) fn surface(&self, call: &Call) -> Surface {
        if self.name.contains("tools[]") { Surface::Native } else { call.surface }
    }

    pub(super) fn in_path(&self) -> bool {
        self.name.starts_with("path.")
    }
}

/// A request with ids that are still to be filled in.
#[derive(Debug, Clone)]
pub(super) struct Request {
    surface: Surface,
    method: String,
    target: String,
    body: String,
}

impl Call {
    /// Every place where an id stands or may stand.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut names: Vec<(String, Option<Value>)> = Vec::new();
        for parameter in self.parameters {
            let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
            if place == "path" || place == "query" && id_like(name) {
                names.push((format!("{place}.{name}"), None));
            }
        }
        let in_body = self.body.map(|schema| places(self.name, schema, "body", DEPTH)).unwrap_or_default();
        // A trigger's source stays, and that of the one that there is has none of these: see `native/triggers/chains.rs`.
        let there = |name: &str| (self.name, name) != ("update_trigger", "body.from.agent_id");
        names.extend(in_body.into_iter().filter(|(name, _)| there(name)).map(|(name, body)| (name, Some(body))));
        let known =
            |(name, body): (String, Option<Value>)| Kind::of(self.name, &name).map(|kind| Place { name, kind, body });
        names.into_iter().filter_map(known).collect()
    }

    /// The smallest request that is valid.
    pub(super) fn request(&self) -> Request {
        self.made(None)
    }

    /// The same with the id that a test is about in this place.
    pub(super) fn request_about(&self, place: &Place) -> Request {
        self.made(Some(place))
    }

    fn made(&self, here: Option<&Place>) -> Request {
        let id = |name: &str| match here {
            Some(place) if place.name == name => HERE.to_owned(),
            _ => Kind::of(self.name, name).map_or_else(|| "x".to_owned(), Kind::token),
        };
        let (mut target, mut query) = (self.path.to_owned(), Vec::new());
        for parameter in self.parameters {
            let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
            let full = format!("{place}.{name}");
            match place {
                "path" if name == "source" => target = target.replace("{source}", "webhook"),
                "path" => target = target.replace(&format!("{{{name}}}"), &id(&full)),
                "query" if here.is_some_and(|here| here.name == full) => query.push(format!("{name}={HERE}")),
                "query" if parameter["required"] == true && id_like(name) => {
                    query.push(format!("{name}={}", id(&full)))
                }
                "query" if parameter["required"] == true => {
                    let value = smallest(self.name, &parameter["schema"], &full);
                    query.push(format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
                }
                _ => {}
            }
        }
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let body = self.body.map(|schema| {
            let mut body = smallest(self.name, schema, "body");
            merge(&mut body, bodies(self.name));
            merge(&mut body, here.and_then(|here| here.body.clone()).unwrap_or_default());
            merge(&mut body, here.map(|here| besides(self.name, &here.name)).unwrap_or_default());
            body.to_string()
        });
        Request { surface: self.surface, method: self.method.clone(), target, body: body.unwrap_or_default() }
    }
}

impl Request {
    /// The same with a parameter that there is not.
    pub(super) fn with_other_query(mut self) -> Self {
        self.target.push_str(if self.target.contains('?') { "&colour=1" } else { "?colour=1" });
        self
    }

    /// The same with a body that is no JSON.
    pub(super) fn with_bad_body(mut self) -> Self {
        self.body = "{".to_owned();
        self
    }

    /// Sends it with these things in it, and `here` where the test is about.
    pub(super) async fn send(&self, client: &Client, things: &Things, here: &str) -> Answer {
        let filled = |text: &str| {
            let text = text.replace(HERE, here);
            Kind::ALL.into_iter().fold(text, |text, kind| match things.text(kind, self.surface) {
                Some(id) => text.replace(&kind.token(), &id),
                None => text,
            })
        };
        client.send(&self.method, &filled(&self.target), filled(&self.body)).await
    }
}

/// Whether a field of this name looks as if it held an id.
fn id_like(name: &str) -> bool {
    name == "id" || ["_id", "Id", "IdFilter"].iter().any(|end| name.ends_with(end))
}

/// What a reference refers to, with what stands beside it.
fn resolved(schema: &Value) -> Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema.clone() };
    let mut found = resolved(document().pointer(reference.strip_prefix('#').unwrap()).unwrap());
    let beside = schema.as_object().unwrap().iter().filter(|(name, _)| *name != "$ref");
    found.as_object_mut().unwrap().extend(beside.map(|(name, value)| (name.clone(), value.clone())));
    found
}

fn choices(schema: &Value) -> Vec<Value> {
    let all = ["oneOf", "anyOf"].iter().filter_map(|word| schema[*word].as_array()).flatten();
    all.map(resolved).filter(|choice| choice["type"] != "null").collect()
}

fn type_of(schema: &Value) -> &str {
    let named = match schema["type"].as_array() {
        Some(types) => types.iter().find(|name| *name != "null"),
        None => schema.get("type"),
    };
    named.and_then(Value::as_str).unwrap_or_default()
}

/// The smallest value that satisfies the schema.
fn smallest(call: &str, schema: &Value, at: &str) -> Value {
    let schema = resolved(schema);
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return value.clone();
    }
    match type_of(&schema) {
        "object" => required(call, &schema, at),
        "array" => json!([smallest(call, &schema["items"], &format!("{at}[]"))]),
        "string" if schema["format"] == "date-time" => json!("2030-01-01T00:00:00Z"),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        "boolean" => json!(false),
        "string" => text_of(call, at),
        _ => choices(&schema).first().map_or_else(|| json!("x"), |choice| smallest(call, choice, at)),
    }
}

fn required(call: &str, schema: &Value, at: &str) -> Value {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let field = |name: &str| (name.to_owned(), smallest(call, &schema["properties"][name], &format!("{at}.{name}")));
    Value::Object(names.map(field).collect())
}

fn text_of(call: &str, at: &str) -> Value {
    let name = at.rsplit(['.', ']']).next().unwrap();
    match name {
        "model" | "modelAlias" => json!("demo/scripted-l0"),
        "schedule" => json!("rate(1 day)"),
        _ if id_like(name) => Kind::of(call, at).map_or_else(|| json!("x"), |kind| json!(kind.token())),
        _ => json!("x"),
    }
}

/// Every place in this schema where an id may stand, with the smallest value that has it.
fn places(call: &str, schema: &Value, at: &str, depth: usize) -> Vec<(String, Value)> {
    if depth == 0 {
        return Vec::new();
    }
    let schema = resolved(schema);
    let with = |name: &str, value: Value| {
        let mut object = required(call, &schema, at);
        object[name] = value;
        object
    };
    let mut found = Vec::new();
    for (name, field) in schema["properties"].as_object().unwrap_or(&Map::new()) {
        let at = format!("{at}.{name}");
        if id_like(name) {
            found.push((at, with(name, json!(HERE))));
        } else {
            let below = places(call, field, &at, depth - 1).into_iter();
            found.extend(below.map(|(at, value)| (at, with(name, value))));
        }
    }
    if let Some(items) = schema.get("items") {
        let below = places(call, items, &format!("{at}[]"), depth - 1).into_iter();
        found.extend(below.map(|(at, value)| (at, json!([value]))));
    }
    found.extend(choices(&schema).iter().flat_map(|choice| places(call, choice, at, depth - 1)));
    found
}

/// Puts what the other has over the one, item by item; nothing for `null`.
fn merge(one: &mut Value, other: Value) {
    match (one, other) {
        (_, Value::Null) => {}
        (Value::Object(one), Value::Object(other)) => {
            other.into_iter().for_each(|(name, value)| merge(one.entry(name).or_insert(Value::Null), value));
        }
        (Value::Array(one), Value::Array(other)) => {
            for (index, value) in other.into_iter().enumerate() {
                match one.get_mut(index) {
                    Some(item) => merge(item, value),
                    None => one.push(value),
                }
            }
        }
        (one, other) => *one = other,
    }
}

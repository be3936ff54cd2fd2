//! The types of one surface, as JSON schemas of the OpenAPI document.

use schemars::{
    SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value};

use crate::{Surface, route::SchemaOf};

/// A surface's types. A type that is both received and sent is two schemas: what may be left out differs.
pub(super) struct Types {
    surface: Surface,
    received: SchemaGenerator,
    sent: SchemaGenerator,
}

const RECEIVED: &str = "#/received/";
const SENT: &str = "#/sent/";

impl Types {
    pub(super) fn new(surface: Surface) -> Self {
        let settings = |path: &str, contract: Contract| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = path.to_owned().into();
                settings.contract = contract;
            })
        };
        Self {
            surface,
            received: settings(RECEIVED, Contract::Deserialize).into_generator(),
            sent: settings(SENT, Contract::Serialize).into_generator(),
        }
    }

    pub(super) fn received(&mut self, schema: SchemaOf) -> Value {
        schema(&mut self.received).to_value()
    }

    pub(super) fn sent(&mut self, schema: SchemaOf) -> Value {
        schema(&mut self.sent).to_value()
    }

    /// The name in the document: no two surfaces share one.
    fn received_name(&self, name: &str) -> String {
        let both = self.sent.definitions().contains_key(name);
        format!("{}{name}{}", self.surface.name(), if both { "Input" } else { "" })
    }

    fn sent_name(&self, name: &str) -> String {
        format!("{}{name}", self.surface.name())
    }

    /// Makes the references of a part of the document those of the document.
    pub(super) fn name_refs(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields.iter_mut() {
                    match self.named(key, field) {
                        Some(reference) => *field = reference,
                        None => self.name_refs(field),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.name_refs(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn named(&self, key: &str, field: &Value) -> Option<Value> {
        let reference = field.as_str().filter(|_| key == "$ref")?;
        let name = match (reference.strip_prefix(RECEIVED), reference.strip_prefix(SENT)) {
            (Some(name), _) => self.received_name(name),
            (None, Some(name)) => self.sent_name(name),
            (None, None) => return None,
        };
        Some(format!("#/components/schemas/{name}").into())
    }

    /// The schemas of all types that were asked for.
    pub(super) fn into_schemas(self) -> Map<String, Value> {
        let received =
            self.received.definitions().iter().map(|(name, schema)| (self.received_name(name), schema.clone()));
        let sent = self.sent.definitions().iter().map(|(name, schema)| (self.sent_name(name), schema.clone()));
        let mut all: Map<String, Value> = received.chain(sent).collect();
        all.values_mut().for_each(|schema| self.name_refs(schema));
        all
    }
}

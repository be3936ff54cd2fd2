//! A JSON value as templates see it: whoever looks into it is counted, however that comes about, so that there is an end to it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use serde_json::Value as Json;

/// How often templates of an event may look into what it has, all together.
const LOOKS: i64 = 400_000;

/// How many texts and expressions of an event there may be, rows and all.
const TEXTS: i64 = 50_000;
/// How many bytes all of them may come to together.
const BYTES: i64 = 32 * 1024 * 1024;

/// What may still be done.
#[derive(Debug)]
pub(super) struct Meter {
    looks: AtomicI64,
    texts: AtomicI64,
    bytes: AtomicI64,
}

impl Meter {
    pub(super) fn new() -> Arc<Self> {
        let (looks, texts, bytes) = (AtomicI64::new(LOOKS), AtomicI64::new(TEXTS), AtomicI64::new(BYTES));
        Arc::new(Self { looks, texts, bytes })
    }

    /// One look, and whether there was one left.
    fn look(&self) -> bool {
        self.looks.fetch_sub(1, Ordering::Relaxed) > 0
    }

    /// One text, and whether there was one left.
    pub(super) fn begin(&self) -> bool {
        self.texts.fetch_sub(1, Ordering::Relaxed) > 0
    }

    /// What a text has come to, and whether all together are not too much.
    pub(super) fn came_to(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed) >= bytes
    }

    /// Whether somebody looked too often: what came of it is not right.
    pub(super) fn used_up(&self) -> bool {
        self.looks.load(Ordering::Relaxed) <= 0
    }
}

#[derive(Debug)]
struct List {
    items: Vec<Value>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Map {
    /// In the order of names.
    fields: Vec<(String, Value)>,
    meter: Arc<Meter>,
}

/// The value; it is as deep as JSON that was read can be.
pub(super) fn node(json: Json, meter: &Arc<Meter>) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => {
            let items = items.into_iter().map(|item| node(item, meter)).collect();
            Value::from_object(List { items, meter: Arc::clone(meter) })
        }
        Json::Object(fields) => {
            let mut fields: Vec<(String, Value)> =
                fields.into_iter().map(|(name, value)| (name, node(value, meter))).collect();
            fields.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            Value::from_object(Map { fields, meter: Arc::clone(meter) })
        }
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        if !self.meter.look() {
            return None;
        }
        self.items.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if self.meter.look() { Enumerator::Seq(self.items.len()) } else { Enumerator::Empty }
    }
}

impl Object for Map {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if !self.meter.look() {
            return None;
        }
        let at = self.fields.binary_search_by(|(name, _)| name.as_str().cmp(key)).ok()?;
        self.fields.get(at).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if !self.meter.look() {
            return Enumerator::Empty;
        }
        let (map, length) = (Arc::clone(self), self.fields.len());
        let name = move |at: usize| {
            // One look a name, beside that at its value.
            map.meter.look();
            map.fields.get(at).map_or_else(Value::default, |(name, _)| Value::from(name.as_str()))
        };
        Enumerator::Iter(Box::new((0..length).map(name)))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(if self.meter.look() { self.fields.len() } else { 0 })
    }
}

//! How much work a schema may make, known before any of it is done. A schema is small, but references can make it stand for
//! something that is not: each level that refers twice to the next doubles the work, and a loop of references never ends.
//!
//! The work for one part of an instance is how often schemas are applied to it. It is the most along any path from the root
//! down: alternatives and `allOf` apply to the same part and add up; different properties apply to different parts and do not.

use std::collections::{BTreeMap, HashMap};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{
    SCHEMA_LIMIT_BYTES,
    walk::{BELOW, BELOW_LISTS, Below, SAME, SAME_LISTS, SAME_MAPS, Size, parts, scan, schemas},
};

/// The most work for one instance: about so many comparisons.
const WORK_LIMIT: u64 = 5_000_000;
/// How deep the instances are that every schema must take, and how many parts they have.
const LEAST_DEPTH: usize = 4;
const LEAST_PARTS: u64 = 100;
/// The most steps that working this out may take.
const STEPS_LIMIT: usize = 200_000;
/// The most schemas that may be applied within each other: each takes its place on the stack.
const STACK_LIMIT: usize = 400;
/// The most patterns of a schema, each of which is compiled.
const PATTERNS_LIMIT: usize = 50;
/// The longest pattern, in bytes.
const PATTERN_LIMIT: usize = 1_000;
/// What a pattern counts for beside a comparison.
const PATTERN_WORK: u64 = 10;

/// Whether the schema may be used at all.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    if serde_json::to_vec(schema).map_or(true, |text| text.len() > SCHEMA_LIMIT_BYTES) {
        return Err(format!("is larger than {SCHEMA_LIMIT_BYTES} bytes"));
    }
    let work = Bounds::of(schema, LEAST_DEPTH)?;
    if work.saturating_mul(LEAST_PARTS) > WORK_LIMIT { Err(TOO_MUCH.to_owned()) } else { Ok(()) }
}

/// The work for this instance, if it is not too much.
pub(super) fn work(schema: &Value, instance: &Value) -> Result<u64, String> {
    let size = Size::of(instance);
    let work = Bounds::of(schema, size.depth)?.saturating_mul(size.parts);
    if work > WORK_LIMIT { Err(TOO_MUCH.to_owned()) } else { Ok(work) }
}

const TOO_MUCH: &str = "would take too long to check: it has too many alternatives or references for so much data";

/// What is known of a schema.
struct Node<'a> {
    work: u64,
    same: Vec<usize>,
    below: Vec<(Below<'a>, usize)>,
}

struct Bounds<'a> {
    root: &'a Value,
    nodes: Vec<Node<'a>>,
    /// Schemas by address: the same one may be referred to often.
    known: HashMap<*const Value, usize>,
    /// Schemas that are known and not yet looked into.
    open: Vec<(usize, &'a Value)>,
    patterns: usize,
    /// The work, and the height of the stack, by schema and depth of the instance.
    done: HashMap<(usize, usize), (u64, usize)>,
    steps: usize,
}

impl<'a> Bounds<'a> {
    /// The most work for one part of an instance of this depth.
    fn of(root: &'a Value, depth: usize) -> Result<u64, String> {
        scan(root, 0)?;
        let (known, done) = (HashMap::new(), HashMap::new());
        let mut bounds = Self { root, nodes: Vec::new(), known, open: Vec::new(), patterns: 0, done, steps: 0 };
        let first = bounds.node(root);
        while let Some((index, schema)) = bounds.open.pop() {
            let node = bounds.look_into(schema)?;
            if let Some(place) = bounds.nodes.get_mut(index) {
                *place = node;
            }
        }
        bounds.total(first, depth, 0).map(|(work, _)| work)
    }

    fn node(&mut self, schema: &'a Value) -> usize {
        let next = self.nodes.len();
        let index = *self.known.entry(std::ptr::from_ref(schema)).or_insert(next);
        if index == next {
            self.nodes.push(Node { work: 1, same: Vec::new(), below: Vec::new() });
            self.open.push((index, schema));
        }
        index
    }

    fn look_into(&mut self, schema: &'a Value) -> Result<Node<'a>, String> {
        let mut node = Node { work: 1, same: Vec::new(), below: Vec::new() };
        let Some(fields) = schema.as_object() else {
            return if schema.is_boolean() { Ok(node) } else { Err("has no schema where one should be".to_owned()) };
        };
        if let Some(reference) = fields.get("$ref") {
            let target = self.target(reference)?;
            node.same.push(self.node(target));
        }
        let same = schemas(fields, &SAME, &SAME_LISTS, &SAME_MAPS);
        node.same.extend(same.map(|(_, schema)| self.node(schema)).collect::<Vec<_>>());
        let below = schemas(fields, &BELOW, &BELOW_LISTS, &["properties", "patternProperties"]);
        node.below.extend(below.map(|(place, schema)| (place, self.node(schema))).collect::<Vec<_>>());
        // They are used only where something refers to them, but what they refer to is resolved anyway.
        for (_, schema) in schemas(fields, &[], &[], &["$defs", "definitions"]) {
            self.node(schema);
        }
        let patterns = self.patterns_of(fields)?;
        let compared = ["enum", "const"].iter().filter_map(|keyword| fields.get(*keyword)).map(parts);
        let named = ["required", "properties"].iter().filter_map(|keyword| fields.get(*keyword)).map(length);
        let work = compared.chain(named).fold(fields.len() as u64, u64::saturating_add);
        node.work = work.saturating_add(patterns.saturating_mul(PATTERN_WORK)).saturating_add(1);
        Ok(node)
    }

    /// How many patterns the schema itself has.
    fn patterns_of(&mut self, fields: &'a Map<String, Value>) -> Result<u64, String> {
        let own = fields.get("pattern").and_then(Value::as_str);
        let named = fields.get("patternProperties").and_then(Value::as_object);
        let patterns = own.into_iter().chain(named.into_iter().flat_map(Map::keys).map(String::as_str));
        let mut count = 0;
        for pattern in patterns {
            if pattern.len() > PATTERN_LIMIT {
                return Err(format!("has a pattern longer than {PATTERN_LIMIT} bytes"));
            }
            count += 1;
        }
        self.patterns = self.patterns.saturating_add(count);
        if self.patterns > PATTERNS_LIMIT {
            return Err(format!("has more than {PATTERNS_LIMIT} patterns"));
        }
        Ok(count as u64)
    }

    /// What a reference leads to: a pointer into this document.
    fn target(&self, reference: &Value) -> Result<&'a Value, String> {
        let text = reference.as_str().unwrap_or_default();
        let told = || {
            format!(
                "has a $ref to {:?}: only pointers into the schema itself are followed, as #/$defs/name",
                short(text)
            )
        };
        let fragment = text.strip_prefix('#').ok_or_else(told)?;
        // Where these are decoded decides what they mean.
        let lower = fragment.to_ascii_lowercase();
        let pointer = percent_decode_str(fragment)
            .decode_utf8()
            .ok()
            .filter(|_| !lower.contains("%2f") && !lower.contains("%7e"));
        self.root.pointer(&pointer.ok_or_else(told)?).ok_or_else(told)
    }

    /// The most work for one part of an instance of this depth, and the height of the stack above `height`.
    fn total(&mut self, node: usize, depth: usize, height: usize) -> Result<(u64, usize), String> {
        if let Some(done) = self.done.get(&(node, depth)) {
            return if height.saturating_add(done.1) > STACK_LIMIT { Err(TOO_MUCH.to_owned()) } else { Ok(*done) };
        }
        let mut gathered = Gathered::default();
        self.gather(node, depth, height, &mut gathered)?;
        let any = gathered.below.remove(&Below::Any).unwrap_or(0);
        let named = gathered.below.values().max().copied().unwrap_or(0);
        let done = (gathered.work.saturating_add(any).saturating_add(named), gathered.top.saturating_sub(height));
        self.done.insert((node, depth), done);
        Ok(done)
    }

    /// Adds what is applied to the same part, as often as it is.
    fn gather(&mut self, node: usize, depth: usize, height: usize, to: &mut Gathered<'a>) -> Result<(), String> {
        self.steps = self.steps.saturating_add(1);
        let Some(Node { work, same, below }) = self.nodes.get(node) else { return Ok(()) };
        if height > STACK_LIMIT || self.steps.saturating_add(below.len()) > STEPS_LIMIT {
            return Err(TOO_MUCH.to_owned());
        }
        to.work = to.work.saturating_add(*work);
        to.top = to.top.max(height);
        let (same, below) = (same.clone(), if depth == 0 { Vec::new() } else { below.clone() });
        self.steps = self.steps.saturating_add(below.len());
        for next in same {
            self.gather(next, depth, height.saturating_add(1), to)?;
        }
        for (place, next) in below {
            let height = height.saturating_add(1);
            let (work, above) = self.total(next, depth.saturating_sub(1), height)?;
            to.top = to.top.max(height.saturating_add(above));
            let sum = to.below.entry(place).or_default();
            *sum = sum.saturating_add(work);
        }
        Ok(())
    }
}

/// What is applied to one part, and through it to those below.
#[derive(Default)]
struct Gathered<'a> {
    work: u64,
    below: BTreeMap<Below<'a>, u64>,
    top: usize,
}

fn length(value: &Value) -> u64 {
    value.as_array().map(Vec::len).or_else(|| value.as_object().map(Map::len)).unwrap_or(0) as u64
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

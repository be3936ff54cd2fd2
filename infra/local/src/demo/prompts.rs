//! What the demo asks: fifty questions of its own, or yours.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// What each of the built-in questions is about.
const TOPICS: [&str; 50] = [
    "tides",
    "sourdough",
    "glaciers",
    "the printing press",
    "bees",
    "rainbows",
    "compound interest",
    "chess openings",
    "volcanoes",
    "jet lag",
    "coral reefs",
    "the metric system",
    "origami",
    "earthquakes",
    "black holes",
    "vaccines",
    "sailing upwind",
    "tea",
    "fermentation",
    "maps",
    "the postal service",
    "aqueducts",
    "snowflakes",
    "migration of birds",
    "lighthouses",
    "batteries",
    "musical scales",
    "crosswords",
    "photosynthesis",
    "bridges",
    "soap",
    "the water cycle",
    "hieroglyphs",
    "wind turbines",
    "bicycles",
    "cheese",
    "the aurora",
    "tunnels",
    "caves",
    "perfume",
    "tree rings",
    "clocks",
    "kites",
    "the stock exchange",
    "deserts",
    "paper",
    "magnets",
    "whales",
    "fireflies",
    "glass",
];

/// The items of the batch.
pub(super) fn load(file: Option<&Path>, count: Option<usize>) -> Result<Vec<Value>, String> {
    let own = match file {
        Some(path) => read(path)?,
        None => TOPICS
            .iter()
            .map(|topic| json!({"message": format!("Explain {topic} to a ten-year-old in two sentences.")}))
            .collect(),
    };
    let count = count.unwrap_or(own.len());
    if count == 0 || count > shared::batch::ITEMS_LIMIT {
        return Err(format!("the number of items must be from 1 to {}", shared::batch::ITEMS_LIMIT));
    }
    let mut items: Vec<Value> = own.into_iter().cycle().take(count).collect();
    if file.is_some() {
        drop_repeated_ids(&mut items);
    }
    Ok(items)
}

fn read(path: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let items: Vec<Value> = lines.map(item).collect();
    if items.is_empty() {
        return Err(format!("{}: no prompts in it", path.display()));
    }
    Ok(items)
}

/// A line is an item if it is a JSON object, and a message otherwise.
fn item(line: &str) -> Value {
    match serde_json::from_str::<Value>(line) {
        Ok(item) if item.is_object() => item,
        _ => json!({"message": line}),
    }
}

/// Repeated prompts keep no id of their own: no two items may have the same.
fn drop_repeated_ids(items: &mut [Value]) {
    let mut seen = std::collections::HashSet::new();
    for item in items {
        let id = item.get("custom_id").and_then(Value::as_str).map(str::to_owned);
        if let (Some(id), Some(item)) = (id, item.as_object_mut())
            && !seen.insert(id)
        {
            item.remove("custom_id");
        }
    }
}

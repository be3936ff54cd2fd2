//! Conditions and update expressions. Attributes are named through placeholders, as some names are reserved words.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use super::item::{HISTORY, Item, NUMBER, OPTIONAL, PARTITION, REV, SORT, TTL, earlier, number};
use crate::store::row::{Add, Rev, When};

/// A condition that fails answers with the row that is there.
pub(super) const OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

/// A condition as DynamoDB takes it; empty when there is none.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) expression: Option<String>,
    pub(super) names: Option<HashMap<String, String>>,
    pub(super) values: Option<Item>,
}

impl Condition {
    pub(super) fn of(when: When) -> Self {
        match when {
            When::Any => Self::default(),
            When::Absent => Self {
                expression: Some("attribute_not_exists(#pk)".to_owned()),
                names: Some(HashMap::from([("#pk".to_owned(), PARTITION.to_owned())])),
                values: None,
            },
            When::Rev(Rev(seen)) => Self {
                expression: Some("#rev = :seen".to_owned()),
                names: Some(HashMap::from([("#rev".to_owned(), REV.to_owned())])),
                values: Some(HashMap::from([(":seen".to_owned(), number(seen))])),
            },
        }
    }
}

/// An update: of a whole item, but for the revisions that it remembers, or of a counter's numbers.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) expression: String,
    pub(super) condition: Option<&'static str>,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// Sets these attributes, removes the optional ones that are not among them, and moves the revisions on by one place:
/// what stands on the right of a `SET` is the item as it was.
pub(super) fn of(attributes: Item, Rev(seen): Rev) -> Setting {
    let mut names = HashMap::new();
    let mut values = Item::from([(":seen".to_owned(), number(seen)), (":none".to_owned(), number(0))]);
    let mut placeholder = |name: &str| {
        let placeholder = format!("#{name}");
        names.insert(placeholder.clone(), name.to_owned());
        placeholder
    };
    let removed = OPTIONAL.iter().filter(|name| !attributes.contains_key(**name));
    let removed: Vec<String> = removed.map(|name| placeholder(name)).collect();
    let mut set = vec![format!("{} = {}", earlier(1), placeholder(REV))];
    set.extend((2..=HISTORY).map(|n| format!("{} = if_not_exists({}, :none)", earlier(n), earlier(n - 1))));
    for (name, value) in attributes {
        if name != PARTITION && name != SORT {
            set.push(format!("{} = :{name}", placeholder(&name)));
            values.insert(format!(":{name}"), value);
        }
    }
    let mut expression = format!("SET {}", set.join(", "));
    if !removed.is_empty() {
        expression = format!("{expression} REMOVE {}", removed.join(", "));
    }
    Setting { expression, condition: Some("#rev = :seen"), names, values }
}

/// Adds to a counter, which is made when it is missing; its revision tells readers that it changed.
pub(super) fn adding(add: &Add) -> Setting {
    let mut names = HashMap::from([("#rev".to_owned(), REV.to_owned())]);
    let mut values = Item::from([(":rev".to_owned(), number(Rev::fresh().0))]);
    let mut set = "#rev = :rev".to_owned();
    if let Some(seconds) = add.expires_at_s {
        names.insert("#ttl".to_owned(), TTL.to_owned());
        values.insert(":ttl".to_owned(), number(seconds));
        set.push_str(", #ttl = :ttl");
    }
    let mut added = Vec::with_capacity(add.amounts.len());
    for (name, amount) in &add.amounts {
        names.insert(format!("#{NUMBER}{name}"), format!("{NUMBER}{name}"));
        values.insert(format!(":{NUMBER}{name}"), number(*amount));
        added.push(format!("#{NUMBER}{name} :{NUMBER}{name}"));
    }
    let condition = add.bound().map(|(name, most_before)| {
        names.insert("#bound".to_owned(), format!("{NUMBER}{name}"));
        values.insert(":most".to_owned(), number(most_before));
        // A number that is missing is 0.
        if most_before >= 0 { "attribute_not_exists(#bound) OR #bound <= :most" } else { "#bound <= :most" }
    });
    Setting { expression: format!("SET {set} ADD {}", added.join(", ")), condition, names, values }
}

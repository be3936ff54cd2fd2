//! What a model call costs: a dated price list and integer arithmetic. Knows no provider's wire.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Tokens, settings::SettingsError};

/// The built-in list; its head says of which day and from where.
const BUILT_IN: &str = include_str!("../../data/prices.json");

/// What a model's tokens cost, in micro-USD for a million tokens (1 USD for a million tokens is 1,000,000).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// A million input tokens.
    pub input: u64,
    /// A million input tokens from the provider's cache; `None` is the full input price.
    pub cached_input: Option<u64>,
    /// A million output tokens.
    pub output: u64,
    /// The prices of the whole call when its prompt is long; `None` when they do not depend on that.
    pub long_prompt: Option<LongPrompt>,
}

/// What a call costs whose input is longer than a threshold: some providers bill every token of it higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPrompt {
    /// These prices hold when the call has more input tokens than this, the cached ones among them.
    pub above: u64,
    /// A million input tokens.
    pub input: u64,
    /// A million input tokens from the provider's cache; `None` is the full input price.
    #[serde(default)]
    pub cached_input: Option<u64>,
    /// A million output tokens.
    pub output: u64,
}

impl Price {
    /// What a call with those tokens costs, in micro-USD, rounded up to a whole one; the largest number when it is larger.
    #[must_use]
    pub fn cost_micro_usd(&self, tokens: Tokens) -> u64 {
        let cached = tokens.cached_input.min(tokens.input);
        let fresh = tokens.input.saturating_sub(cached);
        let (input, cached_input, output) = match self.long_prompt {
            Some(long) if tokens.input > long.above => (long.input, long.cached_input, long.output),
            _ => (self.input, self.cached_input, self.output),
        };
        let sum = [(fresh, input), (cached, cached_input.unwrap_or(input)), (tokens.output, output)]
            .into_iter()
            .map(|(count, price)| u128::from(count).saturating_mul(u128::from(price)))
            .fold(0_u128, u128::saturating_add);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// One model of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its canonical name, `provider/model`, as the provider spells the model.
    pub name: String,
    /// Other names for it, without the provider.
    pub aliases: Vec<String>,
    /// What it costs; `None` when that is not known.
    pub price: Option<Price>,
    /// The most tokens of one answer, when known.
    pub max_output_tokens: Option<u32>,
    /// Whether it makes embeddings, and cannot be told anything.
    pub embeds: bool,
}

/// The models that are known by name, and their prices.
#[derive(Debug, Clone)]
pub struct PriceList {
    entries: BTreeMap<String, Entry>,
    aliases: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Document {
    models: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    input: Option<u64>,
    #[serde(default)]
    cached_input: Option<u64>,
    #[serde(default)]
    output: Option<u64>,
    #[serde(default)]
    long_prompt: Option<LongPrompt>,
    #[serde(default)]
    max_output_tokens: Option<u32>,
    #[serde(default)]
    embeds: bool,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        let Row { name, aliases, input, cached_input, output, long_prompt, max_output_tokens, embeds } = row;
        let price = input.zip(output).map(|(input, output)| Price { input, cached_input, output, long_prompt });
        Self { name, aliases, price, max_output_tokens, embeds }
    }
}

impl PriceList {
    /// The built-in list with the operator's entries over it: an entry of the same name is replaced, aliases are added.
    ///
    /// # Errors
    /// When the operator's JSON is not of the built-in one's shape, or names a model without its provider.
    pub fn new(override_json: Option<&str>) -> Result<Self, SettingsError> {
        let mut list = Self { entries: BTreeMap::new(), aliases: BTreeMap::new() };
        for json in [Some(BUILT_IN), override_json].into_iter().flatten() {
            list.read(json)?;
        }
        Ok(list)
    }

    fn read(&mut self, json: &str) -> Result<(), SettingsError> {
        let document: Document =
            serde_json::from_str(json).map_err(|error| SettingsError::Prices(error.to_string()))?;
        if let Some(row) = document.models.iter().find(|row| !row.name.contains('/')) {
            let problem = format!("'{}' is not provider/model", row.name);
            return Err(SettingsError::Prices(problem));
        }
        document.models.into_iter().for_each(|row| self.insert(row.into()));
        Ok(())
    }

    fn insert(&mut self, entry: Entry) {
        for alias in &entry.aliases {
            self.aliases.insert(alias.clone(), entry.name.clone());
        }
        self.entries.insert(entry.name.clone(), entry);
    }

    /// The canonical name behind an alias; `None` when it is none.
    #[must_use]
    pub fn canonical(&self, alias: &str) -> Option<&str> {
        self.aliases.get(alias).map(String::as_str)
    }

    /// The entry of a model by its canonical name, also with a date behind it (`…-2025-08-07`, `…-20250929`).
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).or_else(|| self.entries.get(without_date(name)?))
    }

    /// All entries, by name, of models that can be told something.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.embeds)
    }
}

/// The name without the date at its end; `None` when there is none.
fn without_date(name: &str) -> Option<&str> {
    ["-20dd-dd-dd", "-20dddddd"].into_iter().find_map(|pattern| {
        let (rest, end) = name.split_at_checked(name.len().checked_sub(pattern.len())?)?;
        let fits = |(c, p): (char, char)| if p == 'd' { c.is_ascii_digit() } else { c == p };
        end.chars().zip(pattern.chars()).all(fits).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRICE: Price = Price { input: 250_000, cached_input: Some(25_000), output: 2_000_000, long_prompt: None };

    #[test]
    fn a_call_costs_its_tokens_rounded_up() {
        let cost = |input, cached_input, output| PRICE.cost_micro_usd(Tokens { input, cached_input, output });
        assert_eq!(cost(0, 0, 0), 0);
        assert_eq!(cost(1, 0, 0), 1);
        assert_eq!(cost(1_000_000, 0, 0), 250_000);
        assert_eq!(cost(1_000_000, 1_000_000, 0), 25_000);
        assert_eq!(cost(1_000_000, 400_000, 500_000), 150_000 + 10_000 + 1_000_000);
    }

    #[test]
    fn a_long_prompt_costs_its_own_prices_from_the_first_token_above() {
        let long = LongPrompt { above: 1_000_000, input: 500_000, cached_input: None, output: 3_000_000 };
        let price = Price { long_prompt: Some(long), ..PRICE };
        let cost = |input| price.cost_micro_usd(Tokens { input, cached_input: 0, output: 1_000_000 });
        assert_eq!(cost(1_000_000), 250_000 + 2_000_000);
        assert_eq!(cost(2_000_000), 1_000_000 + 3_000_000);
    }

    #[test]
    fn the_built_in_list_is_well_formed() {
        let list = PriceList::new(None).unwrap();
        for entry in list.entries.values() {
            let price = entry.price.expect("a listed model has a price");
            assert!(price.cached_input.is_none_or(|cached| cached <= price.input), "{}", entry.name);
            assert!(if entry.embeds { price.output == 0 } else { price.input <= price.output }, "{}", entry.name);
            for alias in &entry.aliases {
                assert_eq!(list.canonical(alias), Some(entry.name.as_str()), "the alias {alias} is not unique");
            }
        }
    }

    #[test]
    fn a_dated_name_has_the_price_of_its_model() {
        assert_eq!(without_date("openai/gpt-5-mini-2025-08-07"), Some("openai/gpt-5-mini"));
        assert_eq!(without_date("anthropic/claude-haiku-4-5-20251001"), Some("anthropic/claude-haiku-4-5"));
        assert_eq!(without_date("mistral/mistral-large-2512"), None);
        assert_eq!(without_date("openai/gpt-5"), None);
        assert_eq!(without_date("openai/20250807"), None);
    }

    #[test]
    fn the_operators_prices_win() {
        let list = PriceList::new(Some(
            r#"{"models": [{"name": "openai/gpt-5-mini", "input": 1, "output": 2}, {"name": "openai/own", "aliases": ["own"]}]}"#,
        ))
        .unwrap();
        assert_eq!(
            list.entry("openai/gpt-5-mini").unwrap().price,
            Some(Price { input: 1, cached_input: None, output: 2, long_prompt: None })
        );
        assert_eq!(list.canonical("gpt-5-mini"), Some("openai/gpt-5-mini"));
        assert_eq!(list.entry(list.canonical("own").unwrap()).unwrap().price, None);
        for bad in ["[]", "{", r#"{"models": [{"name": "gpt"}]}"#, r#"{"models": [{"name": "a/b", "input": -1}]}"#] {
            assert!(PriceList::new(Some(bad)).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_cost_never_panics_and_never_falls_with_more_tokens(
            input in any::<u64>(), cached_input in any::<u64>(), output in any::<u64>(),
            price in any::<(u64, Option<u64>, u64)>(), more in any::<u64>(),
        ) {
            let price = Price { input: price.0, cached_input: price.1, output: price.2, long_prompt: None };
            let less = price.cost_micro_usd(Tokens { input, cached_input, output });
            let greater = price.cost_micro_usd(Tokens { input, cached_input, output: output.saturating_add(more) });
            prop_assert!(less <= greater);
        }

        #[test]
        fn a_cost_is_at_most_one_micro_usd_above_the_exact_one(
            input in 0_u64..10_000_000, cached in 0_u64..10_000_000, output in 0_u64..10_000_000,
        ) {
            let cached_input = cached.min(input);
            let exact = u128::from(input - cached_input) * 250_000 + u128::from(cached_input) * 25_000
                + u128::from(output) * 2_000_000;
            let cost = u128::from(PRICE.cost_micro_usd(Tokens { input, cached_input, output })) * 1_000_000;
            prop_assert!(cost >= exact && cost < exact + 1_000_000);
        }

        #[test]
        fn any_name_may_be_looked_up(name in "\\PC{0,40}") {
            let _ = without_date(&name);
        }
    }
}

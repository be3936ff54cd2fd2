//! Changes in part: a field that is left out stays as it is. Knows no resource.

use serde::{Deserialize, Deserializer};

/// Tells a field that is `null` from one that is left out: for `deserialize_with`, beside `default`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Puts the value in the field's place, if one is given.
pub(crate) fn set<T: Clone>(field: &mut T, given: &Option<T>) {
    if let Some(value) = given {
        field.clone_from(value);
    }
}

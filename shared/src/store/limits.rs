//! The state of limits in the store.

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::{
    Error, Result, Store,
    row::{Key, Rev, Row, Table, When, Write},
};
use crate::{
    clock::Timestamp,
    limit::{Arrival, Counted, Whose},
    tenant::Tenant,
};

/// How long a row outlives its last use, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug)]
pub(crate) struct SeenArrival {
    key: Key,
    seen: Option<Rev>,
    pub(crate) arrival: Arrival,
}

/// A place that is held; only who holds it can give it back.
#[derive(Debug)]
pub(crate) struct HeldPlace {
    key: Key,
    rev: Rev,
}

#[derive(Debug, Serialize, Deserialize)]
struct PlaceRow {
    until: Timestamp,
}

impl Store {
    pub(crate) async fn arrival(&self, tenant: Tenant, whose: Whose) -> Result<SeenArrival> {
        let key = Key::new(Table::Runs, partition(tenant, whose), "rate");
        let found = self.get(&key).await?;
        let (arrival, seen) = found.map_or_else(|| (Arrival::default(), None), |found| (found.value, Some(found.rev)));
        Ok(SeenArrival { key, seen, arrival })
    }

    pub(crate) async fn save_arrival(&self, seen: SeenArrival, now: Timestamp) -> Result<()> {
        let row = super::row(seen.key, &seen.arrival)?;
        let row = Row { expires_at_s: Some(now.plus_ms(KEPT_MS).seconds_ceil()), ..row };
        self.backend.transact(vec![Write::Put(row, seen.seen.map_or(When::Absent, When::Rev))]).await
    }

    /// Takes one of `most` places from now until then, if one is free: a few at random, then whichever is.
    pub(crate) async fn take_place(
        &self,
        tenant: Tenant,
        whose: Whose,
        most: u32,
        tried_at_random: usize,
        (now, until): (Timestamp, Timestamp),
    ) -> Result<Option<HeldPlace>> {
        let keys: Vec<Key> = (0..most).map(|place| place_key(tenant, whose, place)).collect();
        let mut order: Vec<usize> = (0..tried_at_random).map(|_| random_below(keys.len())).collect();
        for place in order.drain(..) {
            let Some(key) = keys.get(place) else { continue };
            let found = self.get::<PlaceRow>(key).await?;
            let when = match found {
                None => When::Absent,
                Some(row) if row.value.until <= now => When::Rev(row.rev),
                Some(_) => continue,
            };
            if let Some(held) = self.hold(key, when, until).await? {
                return Ok(Some(held));
            }
        }
        let rows = self.batch_get::<PlaceRow>(&keys).await?;
        for (key, row) in keys.iter().zip(rows) {
            let when = match row {
                None => When::Absent,
                Some(row) if row.value.until <= now => When::Rev(row.rev),
                Some(_) => continue,
            };
            if let Some(held) = self.hold(key, when, until).await? {
                return Ok(Some(held));
            }
        }
        Ok(None)
    }

    async fn hold(&self, key: &Key, when: When, until: Timestamp) -> Result<Option<HeldPlace>> {
        let row = super::row(key.clone(), &PlaceRow { until })?;
        let held = HeldPlace { key: key.clone(), rev: row.rev };
        let row = Row { expires_at_s: Some(until.plus_ms(KEPT_MS).seconds_ceil()), ..row };
        match self.backend.transact(vec![Write::Put(row, when)]).await {
            Ok(()) => Ok(Some(held)),
            Err(Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn leave_place(&self, place: HeldPlace) -> Result<()> {
        self.backend.transact(vec![Write::Delete(place.key, When::Rev(place.rev))]).await
    }
}

fn partition(tenant: Tenant, (key_id, counted): Whose) -> String {
    let counted = match counted {
        Counted::Calls => "",
        Counted::Coagent => "#COAGENT",
        Counted::Logs => "#LOGS",
        Counted::Events => "#EVENTS",
    };
    format!("O#{}#RL#{key_id}{counted}", tenant.org())
}

fn place_key(tenant: Tenant, whose: Whose, place: u32) -> Key {
    Key::new(Table::Runs, partition(tenant, whose), format!("place#{place:010}"))
}

fn random_below(end: usize) -> usize {
    let mut bytes = [0; 8];
    let _ = SystemRandom::new().fill(&mut bytes);
    usize::from_le_bytes(bytes).checked_rem(end).unwrap_or(0)
}

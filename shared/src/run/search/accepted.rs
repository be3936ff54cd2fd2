//! Which places are of runs that there are: rows of a batch are written before the batch is.

use std::collections::{HashMap, HashSet};

use super::Place;
use crate::{app::App, error::Result, id::BatchId, store::Span, tenant::Tenant};

/// The batches of that time, as far as they were asked for.
pub(super) struct Accepted {
    tenant: Tenant,
    span: Span,
    /// Those of the list of batches, which is read when there is the first run of one.
    listed: Option<HashSet<BatchId>>,
    /// Of those that are not there, whether they are: the list may lag behind, and most batches are in it.
    others: HashMap<BatchId, bool>,
}

impl Accepted {
    pub(super) fn new(tenant: Tenant, span: Span) -> Self {
        Self { tenant, span, listed: None, others: HashMap::new() }
    }

    /// Takes those away whose batch was not accepted.
    pub(super) async fn retain(&mut self, app: &App, places: &mut Vec<Place>) -> Result<()> {
        let batches: HashSet<BatchId> = places.iter().filter_map(|place| place.batch).collect();
        if batches.is_empty() {
            return Ok(());
        }
        let listed = match self.listed.take() {
            Some(listed) => listed,
            None => app.store().batch_ids(self.tenant, self.span).await?,
        };
        for batch in batches.iter().filter(|batch| !listed.contains(batch)) {
            if !self.others.contains_key(batch) {
                self.others.insert(*batch, app.store().batch(self.tenant, *batch).await?.is_some());
            }
        }
        let there = |batch: &BatchId| listed.contains(batch) || self.others.get(batch).copied().unwrap_or(false);
        places.retain(|place| place.batch.as_ref().is_none_or(there));
        self.listed = Some(listed);
        Ok(())
    }
}

//! Evaluations in the store: a row each, and behind it rows of verdicts, a row for some cases of one configuration, written once.

use super::{
    Result, Store, Versioned,
    row::{Entry, Index, Key, Query, Rev, Row, Table, When, Write},
    runs::due_entry,
};
use crate::{
    batch::Batch,
    evaluation::{Evaluation, Judged},
    id::{EvaluationId, OrgId},
    tenant::Tenant,
};

/// Before and behind the keys of all rows of verdicts.
const VERDICTS: &str = "V#";
const BEHIND: &str = "W";

/// Where verdicts are: of which configuration, and from which case on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) first: usize,
    pub(crate) configuration: usize,
}

impl Place {
    fn sort(self) -> String {
        format!("{VERDICTS}{:02}#{:05}", self.configuration, self.first)
    }

    fn read(sort: &str) -> Option<Self> {
        let (configuration, first) = sort.strip_prefix(VERDICTS)?.split_once('#')?;
        Some(Self { first: first.parse().ok()?, configuration: configuration.parse().ok()? })
    }
}

fn partition(org: OrgId, id: EvaluationId) -> String {
    format!("O#{org}#E#{id}")
}

fn key(org: OrgId, id: EvaluationId) -> Key {
    Key::new(Table::Runs, partition(org, id), "META")
}

fn verdicts_key(org: OrgId, id: EvaluationId, place: Place) -> Key {
    Key::new(Table::Runs, partition(org, id), place.sort())
}

fn list_partition(org: OrgId) -> String {
    format!("O#{org}#EVALUATIONS")
}

impl Store {
    pub(crate) async fn evaluation(&self, tenant: Tenant, id: EvaluationId) -> Result<Option<Versioned<Evaluation>>> {
        self.get(&key(tenant.org(), id)).await
    }

    /// Writes a new evaluation with its batches' rows, which accept their runs, and the claim: all or nothing.
    pub(crate) async fn save_new_evaluation(
        &self,
        evaluation: &Evaluation,
        batches: &[Batch],
        claim: Option<Write>,
    ) -> Result<()> {
        let mut writes = vec![self.evaluation_write(evaluation, None)?];
        for batch in batches {
            writes.push(self.batch_write(batch, None)?);
        }
        writes.extend(claim);
        self.backend.transact(writes).await
    }

    /// Writes the evaluation's row, if it is as it was seen.
    pub(crate) async fn save_evaluation(&self, evaluation: &Evaluation, seen: Rev) -> Result<()> {
        self.backend.transact(vec![self.evaluation_write(evaluation, Some(seen))?]).await
    }

    fn evaluation_write(&self, evaluation: &Evaluation, seen: Option<Rev>) -> Result<Write> {
        let (org, id) = (evaluation.tenant().org(), evaluation.id);
        let row = super::row(key(org, id), evaluation)?;
        let listed = Some(Entry { partition: list_partition(org), sort: id.to_string() });
        let due = evaluation.settled.is_none().then(|| due_entry(evaluation.next_check_at, org, 'E', id.uuid()));
        Ok(Write::Put(Row { listed, due, ..row }, seen.map_or(When::Absent, When::Rev)))
    }

    /// A page of the list of evaluations, newest first, and where the next begins.
    pub(crate) async fn listed_evaluations(
        &self,
        tenant: Tenant,
        before: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Evaluation>, Option<String>)> {
        let partition = list_partition(tenant.org());
        self.page(&Query::newest_first(Table::Runs, Index::Listed, partition, before, limit)).await
    }

    /// Where verdicts are written.
    pub(crate) async fn verdict_places(&self, tenant: Tenant, id: EvaluationId) -> Result<Vec<Place>> {
        let sorts = self.sorts_between(Table::Runs, &partition(tenant.org(), id), VERDICTS, BEHIND).await?;
        Ok(sorts.iter().filter_map(|sort| Place::read(sort)).collect())
    }

    /// The verdicts at these places, each in its own; `None` where they are not written yet.
    pub(crate) async fn verdicts(
        &self,
        tenant: Tenant,
        id: EvaluationId,
        places: &[Place],
    ) -> Result<Vec<Option<Vec<Judged>>>> {
        let keys: Vec<Key> = places.iter().map(|place| verdicts_key(tenant.org(), id, *place)).collect();
        Ok(self.batch_get(&keys).await?.into_iter().map(|found| found.map(|found| found.value)).collect())
    }

    /// Writes verdicts at a place, if there are none: a conflict is another who was faster.
    pub(crate) async fn save_verdicts(
        &self,
        tenant: Tenant,
        id: EvaluationId,
        place: Place,
        verdicts: &[Judged],
    ) -> Result<()> {
        let row = super::row(verdicts_key(tenant.org(), id, place), &verdicts)?;
        self.backend.transact(vec![Write::Put(row, When::Absent)]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_verdicts_is_known_by_its_key() {
        for (first, configuration) in [(0, 0), (9_900, 19), (100, 3)] {
            let place = Place { first, configuration };
            assert_eq!(Place::read(&place.sort()), Some(place));
        }
        assert_eq!(Place::read("META"), None);
    }
}

//! A timer is a schedule of EventBridge Scheduler for a single moment, called as ours, which is set anew for each time: so the rules of time
//! zones, of what was missed and of what overlaps are ours on every host.

use aws_config::SdkConfig;
use aws_sdk_scheduler::{
    Client,
    error::BuildError,
    types::{FlexibleTimeWindow, FlexibleTimeWindowMode, Target},
};
use tracing::debug;

use crate::{aws::fault::CallFault, clock::Timestamp, error::Fault, id::ScheduleId, queue::Chunk, tenant::Tenant};

/// The time zone of a timer: its moment is said in UTC.
const UTC: &str = "UTC";

/// Timers of EventBridge Scheduler.
#[derive(Debug)]
pub struct EventBridge {
    client: Client,
    group: String,
    role_arn: String,
    queue_arn: String,
}

impl EventBridge {
    /// Timers in this group, which send with this role to this queue.
    #[must_use]
    pub fn new(config: &SdkConfig, group: String, role_arn: String, queue_arn: String) -> Self {
        Self { client: Client::new(config), group, role_arn, queue_arn }
    }

    /// There is a timer for that moment, and no other of the schedule's; with none, there is no timer.
    pub(super) async fn set(&self, tenant: Tenant, id: ScheduleId, at: Option<Timestamp>) -> Result<(), Fault> {
        let Some(at) = at else { return self.delete(id).await };
        debug!(schedule = %id, at = at.rfc3339(), "setting a timer");
        // It is there but for the first time, and may have been made meanwhile then.
        if self.update(tenant, id, at).await?
            || self.create(tenant, id, at).await?
            || self.update(tenant, id, at).await?
        {
            return Ok(());
        }
        Err("the timer is being made and taken away at the same time".into())
    }

    /// False when it is not there.
    async fn update(&self, tenant: Tenant, id: ScheduleId, at: Timestamp) -> Result<bool, Fault> {
        let call = self.client.update_schedule().name(id.to_string()).group_name(&self.group);
        let call = call.schedule_expression(expression(at)).schedule_expression_timezone(UTC);
        let call = call.flexible_time_window(exactly()?).target(self.target(tenant, id)?);
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(false)
            }
            Err(error) => Err(CallFault::of("UpdateSchedule", &error).into()),
        }
    }

    /// False when it is there already.
    async fn create(&self, tenant: Tenant, id: ScheduleId, at: Timestamp) -> Result<bool, Fault> {
        let call = self.client.create_schedule().name(id.to_string()).group_name(&self.group);
        let call = call.schedule_expression(expression(at)).schedule_expression_timezone(UTC);
        let call = call.flexible_time_window(exactly()?).target(self.target(tenant, id)?);
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_conflict_exception()) => Ok(false),
            Err(error) => Err(CallFault::of("CreateSchedule", &error).into()),
        }
    }

    async fn delete(&self, id: ScheduleId) -> Result<(), Fault> {
        match self.client.delete_schedule().name(id.to_string()).group_name(&self.group).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                Ok(())
            }
            Err(error) => Err(CallFault::of("DeleteSchedule", &error).into()),
        }
    }

    /// The workers' queue, with a message that names the schedule.
    fn target(&self, tenant: Tenant, id: ScheduleId) -> Result<Target, BuildError> {
        let message = Chunk::of_schedule(tenant, id).body();
        Target::builder().arn(&self.queue_arn).role_arn(&self.role_arn).input(message).build()
    }
}

fn exactly() -> Result<FlexibleTimeWindow, BuildError> {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build()
}

/// The moment in UTC, never earlier than it is.
fn expression(at: Timestamp) -> String {
    let whole = Timestamp::from_millis(at.seconds_ceil().saturating_mul(1_000)).rfc3339_seconds();
    format!("at({})", whole.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_never_said_too_early() {
        let said = |text| expression(Timestamp::parse_rfc3339(text).unwrap());
        assert_eq!(said("2026-12-01T08:00:00Z"), "at(2026-12-01T08:00:00)");
        assert_eq!(said("2026-12-01T08:00:00.001+01:00"), "at(2026-12-01T07:00:01)");
    }
}

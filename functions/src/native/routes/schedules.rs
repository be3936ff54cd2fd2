//! Schedules.

use crate::native::{
    schedule_views::{FiringView, NextView, ScheduleView},
    schedules::{self, CreateSchedule, NextQuery, UpdateSchedule},
    views::{ListQuery, PageView},
};

crate::route::routes! { Native;
    /// Make a schedule: a run or a batch is started at its times
    create_schedule = POST "/v1/schedules" => schedules::create_schedule {
        body: CreateSchedule,
        answer: 201 ScheduleView | 404,
        access: [write api_keys, read agents, write runs, write messages, write files, use models, set timers],
    }
    /// List schedules, newest first
    list_schedules = GET "/v1/schedules" => schedules::list_schedules {
        query: ListQuery,
        answer: 200 PageView<ScheduleView>,
        access: [write api_keys, write runs],
        wait: Long,
    }
    /// Get a schedule: whether it is active, when its next time is, and what came of the last
    get_schedule = GET "/v1/schedules/{schedule_id}" => schedules::get_schedule {
        answer: 200 ScheduleView,
        access: [write api_keys, write runs],
    }
    /// Change, pause or resume a schedule
    update_schedule = PATCH "/v1/schedules/{schedule_id}" => schedules::update_schedule {
        body: UpdateSchedule,
        answer: 200 ScheduleView,
        access: [write api_keys, read agents, write runs, write messages, write files, use models, send queue, set timers],
    }
    /// Delete a schedule: what it started goes on
    delete_schedule = DELETE "/v1/schedules/{schedule_id}" => schedules::delete_schedule {
        answer: 204,
        access: [write api_keys, write runs, set timers],
    }
    /// Fire a schedule now, also a paused one: it starts something, waits or is skipped as at its times
    run_schedule = POST "/v1/schedules/{schedule_id}/run" => schedules::run_schedule {
        answer: 202 FiringView,
        access: [write api_keys, read agents, write runs, write messages, send queue, read files, use models],
    }
    /// List a schedule's next times
    list_next_times = GET "/v1/schedules/{schedule_id}/next" => schedules::list_next_times {
        query: NextQuery,
        answer: 200 NextView,
        access: [write api_keys, write runs],
    }
    /// List what became of a schedule's times, newest first, for 90 days
    list_firings = GET "/v1/schedules/{schedule_id}/firings" => schedules::list_firings {
        query: ListQuery,
        answer: 200 PageView<FiringView>,
        access: [write api_keys, write runs],
    }
}

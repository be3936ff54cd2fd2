//! CoAgent's surface: agents, completions, test sets, providers, logs. Knows no other surface.

pub(crate) mod error;
mod health;

use health::Health;

crate::route::routes! { Coagent;
    /// Whether the service is up
    coagent_health = GET "/health" => health::coagent_health {
        answer: 200 Health,
        access: [],
    }
    /// Whether the service is up
    coagent_api_health = GET "/api/v1/health" => health::coagent_health {
        answer: 200 Health,
        access: [],
    }
}

//! Tenants that nothing is heard of for long lose their links and their metrics (spec: metrics-health §2, `tenantIdleTimeout`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pipeline::Pipeline;

/// Looks for idle tenants again and again.
pub(super) async fn forget(pipeline: Arc<Pipeline>, timeout: Duration) {
    let mut ticks = tokio::time::interval((timeout / 4).clamp(SHORTEST, LONGEST));
    loop {
        ticks.tick().await;
        for tenant in pipeline
            .observer
            .metrics()
            .forget_idle(Instant::now(), timeout)
        {
            pipeline.uplink.close_idle(&tenant, timeout);
            tracing::info!(tenant, "closed links and removed metrics of an idle tenant");
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

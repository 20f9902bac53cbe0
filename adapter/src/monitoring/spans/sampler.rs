//! Which traces are kept where the tenant does not say it (`otel.traces.sampler`). All traces begin here, so whether the sampler
//! goes by a parent makes no difference.

use opentelemetry::trace::TraceId;

use crate::config::TracingConfig;

/// Decides by the trace's id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampler {
    /// Every trace.
    Always,
    /// No trace.
    Never,
    /// This share of them, from 0 to 1.
    Share(f64),
}

/// The argument is no share.
#[derive(Debug, thiserror::Error)]
#[error("`otel.traces.sampler.arg` is `{0}`, but should be a number from 0 to 1")]
pub struct SamplerError(String);

impl Sampler {
    /// As configured.
    ///
    /// # Errors
    /// [`SamplerError`] if a share is wanted and none is given.
    pub fn of(config: &TracingConfig) -> Result<Self, SamplerError> {
        match config.sampler.trim_start_matches("parentbased_") {
            "always_off" => Ok(Self::Never),
            "traceidratio" => {
                let argument = config.sampler_argument.as_deref().unwrap_or("1");
                let share = argument.trim().parse().ok();
                let share = share.filter(|share| (0.0..=1.0).contains(share));
                share
                    .map(Self::Share)
                    .ok_or_else(|| SamplerError(argument.to_owned()))
            }
            _ => Ok(Self::Always),
        }
    }

    /// The same for all spans of a trace, in whichever process; ids are random in their last eight bytes.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more precision"
    )]
    pub fn keeps(self, trace: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
        let random = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Share(share) => (random as f64) < share * u64::MAX as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(name: &str, argument: Option<&str>) -> Result<Sampler, SamplerError> {
        let mut config = TracingConfig::default();
        name.clone_into(&mut config.sampler);
        config.sampler_argument = argument.map(str::to_owned);
        Sampler::of(&config)
    }

    #[test]
    fn every_sampler_keeps_its_share() {
        let rows = [
            ("always_on", None, 1000..=1000),
            ("parentbased_always_on", None, 1000..=1000),
            ("always_off", None, 0..=0),
            ("parentbased_always_off", None, 0..=0),
            ("traceidratio", Some("0.25"), 200..=300),
            ("parentbased_traceidratio", Some("1"), 1000..=1000),
            ("traceidratio", Some("0"), 0..=0),
        ];
        for (name, argument, share) in rows {
            let sampler = sampler(name, argument).unwrap();
            let traces = (0..1000_u128).map(|number| {
                TraceId::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
            });
            let kept = traces.filter(|trace| sampler.keeps(*trace)).count();
            assert!(share.contains(&kept), "{name} {argument:?}: {kept}");
        }
    }

    #[test]
    fn a_share_that_is_none_is_told() {
        for argument in ["x", "1.1", "-1", "NaN"] {
            let told = sampler("traceidratio", Some(argument)).unwrap_err();
            assert!(told.to_string().contains(argument), "{told}");
        }
    }
}

//! Points in time as the registry writes them: ISO 8601 with an offset from UTC, `2025-01-01T00:00:00+01:00` or `...Z`.

use std::time::SystemTime;

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};

/// The time, unless the text is no date, time of day and offset.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let local = text.strip_suffix(['Z', 'z']);
    let at = match local {
        Some(local) => PrimitiveDateTime::parse(local, LOCAL).ok()?.assume_utc(),
        None => OffsetDateTime::parse(text, WITH_OFFSET).ok()?,
    };
    Some(at.into())
}

/// Seconds and their fraction may be left out.
const LOCAL: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day]T[hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
);

const WITH_OFFSET: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[year]-[month]-[day]T[hour]:[minute][optional [:[second][optional [.[subsecond]]]]][offset_hour sign:mandatory]:[offset_minute]"
);

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::parse;

    #[test]
    fn the_first_and_the_last_time_there_can_be_are_times_or_not_but_no_panic() {
        for text in [
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00+23:59",
            "-9999-01-01T00:00:00+23:59",
            "+10000-01-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "2025-01-01T00:00:00+25:00",
        ] {
            if let Some(at) = parse(text) {
                assert_ne!(at, SystemTime::UNIX_EPOCH, "{text}");
            }
        }
    }

    #[test]
    fn a_time_needs_a_date_a_time_of_day_and_an_offset() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let fraction = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_735_689_600_250));
        for (text, expected) in [
            ("2025-01-01T00:00:00Z", at(1_735_689_600)),
            ("2025-01-01T00:00:00z", at(1_735_689_600)),
            ("2025-01-01T01:00:00+01:00", at(1_735_689_600)),
            ("2024-12-31T22:30:00-01:30", at(1_735_689_600)),
            ("2025-01-01T00:00Z", at(1_735_689_600)),
            ("2025-01-01T01:00+01:00", at(1_735_689_600)),
            ("2025-01-01T00:00:00.25Z", fraction),
            ("2025-01-01T01:00:00.250000000+01:00", fraction),
            ("2025-01-01T00:00:00", None),
            ("2025-01-01", None),
            ("2025-13-01T00:00:00Z", None),
            ("2025-02-29T00:00:00Z", None),
            ("2025-01-01 00:00:00Z", None),
            ("2025-01-01T00:00:00Z ", None),
            ("1735689600", None),
            ("", None),
            ("Z", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}

//! The adapter's metrics page, as Prometheus reads it.

use acceptance::stand::{Stand, page};

/// One look at the page.
pub(crate) struct Metrics(String);

impl Metrics {
    pub(crate) async fn of(stand: &Stand) -> Self {
        let (status, text) = page(stand.app().health_address(), "/prometheus")
            .await
            .unwrap();
        assert_eq!(status, 200);
        Self(text)
    }

    /// The values of all samples of this name with these labels, added up; 0 if there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, rest) = series.split_once('{')?;
            let fits = found == name
                && labels.iter().all(|(label, value)| {
                    let pair = format!("{label}=\"{value}\"");
                    rest.trim_end_matches('}').split(',').any(|it| it == pair)
                });
            fits.then(|| value.parse::<f64>().unwrap())
        });
        samples.fold(0.0, |sum, value| sum + value)
    }
}

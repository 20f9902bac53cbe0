//! A run as a picture (SVG): latency by percentile, and what was answered in each second.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use crate::{scenario::Operation, tally::Tally};

/// Draws both, one over the other.
pub(crate) fn draw(tally: &Tally, title: &str, path: &Path) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    latencies(&upper, tally, title)?;
    throughput(&lower, tally)?;
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Each operation's percentiles; the axis shows how rare something is, so that the slow ones have room.
fn latencies(area: &Area<'_>, tally: &Tally, title: &str) -> Result<(), Box<dyn Error>> {
    let all: Vec<(Operation, Vec<(f64, f64)>)> = Operation::ALL
        .into_iter()
        .filter_map(|operation| Some((operation, tally.latencies.get(&operation)?)))
        .map(|(operation, histogram)| {
            let points = (0..=RARENESS * 10).map(|tenth| {
                let rareness = f64::from(tenth) / 10.0;
                let percent = 100.0 - 100.0 * 0.1_f64.powf(rareness);
                (rareness, histogram.percentile(percent).max(LEAST))
            });
            (operation, points.collect())
        })
        .collect();
    let values = || all.iter().flat_map(|(_, points)| points).map(|(_, y)| *y);
    let most = values().fold(LEAST * 10.0, f64::max) * 1.5;
    let least = values().fold(most, f64::min) / 1.5;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..f64::from(RARENESS), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("latency in ms")
        .x_labels(RARENESS as usize + 1)
        .x_label_formatter(&|rareness| format!("{}", 100.0 - 100.0 * 0.1_f64.powf(*rareness)))
        .draw()?;
    for (place, (operation, points)) in all.into_iter().enumerate() {
        let colour = Palette99::pick(place).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, colour))?
            .label(operation.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far from 2^53")]
fn throughput(area: &Area<'_>, tally: &Tally) -> Result<(), Box<dyn Error>> {
    let good: Vec<(f64, f64)> = (0..)
        .zip(&tally.seconds)
        .map(|(second, it)| (f64::from(second), it.good as f64))
        .collect();
    let bad: Vec<(f64, f64)> = (0..)
        .zip(&tally.seconds)
        .map(|(second, it)| (f64::from(second), it.bad as f64))
        .collect();
    let most = good.iter().chain(&bad).map(|it| it.1).fold(1.0, f64::max) * 1.1;
    let last = good.last().map_or(1.0, |it| it.0.max(1.0));
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last, 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("seconds since the start")
        .y_desc("answered a second")
        .draw()?;
    for (points, colour, name) in [(good, GREEN, "well"), (bad, RED, "badly or not")] {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// Pixels.
const SIZE: (u32, u32) = (800, 700);
/// The last percentile is 99.999.
const RARENESS: u32 = 5;
/// Milliseconds; a logarithm needs something.
const LEAST: f64 = 0.001;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{scenario::Operation, tally::Tally};

    #[test]
    fn a_picture_has_a_line_for_each_operation_that_was_measured() {
        let mut tally = Tally::new();
        for operation in [Operation::Event, Operation::Command] {
            for micros in [300, 500, 90_000] {
                tally.record(
                    operation,
                    Duration::from_micros(micros),
                    Duration::ZERO,
                    true,
                );
            }
        }
        let path = std::env::temp_dir().join(format!("load-{}.svg", std::process::id()));
        super::draw(&tally, "a run", &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for word in ["<svg", "a run", "event", "command", "percentile"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(!text.contains("telemetry"));
    }
}

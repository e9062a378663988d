//! What a client found, as one JSON object on one line.

use std::fmt;

use crate::clock::Taken;
use crate::histogram::Histogram;

/// Names and numbers in the order in which they were put in.
#[derive(Default)]
pub struct Report {
    figures: Vec<(String, f64)>,
}

impl Report {
    /// What every mode reports: how many requests in which time, and what they cost.
    pub fn new(requests: u64, taken: &Taken) -> Report {
        Report::default()
            .with("requests", requests as f64)
            .with("seconds", taken.time as f64 / 1e9)
            .with("server_cpu_us", taken.server_time as f64 / 1e3)
            .with("client_cpu_us", taken.client_time as f64 / 1e3)
    }

    pub fn with(mut self, name: &str, value: f64) -> Report {
        self.figures.push((name.to_owned(), value));
        self
    }

    /// Latencies, under names that begin with `prefix`.
    pub fn with_latencies(self, prefix: &str, histogram: &Histogram) -> Report {
        self.with(&format!("{prefix}p50_us"), histogram.percentile(0.5))
            .with(&format!("{prefix}p99_us"), histogram.percentile(0.99))
            .with(&format!("{prefix}max_us"), histogram.max())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (place, (name, value)) in self.figures.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            // Names are this program's or letters that the harness gave to a group.
            write!(f, "{comma}\"{name}\": {}", (value * 1e6).round() / 1e6)?;
        }
        f.write_str("}")
    }
}

//! Latencies by the hundred thousand: counted in buckets, read as percentiles.
//!
//! 32 buckets for each power of two, so a percentile is right to 3 %; adding
//! one is a shift and an increment, which the client can afford per request.

const PER_DOUBLING: usize = 32;
const SHIFT: u32 = PER_DOUBLING.ilog2();
const BUCKETS: usize = (64 - SHIFT as usize + 1) * PER_DOUBLING;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    #[inline]
    pub fn add(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// Microseconds.
    pub fn max(&self) -> f64 {
        self.max as f64 / 1000.0
    }

    /// The value that so large a part of all does not exceed, in microseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        let rank = (self.total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return middle(index).min(self.max as f64) / 1000.0;
            }
        }
        0.0
    }
}

#[inline]
fn bucket(value: u64) -> usize {
    if value < PER_DOUBLING as u64 {
        return value as usize;
    }
    let doubling = value.ilog2() - SHIFT;
    (doubling as usize + 1) * PER_DOUBLING + (value >> doubling) as usize - PER_DOUBLING
}

fn middle(index: usize) -> f64 {
    if index < PER_DOUBLING {
        return index as f64;
    }
    let doubling = index / PER_DOUBLING - 1;
    let first = (index % PER_DOUBLING + PER_DOUBLING) as u64;
    ((first << doubling) as f64) + (1u64 << doubling) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_percent() {
        let mut histogram = Histogram::new();
        for value in 1..=100_000u64 {
            histogram.add(value * 10);
        }
        for (part, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.percentile(part);
            assert!((found / exact - 1.0).abs() < 0.03, "{part}: {found}");
        }
        assert_eq!(histogram.max(), 1000.0);
        assert_eq!(histogram.total(), 100_000);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for value in 0..100_000u64 {
            let this = bucket(value);
            assert!(this == last || this == last + 1, "{value}");
            last = this;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn an_empty_histogram_has_no_percentiles() {
        assert_eq!(Histogram::new().percentile(0.5), 0.0);
    }
}

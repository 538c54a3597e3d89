//! Medians and quantiles of small samples.

use serde::Serialize;

/// The middle of a sample and its bounds.
#[derive(Clone, Copy, Serialize, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(sample: &[f64]) -> Spread {
        let sorted = sorted(sample);
        Spread { median: median(&sorted), min: quantile(&sorted, 0.0), max: quantile(&sorted, 1.0) }
    }
}

/// What the paper tells of a series of times.
#[derive(Clone, Copy, Serialize, Debug)]
pub(crate) struct Series {
    pub(crate) average: f64,
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

impl Series {
    pub(crate) fn of(sample: &[f64]) -> Series {
        let sorted = sorted(sample);
        let average = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
        Series { average, median: median(&sorted), p99: quantile(&sorted, 0.99) }
    }

    /// Average, median and p99 as cells of a table.
    pub(crate) fn cells(&self, digits: usize) -> [String; 3] {
        [self.average, self.median, self.p99].map(|time| format!("{time:.digits$}"))
    }
}

/// A sample in ascending order.
pub(crate) fn sorted(sample: &[f64]) -> Vec<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The middle of a sorted sample; of an even one, between the middle two.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted {
        [] => f64::NAN,
        _ if sorted.len().is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The smallest value that at least the share `q` of a sorted sample does not exceed.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{Series, Spread, median, quantile, sorted};

    #[test]
    fn the_middle_and_the_ends() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(median(&sorted(&[4.0, 1.0])), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_quantile_is_a_value_of_the_sample() {
        let sample: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&sample, 0.5), 50.0);
        assert_eq!(quantile(&sample, 0.99), 99.0);
        assert_eq!(quantile(&sample, 1.0), 100.0);
        assert_eq!(quantile(&sample, 0.0), 1.0);
        assert_eq!(Series::of(&sample).average, 50.5);
    }
}

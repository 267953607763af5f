//! Throughput and latency of the last minutes, a point for each interval.

use std::collections::VecDeque;

use serde::Serialize;

/// How many points are kept.
pub(crate) const POINTS_MAX: usize = 600;

/// What happened in one interval. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    /// When it ended, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) done_rate: f64,
    pub(crate) failed_rate: f64,
    pub(crate) waiting: u64,
    pub(crate) in_flight: u64,
    /// Of all attempts that were answered in it; none if there was none.
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) wait_p99_us: Option<u64>,
}

/// The latest points, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    points: VecDeque<Point>,
}

impl History {
    pub(crate) fn push(&mut self, point: Point) {
        if self.points.len() == POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    pub(crate) fn points(&self) -> &VecDeque<Point> {
        &self.points
    }
}

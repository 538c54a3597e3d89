//! Places on a map as scores: Redis's geohashes of 52 bits, distances, and the cells that a search looks at.
//!
//! A geohash halves the map by turns, by longitude and latitude: its bits are those of both numbers by
//! turns. Places that are near each other mostly share their first bits, so a cell of the map is one range
//! of scores. Latitudes are those of web maps, up to 85.05 degrees.

use std::f64::consts::PI;
use std::ops::Range;

/// Bits of each number.
const STEPS: u32 = 26;
/// The radius of the earth in metres, as Redis has it.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Half the circumference of the earth on a web map, in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;
/// The greatest longitude.
pub(super) const LONGITUDE_MAX: f64 = 180.0;
/// The greatest latitude.
pub(super) const LATITUDE_MAX: f64 = 85.051_128_78;

/// Longitude and latitude in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Place {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// Spreads the bits of a number, so that there is room for another's between.
fn spread(n: u32) -> u64 {
    let mut n = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        n = (n | n << shift) & mask;
    }
    n
}

/// Takes every other bit.
fn gather(n: u64) -> u32 {
    let mut n = n & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        n = (n | n >> shift) & mask;
    }
    n as u32
}

/// A cell of the map: `steps` bits of each number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    x: u32,
    y: u32,
    steps: u32,
}

/// From which to which degree.
#[derive(Clone, Copy, Debug)]
struct Span {
    min: f64,
    max: f64,
}

impl Cell {
    fn of(place: Place, latitude_max: f64, steps: u32) -> Cell {
        let part = |n: f64, max: f64| ((n + max) / (2.0 * max) * f64::from(1u32 << steps)) as u32;
        Cell {
            x: part(place.longitude, LONGITUDE_MAX),
            y: part(place.latitude, latitude_max),
            steps,
        }
    }

    fn bits(self) -> u64 {
        spread(self.x) << 1 | spread(self.y)
    }

    fn span(n: u32, steps: u32, max: f64) -> Span {
        let unit = f64::from(1u32 << steps);
        let edge = |n: f64| -max + n / unit * (2.0 * max);
        Span { min: edge(f64::from(n)), max: edge(f64::from(n) + 1.0) }
    }

    fn longitudes(self) -> Span {
        Cell::span(self.x, self.steps, LONGITUDE_MAX)
    }

    fn latitudes(self) -> Span {
        Cell::span(self.y, self.steps, LATITUDE_MAX)
    }

    /// The neighbour so many cells east and north, around the map.
    fn neighbour(self, east: i32, north: i32) -> Cell {
        let mask = (1u32 << self.steps) - 1;
        // The very edge of the map is one cell too far: it stays where it is.
        let moved = |n: u32, by: i32| if by == 0 { n } else { n.wrapping_add_signed(by) & mask };
        Cell { x: moved(self.x, east), y: moved(self.y, north), steps: self.steps }
    }

    fn scores(self) -> Range<f64> {
        let shift = 52 - 2 * self.steps;
        let bits = self.bits();
        (bits << shift) as f64..((bits + 1) << shift) as f64
    }
}

impl Place {
    /// The score that stands for it.
    pub(super) fn score(self) -> f64 {
        Cell::of(self, LATITUDE_MAX, STEPS).bits() as f64
    }

    /// The middle of the smallest cell, which a score stands for.
    pub(super) fn of_score(score: f64) -> Place {
        let bits = score as u64;
        let cell = Cell { x: gather(bits >> 1), y: gather(bits), steps: STEPS };
        let middle = |span: Span, max: f64| ((span.min + span.max) / 2.0).clamp(-max, max);
        Place {
            longitude: middle(cell.longitudes(), LONGITUDE_MAX),
            latitude: middle(cell.latitudes(), LATITUDE_MAX),
        }
    }

    /// The usual geohash of 11 characters, of latitudes up to 90 degrees. Only 52 bits are known, so the
    /// last is always 0.
    pub(super) fn text(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, 90.0, STEPS).bits();
        std::array::from_fn(|at| match at {
            10 => ALPHABET[0],
            _ => ALPHABET[(bits >> (52 - (at + 1) * 5) & 31) as usize],
        })
    }

    /// The way to another place in metres, along a great circle of a sphere.
    pub(super) fn distance(self, to: Place) -> f64 {
        let v = ((radians(to.longitude) - radians(self.longitude)) / 2.0).sin();
        if v == 0.0 {
            return latitude_distance(self, to);
        }
        let (from_latitude, to_latitude) = (radians(self.latitude), radians(to.latitude));
        let u = ((to_latitude - from_latitude) / 2.0).sin();
        let a = u * u + from_latitude.cos() * to_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

fn latitude_distance(from: Place, to: Place) -> f64 {
    EARTH_RADIUS * (radians(to.latitude) - radians(from.latitude)).abs()
}

/// What a search covers, in metres.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Shape {
    Circle(f64),
    /// Width and height.
    Box(f64, f64),
}

/// A search around a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) middle: Place,
    pub(super) shape: Shape,
}

impl Area {
    /// How far a place is from the middle in metres, if it is within.
    pub(super) fn within(&self, place: Place) -> Option<f64> {
        let distance = self.middle.distance(place);
        match self.shape {
            Shape::Circle(radius) => (distance <= radius).then_some(distance),
            Shape::Box(width, height) => {
                let beside = Place { longitude: self.middle.longitude, ..place };
                let there = latitude_distance(place, self.middle) <= height / 2.0
                    && place.distance(beside) <= width / 2.0;
                there.then_some(distance)
            }
        }
    }

    /// The longitudes and latitudes between which it is.
    fn bounds(&self) -> (Span, Span) {
        let (width, height) = match self.shape {
            Shape::Circle(radius) => (radius, radius),
            Shape::Box(width, height) => (width / 2.0, height / 2.0),
        };
        let Place { longitude, latitude } = self.middle;
        let north = degrees(height / EARTH_RADIUS);
        // Wider in degrees on the side of the pole.
        let side = if latitude < 0.0 { latitude - north } else { latitude + north };
        let east = degrees(width / EARTH_RADIUS / radians(side).cos());
        (
            Span { min: longitude - east, max: longitude + east },
            Span { min: latitude - north, max: latitude + north },
        )
    }

    /// How fine the cells are of which nine cover the area.
    fn steps(&self) -> u32 {
        let mut radius = match self.shape {
            Shape::Circle(radius) => radius,
            Shape::Box(width, height) => ((width / 2.0).powi(2) + (height / 2.0).powi(2)).sqrt(),
        };
        if radius == 0.0 {
            return STEPS;
        }
        let mut steps = 1i32;
        while radius < MERCATOR_MAX && steps < 64 {
            radius *= 2.0;
            steps += 1;
        }
        // Cells are narrower towards the poles.
        let latitude = self.middle.latitude.abs();
        steps -= 2 + i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS as i32).unsigned_abs()
    }

    /// The ranges of scores that cover it, in the order in which Redis looks at them.
    pub(super) fn scores(&self) -> Vec<Range<f64>> {
        let (longitudes, latitudes) = self.bounds();
        let mut steps = self.steps();
        let mut cell = Cell::of(self.middle, LATITUDE_MAX, steps);
        let small = cell.neighbour(0, 1).latitudes().max < latitudes.max
            || cell.neighbour(0, -1).latitudes().min > latitudes.min
            || cell.neighbour(1, 0).longitudes().max < longitudes.max
            || cell.neighbour(-1, 0).longitudes().min > longitudes.min;
        if steps > 1 && small {
            steps -= 1;
            cell = Cell::of(self.middle, LATITUDE_MAX, steps);
        }
        let (x, y) = (cell.longitudes(), cell.latitudes());
        let mut cells: Vec<Cell> = Vec::with_capacity(9);
        for (east, north) in
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]
        {
            // A side that the area does not reach is left out.
            let out = (north < 0 && y.min < latitudes.min)
                || (north > 0 && y.max > latitudes.max)
                || (east < 0 && x.min < longitudes.min)
                || (east > 0 && x.max > longitudes.max);
            let next = cell.neighbour(east, north);
            if (steps < 2 || !out) && !cells.contains(&next) {
                cells.push(next);
            }
        }
        cells.into_iter().map(Cell::scores).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Place = Place { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Place = Place { longitude: 15.087269, latitude: 37.502669 };

    #[test]
    fn scores_texts_and_distances_are_those_of_redis() {
        assert_eq!(PALERMO.score().to_bits(), 3_479_099_956_230_698f64.to_bits());
        assert_eq!(CATANIA.score().to_bits(), 3_479_447_370_796_909f64.to_bits());
        let (palermo, catania) =
            (Place::of_score(PALERMO.score()), Place::of_score(CATANIA.score()));
        assert_eq!(format!("{:.17}", palermo.longitude), "13.36138933897018433");
        assert_eq!(format!("{:.17}", palermo.latitude), "38.11555639549629859");
        assert_eq!(&palermo.text(), b"sqc8b49rny0");
        assert_eq!(&catania.text(), b"sqdtr74hyu0");
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
    }

    /// What is within an area has its score in one of the ranges.
    #[test]
    fn ranges_cover_the_area() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut around = |middle: f64, wide: f64, max: f64| {
                (middle + (random.f64() - 0.5) * wide).clamp(-max, max)
            };
            let middle =
                Place { longitude: around(0.0, 300.0, 180.0), latitude: around(0.0, 130.0, 85.0) };
            let place = Place {
                longitude: around(middle.longitude, 4.0, 180.0),
                latitude: around(middle.latitude, 4.0, 85.0),
            };
            let radius = middle.distance(place) * (1.0 + random.f64());
            for shape in [Shape::Circle(radius), Shape::Box(radius * 2.0, radius)] {
                let area = Area { middle, shape };
                let place = Place::of_score(place.score());
                if area.within(place).is_some() {
                    let score = place.score();
                    assert!(
                        area.scores().iter().any(|range| range.contains(&score)),
                        "{place:?} {area:?}"
                    );
                }
            }
        }
    }
}

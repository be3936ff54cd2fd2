//! The axes of a plot: where a value is on one, and which values are named.

/// More than so many times between the least and the greatest price, and they stand by their powers of ten.
const LOG_FROM: f64 = 20.0;

/// How much of a logarithmic axis is left at its beginning for what is free, which it has no place for.
const FREE: f64 = 0.08;

/// An axis from 0 (its beginning) to 1 (its end).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    /// The values that are named, in order.
    pub(super) ticks: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear {
        low: f64,
        high: f64,
    },
    /// Powers of ten of the ends, the first of them at `from`.
    Log {
        low: f64,
        high: f64,
        from: f64,
    },
}

impl Axis {
    /// For shares from 0 to 1, of which the least and the greatest that are drawn are these: it begins at 0, or at a tenth from a half on.
    pub(super) fn of_shares(least: f64, greatest: f64) -> Self {
        let low = (least * 10.0).floor() / 10.0;
        let low = if (0.5..=0.8).contains(&low) {
            low
        } else if low > 0.8 {
            0.8
        } else {
            0.0
        };
        let high = ((greatest * 10.0).ceil() / 10.0).clamp((low + 0.2).min(1.0), 1.0);
        let step = if high - low > 0.5 {
            0.2
        } else if high - low > 0.25 {
            0.1
        } else {
            0.05
        };
        Self { scale: Scale::Linear { low, high }, ticks: multiples(step, low, high) }
    }

    /// For prices: `of` are those of the points, `greatest` is the greatest and `least` the least positive one that is drawn.
    pub(super) fn of_prices(of: &[f64], least: f64, greatest: f64) -> Self {
        let positive = || of.iter().copied().filter(|price| *price > 0.0);
        let (low, high) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
        if high <= 0.0 || greatest <= 0.0 {
            return Self { scale: Scale::Linear { low: 0.0, high: 1.0 }, ticks: vec![0.0] };
        }
        if high / low <= LOG_FROM {
            let step = nice(greatest / 5.0);
            let high = (greatest / step).ceil() * step;
            return Self { scale: Scale::Linear { low: 0.0, high }, ticks: multiples(step, 0.0, high) };
        }
        let free = of.iter().any(|price| *price <= 0.0);
        let (low, high) = (least.log10(), greatest.log10());
        let mut ticks = if free { vec![0.0] } else { Vec::new() };
        ticks.extend(powers(low, high));
        Self { scale: Scale::Log { low, high, from: if free { FREE } else { 0.0 } }, ticks }
    }

    /// Where the value is: 0 to 1.
    pub(super) fn at(&self, value: f64) -> f64 {
        let at = match self.scale {
            Scale::Linear { low, high } => (value - low) / (high - low),
            Scale::Log { .. } if value <= 0.0 => 0.0,
            Scale::Log { low, high, from } => from + (1.0 - from) * (value.log10() - low) / (high - low),
        };
        if at.is_finite() { at.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Where it is broken, between what is free and the least price.
    pub(super) const fn breaks(&self) -> Option<f64> {
        match self.scale {
            Scale::Log { from, .. } if from > 0.0 => Some(from / 2.0),
            Scale::Log { .. } | Scale::Linear { .. } => None,
        }
    }

    /// Whether it stands by its powers of ten.
    pub(super) const fn logarithmic(&self) -> bool {
        matches!(self.scale, Scale::Log { .. })
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not less than this.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let of = |times: f64| power * times;
    [of(1.0), of(2.0), of(5.0)].into_iter().find(|nice| step <= nice * 1.000_001).unwrap_or(of(10.0))
}

/// The multiples of the step from one value to the other.
fn multiples(step: f64, low: f64, high: f64) -> Vec<f64> {
    (0..=20_u8).map(|index| low + step * f64::from(index)).take_while(|tick| *tick <= high + step / 100.0).collect()
}

/// Values between two powers of ten: 1, 2 and 5 times one while they are few, else each, or each second, third… power.
fn powers(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    let times: &[f64] = if span <= 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = (span / 8.0).ceil().max(1.0);
    let first = (low / every).floor() * every;
    (0..=20_u8)
        .map(|index| 10_f64.powf(first + every * f64::from(index)))
        .flat_map(|power| times.iter().map(move |times| power * times))
        .filter(|tick| (low - 1e-9..=high + 1e-9).contains(&tick.log10()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], expected: &[f64]) {
        let close = |(one, other): (&f64, &f64)| (one - other).abs() <= 1e-9 * other.abs().max(1e-9);
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(close), "{found:?}");
    }

    #[test]
    fn prices_of_one_size_begin_at_nothing() {
        let axis = Axis::of_prices(&[10.0, 90.0], 5.0, 120.0);
        assert!(!axis.logarithmic());
        near(&axis.ticks, &[0.0, 50.0, 100.0, 150.0]);
        near(&[axis.at(0.0), axis.at(75.0), axis.at(150.0)], &[0.0, 0.5, 1.0]);
        near(&Axis::of_prices(&[0.0, 7.0], 6.0, 10.0).ticks, &[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn prices_of_many_sizes_stand_by_their_powers_of_ten() {
        let axis = Axis::of_prices(&[1.0, 100.0], 1.0, 100.0);
        assert!(axis.logarithmic());
        near(&axis.ticks, &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        near(&[axis.at(1.0), axis.at(10.0), axis.at(100.0)], &[0.0, 0.5, 1.0]);
        near(&Axis::of_prices(&[1.0, 1e4], 0.5, 2e4).ticks, &[1.0, 10.0, 100.0, 1e3, 1e4]);
        assert!(Axis::of_prices(&[1e-4, 1e12], 1e-5, 1e13).ticks.len() <= 10);
        assert!(!Axis::of_prices(&[1.0, 20.0], 0.1, 200.0).logarithmic());
    }

    #[test]
    fn what_is_free_has_a_place_of_its_own() {
        let axis = Axis::of_prices(&[0.0, 1.0, 100.0], 1.0, 100.0);
        near(&[axis.at(0.0), axis.at(1.0), axis.at(100.0), axis.ticks[0]], &[0.0, FREE, 1.0, 0.0]);
        let axis = Axis::of_prices(&[0.0, 0.0], f64::INFINITY, 0.0);
        near(&[axis.at(0.0)], &[0.0]);
        near(&axis.ticks, &[0.0]);
    }

    #[test]
    fn shares_begin_at_nothing_unless_all_are_high() {
        let ticks = |least, greatest| Axis::of_shares(least, greatest).ticks;
        near(&ticks(0.1, 0.93), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        near(&ticks(0.0, 0.1), &[0.0, 0.05, 0.1, 0.15, 0.2]);
        near(&ticks(0.72, 0.99), &[0.7, 0.8, 0.9, 1.0]);
        near(&ticks(0.98, 1.0), &[0.8, 0.85, 0.9, 0.95, 1.0]);
    }
}

//! The figures as a table, each beside the floor's and its target.

use std::fmt;

/// A figure.
struct Figure {
    name: String,
    unit: &'static str,
    ours: f64,
    floor: Option<f64>,
    /// The most that it may be.
    most: Option<f64>,
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        ours: f64,
        floor: impl Into<Option<f64>>,
        most: impl Into<Option<f64>>,
    ) {
        let figure = Figure { name: name.into(), unit, ours, floor: floor.into(), most: most.into() };
        eprintln!("{figure}");
        self.figures.push(figure);
    }

    /// Whether every figure that has a target reaches it.
    pub(crate) fn met(&self) -> bool {
        self.figures.iter().all(Figure::met)
    }
}

impl Figure {
    fn met(&self) -> bool {
        self.most.is_none_or(|most| self.ours <= most)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, ours, floor, most } = self;
        let number = |value: f64| match value {
            value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        let or_dash = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
        let missed = if self.met() { "" } else { " (missed)" };
        write!(f, "| {name}, {unit} | {}{missed} | {} | {} |", number(*ours), or_dash(*floor), or_dash(*most))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | Muster | durable floor | at most |\n| --- | ---: | ---: | ---: |")?;
        self.figures.iter().try_for_each(|figure| writeln!(f, "{figure}"))
    }
}

/// The value below which this part of the values lies: 0.5 is the median.
pub(crate) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

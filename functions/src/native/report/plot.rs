//! The plot of an evaluation as SVG: what a correct answer costs (to the right) against how many are correct (upwards), with the 95 %
//! intervals of both, and the line below which somebody is better or cheaper.

use maud::{Markup, html};

use super::{
    super::evaluation_views::{ConfigurationView, EvaluationView, IntervalView},
    axis::Axis,
    labels::{Area, Label, Wanted, place},
    text::{percent, printable, shortened, usd},
    words,
};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;

/// Where the axes are.
const FRAME: Area = Area { left: 68.0, top: 14.0, right: 844.0, bottom: 380.0 };

/// How far from the frame the ends of the axes are, so that no point is cut.
const INSET: f64 = 16.0;

/// How long the names of points are, in characters.
const NAME_CHARS: usize = 32;

/// A configuration in the plot, in pixels.
struct Point {
    number: usize,
    about: String,
    short: String,
    x: f64,
    y: f64,
    /// The interval of its price.
    across: [f64; 2],
    /// The interval of its correctness.
    along: [f64; 2],
    unbeaten: bool,
}

/// What is known of a configuration with a price.
struct Priced<'a> {
    number: usize,
    column: &'a ConfigurationView,
    price: f64,
    prices: IntervalView,
    share: f64,
    shares: IntervalView,
}

/// The plot; `None` when no configuration has a price.
pub(super) fn plot(report: &EvaluationView) -> Option<Markup> {
    let priced: Vec<Priced<'_>> = (1..).zip(&report.configurations).filter_map(priced).collect();
    let first = priced.first()?;
    let least = |of: fn(&Priced<'_>) -> f64| priced.iter().map(of).fold(f64::INFINITY, f64::min);
    let greatest = |of: fn(&Priced<'_>) -> f64| priced.iter().map(of).fold(0.0, f64::max);
    let prices: Vec<f64> = priced.iter().map(|one| one.price).collect();
    let positive = |one: &Priced<'_>| if one.prices.low > 0.0 { one.prices.low } else { f64::INFINITY };
    let across = Axis::of_prices(&prices, least(positive), greatest(|one| one.prices.high));
    let along = Axis::of_shares(least(|one| one.shares.low), greatest(|one| one.shares.high));
    let differs = Differs::of(report, first.column);
    let points: Vec<Point> = priced.iter().map(|one| point(one, &across, &along, &differs)).collect();
    Some(drawn(&points, &across, &along))
}

fn priced((number, column): (usize, &ConfigurationView)) -> Option<Priced<'_>> {
    let (price, share) = (column.price_per_correct_micro_usd?, column.correctness?);
    let known = |interval: Option<IntervalView>, around: f64| {
        let finite = |of: &IntervalView| of.low.is_finite() && of.high.is_finite();
        interval.filter(finite).unwrap_or(IntervalView { low: around, high: around })
    };
    let prices = known(column.price_per_correct_interval, price);
    let shares = known(column.correctness_interval, share);
    (price.is_finite() && share.is_finite()).then_some(Priced { number, column, price, prices, share, shares })
}

/// Which parts of the configurations' names tell them apart.
struct Differs {
    agent: bool,
    version: bool,
    model: bool,
}

impl Differs {
    fn of(report: &EvaluationView, first: &ConfigurationView) -> Self {
        let any = |differs: fn(&ConfigurationView, &ConfigurationView) -> bool| {
            report.configurations.iter().any(|one| differs(one, first))
        };
        let model = any(|one, other| one.model != other.model);
        let version = any(|one, other| one.agent_id == other.agent_id && one.agent_version != other.agent_version);
        let agent = any(|one, other| one.agent_id != other.agent_id);
        Self { agent: agent || !(model || version), version, model }
    }

    fn name(&self, column: &ConfigurationView) -> String {
        let parts = [
            self.agent.then(|| column.agent_name.clone()),
            self.version.then(|| format!("v{}", column.agent_version)),
            self.model.then(|| column.model.clone()),
        ];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        shortened(&printable(&name), NAME_CHARS).into_owned()
    }
}

fn point(of: &Priced<'_>, across: &Axis, along: &Axis, differs: &Differs) -> Point {
    let x = |price: f64| FRAME.left + INSET + across.at(price) * (FRAME.right - FRAME.left - 2.0 * INSET);
    let y = |share: f64| FRAME.bottom - INSET - along.at(share) * (FRAME.bottom - FRAME.top - 2.0 * INSET);
    let Priced { number, column, price, prices, share, shares } = of;
    Point {
        number: *number,
        about: format!("{number}: {}: {} correct, {} each", words::name(column), percent(*share), usd(*price)),
        short: differs.name(column),
        x: x(*price),
        y: y(*share),
        across: [x(prices.low), x(prices.high)],
        along: [y(shares.low), y(shares.high)],
        unbeaten: column.unbeaten == Some(true),
    }
}

fn drawn(points: &[Point], across: &Axis, along: &Axis) -> Markup {
    let title =
        if across.logarithmic() { "Price per correct answer (logarithmic)" } else { "Price per correct answer" };
    html! {
        svg class="plot" role="img" aria-label="Price per correct answer against correctness" xmlns="http://www.w3.org/2000/svg"
            viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
            (grid(across, along))
            text class="title" x=(px(f64::midpoint(FRAME.left, FRAME.right))) y=(px(HEIGHT - 14.0)) text-anchor="middle" { (title) }
            text class="title" transform={ "translate(16 " (px(f64::midpoint(FRAME.top, FRAME.bottom))) ") rotate(-90)" } text-anchor="middle" { "Correct" }
            @for point in points { (bars(point)) }
            path class="front" d=(path(&front(points))) {}
            @let labels = labelled(points);
            @for [from, to] in labels.iter().filter_map(|label| label.leader) {
                line class="leader" x1=(px(from.0)) y1=(px(from.1)) x2=(px(to.0)) y2=(px(to.1)) {}
            }
            @for point in points {
                circle class=(if point.unbeaten { "point unbeaten" } else { "point" }) cx=(px(point.x)) cy=(px(point.y)) r="5.5" {
                    title { (printable(&point.about)) }
                }
            }
            @for label in &labels {
                text class="label" text-anchor=(label.anchor) x=(px(label.x())) y=(px(label.area.bottom - 3.5)) { (label.text) }
            }
        }
    }
}

fn grid(across: &Axis, along: &Axis) -> Markup {
    let x = |at: f64| FRAME.left + INSET + at * (FRAME.right - FRAME.left - 2.0 * INSET);
    let y = |at: f64| FRAME.bottom - INSET - at * (FRAME.bottom - FRAME.top - 2.0 * INSET);
    html! {
        @for tick in &along.ticks {
            @let at = px(y(along.at(*tick)));
            line class="grid" x1=(px(FRAME.left)) x2=(px(FRAME.right)) y1=(at) y2=(at) {}
            text class="tick" x=(px(FRAME.left - 8.0)) y=(at) dy="0.35em" text-anchor="end" { (format!("{:.0} %", tick * 100.0)) }
        }
        @for tick in &across.ticks {
            @let at = px(x(across.at(*tick)));
            line class="grid" x1=(at) x2=(at) y1=(px(FRAME.top)) y2=(px(FRAME.bottom)) {}
            text class="tick" x=(at) y=(px(FRAME.bottom + 18.0)) text-anchor="middle" { (usd(*tick)) }
        }
        @if let Some(at) = across.breaks() {
            path class="break" d={ "M" (px(x(at) - 5.0)) " " (px(FRAME.bottom + 5.0)) "l5 -10m3 0l-5 10" } {}
        }
        rect class="frame" x=(px(FRAME.left)) y=(px(FRAME.top)) width=(px(FRAME.right - FRAME.left)) height=(px(FRAME.bottom - FRAME.top)) {}
    }
}

fn bars(point: &Point) -> Markup {
    let Point { x, y, across: [left, right], along: [bottom, top], .. } = point;
    let class = if point.unbeaten { "bar unbeaten" } else { "bar" };
    html! {
        path class=(class) d={
            "M" (px(*left)) " " (px(*y)) "H" (px(*right)) "M" (px(*x)) " " (px(*bottom)) "V" (px(*top))
            "M" (px(*left)) " " (px(y - 4.0)) "v8M" (px(*right)) " " (px(y - 4.0)) "v8"
            "M" (px(x - 4.0)) " " (px(*bottom)) "h8M" (px(x - 4.0)) " " (px(*top)) "h8"
        } {}
    }
}

/// The line of those that nobody beats, from the cheapest: as correct as one of them is nobody for less, so it is a stair. Its corners.
fn front(points: &[Point]) -> Vec<(f64, f64)> {
    let mut on: Vec<&Point> = points.iter().filter(|point| point.unbeaten).collect();
    on.sort_by(|one, other| one.x.total_cmp(&other.x).then(other.y.total_cmp(&one.y)));
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for point in on {
        corners.extend(corners.last().map(|(_, y)| (point.x, *y)));
        corners.push((point.x, point.y));
    }
    corners
}

fn path(corners: &[(f64, f64)]) -> String {
    let to =
        |(index, (x, y)): (usize, &(f64, f64))| format!("{}{} {}", if index == 0 { 'M' } else { 'L' }, px(*x), px(*y));
    corners.iter().enumerate().map(to).collect()
}

/// The labels: one for points that are in the same place.
fn labelled(points: &[Point]) -> Vec<Label> {
    let mut wanted: Vec<(Wanted, Vec<&Point>)> = Vec::new();
    for point in points {
        let same = |of: &Wanted| (of.x - point.x).abs() < 2.0 && (of.y - point.y).abs() < 2.0;
        match wanted.iter_mut().find(|(of, _)| same(of)) {
            Some((_, there)) => there.push(point),
            None => wanted.push((Wanted { x: point.x, y: point.y, texts: Default::default() }, vec![point])),
        }
    }
    let wanted: Vec<Wanted> = wanted
        .into_iter()
        .map(|(of, there)| {
            let numbers = there.iter().map(|point| point.number.to_string()).collect::<Vec<_>>().join(", ");
            let long = match there.as_slice() {
                [alone] => format!("{numbers} {}", alone.short),
                _ => numbers.clone(),
            };
            Wanted { texts: [long, numbers], ..of }
        })
        .collect();
    let front = front(points);
    let stairs = front.iter().zip(front.iter().skip(1)).map(|(from, to)| line(*from, *to));
    let lines: Vec<Area> = points.iter().flat_map(lines).chain(stairs).collect();
    place(&wanted, &lines, &FRAME)
}

fn lines(point: &Point) -> [Area; 2] {
    let Point { x, y, across: [left, right], along: [bottom, top], .. } = *point;
    [line((left, y), (right, y)), line((x, bottom), (x, top))]
}

/// What a line covers that goes across or along.
fn line(from: (f64, f64), to: (f64, f64)) -> Area {
    let (left, right) = (from.0.min(to.0) - 1.0, from.0.max(to.0) + 1.0);
    Area { left, right, top: from.1.min(to.1) - 1.0, bottom: from.1.max(to.1) + 1.0 }
}

/// A tenth of a pixel is enough.
fn px(at: f64) -> String {
    format!("{at:.1}")
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::{super::samples, *};

    /// The SVG: nothing in it is not a number, nothing is drawn outside, labels do not cover each other.
    fn checked(report: &EvaluationView) -> String {
        let svg = plot(report).unwrap().into_string();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let document = Document::parse(&svg).unwrap();
        let number = |node: Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let expected =
            report.configurations.iter().filter(|column| column.price_per_correct_micro_usd.is_some()).count();
        let points: Vec<_> = document.descendants().filter(|node| node.has_tag_name("circle")).collect();
        assert_eq!(points.len(), expected);
        for point in points {
            let (x, y) = (number(point, "cx"), number(point, "cy"));
            assert!(FRAME.left < x && x < FRAME.right && FRAME.top < y && y < FRAME.bottom, "{x} {y}");
        }
        let bars: Vec<_> = document
            .descendants()
            .filter(|node| node.attribute("class").is_some_and(|class| class.starts_with("bar")))
            .map(|node| node.attribute("d").unwrap().to_owned())
            .collect();
        assert_eq!(bars.len(), expected);
        for number in bars.iter().flat_map(|path| path.split(|char: char| char.is_ascii_alphabetic() || char == ' ')) {
            let number: f64 = number.parse().unwrap_or(100.0);
            assert!((4.0..FRAME.right).contains(&number), "{number} in {bars:?}");
        }
        svg
    }

    fn count(svg: &str, class: &str) -> usize {
        svg.matches(&format!("class=\"{class}\"")).count()
    }

    #[test]
    fn every_priced_configuration_is_a_point_within_the_frame() {
        for number in 1..=20 {
            checked(&samples::report(number));
        }
    }

    #[test]
    fn there_is_a_plot_of_one_of_equals_and_of_what_is_free() {
        let one = checked(&samples::of(&[(Some(50.0), 5)]));
        assert!(one.contains("1 Clerk"), "{one}");
        let equals = checked(&samples::of(&[(Some(50.0), 5); 20]));
        assert!(equals.contains("1, 2, 3, 4"), "{equals}");
        assert_eq!(count(&equals, "label"), 1);
        checked(&samples::of(&[(Some(0.0), 5)]));
        checked(&samples::of(&[(Some(0.0), 10), (Some(0.0), 1)]));
        let both = checked(&samples::of(&[(Some(0.0), 2), (Some(1.0), 5), (Some(1_000.0), 9)]));
        assert!(both.contains("logarithmic") && both.contains(">$0<"), "{both}");
        checked(&samples::of(&[(Some(1e-4), 1), (Some(1e15), 10)]));
    }

    #[test]
    fn who_has_no_price_is_no_point() {
        assert!(plot(&samples::of(&[(None, 5), (None, 0)])).is_none());
        let svg = checked(&samples::of(&[(Some(10.0), 5), (None, 9)]));
        assert_eq!(count(&svg, "point unbeaten"), 1);
    }

    #[test]
    fn what_is_no_number_is_no_point() {
        let report = samples::of(&[(Some(f64::NAN), 5), (Some(f64::INFINITY), 5)]);
        assert!(plot(&report).is_none());
        let mut report = samples::of(&[(Some(10.0), 5)]);
        let without_end = Some(IntervalView { low: 5.0, high: f64::INFINITY });
        report.configurations[0].price_per_correct_interval = without_end;
        checked(&report);
    }

    #[test]
    fn the_front_is_a_stair_through_the_unbeaten_from_the_cheapest() {
        let at = |x: f64, y: f64, unbeaten: bool| Point {
            number: 1,
            about: String::new(),
            short: String::new(),
            x,
            y,
            across: [x, x],
            along: [y, y],
            unbeaten,
        };
        let points = [at(300.0, 20.0, true), at(100.0, 90.0, true), at(200.0, 80.0, false)];
        assert_eq!(path(&front(&points)), "M100.0 90.0L300.0 90.0L300.0 20.0");
        assert_eq!(path(&front(&points[2..])), "");
    }

    #[test]
    fn names_say_what_differs() {
        let mut report = samples::of(&[(Some(10.0), 5), (Some(20.0), 5)]);
        let first = report.configurations[0].agent_id.clone();
        report.configurations.iter_mut().for_each(|column| column.agent_id.clone_from(&first));
        assert!(checked(&report).contains(">1 demo/model-0<"));
        report.configurations[1].agent_version = 2;
        assert!(checked(&report).contains(">2 v2 demo/model-1<"));
        report.configurations[1].model = "<b>&\"".to_owned();
        assert!(checked(&report).contains(">2 v2 &lt;b&gt;&amp;&quot;<"));
    }
}

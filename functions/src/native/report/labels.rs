//! Where the labels of points go, so that none covers another or a point: each in the best of the free places around its point.

/// The height of a line of text, in pixels.
const LINE: f64 = 15.0;

/// How far the edge of a point is from its middle, in pixels.
const POINT: f64 = 7.0;

/// How far labels may be from the middle of their points, the nearer the better.
const RINGS: [f64; 5] = [11.0, 20.0, 34.0, 52.0, 76.0];

/// The directions around a point, the best first: right and left of it, on the diagonals, above and below.
const AROUND: [(f64, f64); 8] =
    [(1.0, 0.0), (-1.0, 0.0), (1.0, -1.0), (1.0, 1.0), (-1.0, -1.0), (-1.0, 1.0), (0.0, -1.0), (0.0, 1.0)];

/// A part of the plot, in pixels: y grows downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// So far around this place.
    pub(super) fn around(x: f64, y: f64, by: f64) -> Self {
        Self { left: x - by, top: y - by, right: x + by, bottom: y + by }
    }

    fn meets(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn within(&self, other: &Self) -> bool {
        self.left >= other.left && self.top >= other.top && self.right <= other.right && self.bottom <= other.bottom
    }

    fn middle(&self) -> (f64, f64) {
        (f64::midpoint(self.left, self.right), f64::midpoint(self.top, self.bottom))
    }
}

/// What is to be labelled.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) x: f64,
    pub(super) y: f64,
    /// What it is called; the second where there is no room for the first.
    pub(super) texts: [String; 2],
}

/// A label in its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    pub(super) text: String,
    pub(super) area: Area,
    /// Which end of it is fixed, since only about is known how wide it is: a value of `text-anchor`.
    pub(super) anchor: &'static str,
    /// A line from the point to a label that is far from it.
    pub(super) leader: Option<[(f64, f64); 2]>,
}

/// The labels of those for which there is room within the frame. `lines` are crossed only if there is nothing better.
pub(super) fn place(wanted: &[Wanted], lines: &[Area], frame: &Area) -> Vec<Label> {
    let points: Vec<Area> = wanted.iter().map(|wanted| Area::around(wanted.x, wanted.y, POINT)).collect();
    let mut placed: Vec<Label> = Vec::new();
    for wanted in wanted {
        let label = wanted.texts.iter().find_map(|text| {
            let free = candidates(wanted, text).filter(|(_, label)| {
                let covers = |area: &Area| label.area.meets(area);
                label.area.within(frame)
                    && !points.iter().any(covers)
                    && !placed.iter().any(|label| covers(&label.area))
            });
            let costs = free.map(|(cost, label)| {
                let crossed = lines.iter().filter(|line| label.area.meets(line)).map(|_| 3.0).sum::<f64>();
                (cost + crossed, label)
            });
            costs.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, label)| label)
        });
        placed.extend(label);
    }
    placed
}

/// The places around a point, each with how bad it is.
fn candidates<'a>(wanted: &'a Wanted, text: &'a str) -> impl Iterator<Item = (f64, Label)> {
    let rings = (0_u8..).zip(RINGS);
    let places = rings.flat_map(|ring| (0_u8..).zip(AROUND).map(move |around| (ring, around)));
    places.map(|((ring, radius), (rank, (right, down)))| {
        let width = width(text);
        let diagonal = if right == 0.0 || down == 0.0 { 1.0 } else { 0.75 };
        let (x, y) = (wanted.x + right * radius * diagonal, wanted.y + down * radius * diagonal);
        let left = x - width * (1.0 - right) / 2.0;
        let top = y - LINE * (1.0 - down) / 2.0;
        let area = Area { left, top, right: left + width, bottom: top + LINE };
        let leader = (ring >= 2).then(|| [(wanted.x, wanted.y), nearest(&area, wanted)]);
        let anchor = if right > 0.0 {
            "start"
        } else if right < 0.0 {
            "end"
        } else {
            "middle"
        };
        let cost = f64::from(ring) * 4.0 + f64::from(rank) * 0.2;
        (cost, Label { text: text.to_owned(), area, anchor, leader })
    })
}

/// Where a line from the point meets the label.
fn nearest(area: &Area, wanted: &Wanted) -> (f64, f64) {
    let (_, middle) = area.middle();
    (
        wanted.x.clamp(area.left, area.right),
        if wanted.x < area.left || wanted.x > area.right { middle } else { wanted.y.clamp(area.top, area.bottom) },
    )
}

impl Label {
    /// Where its fixed end is.
    pub(super) fn x(&self) -> f64 {
        match self.anchor {
            "start" => self.area.left,
            "end" => self.area.right,
            _ => self.area.middle().0,
        }
    }
}

/// About how wide the text is, in pixels at 12 px.
pub(super) fn width(text: &str) -> f64 {
    text.chars()
        .map(|char| match char {
            '\0'..='\u{7f}' => 6.8,
            '\u{80}'..='\u{10ff}' => 7.2,
            _ => 12.5,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Area = Area { left: 0.0, top: 0.0, right: 600.0, bottom: 300.0 };

    fn wanted(x: f64, y: f64) -> Wanted {
        Wanted { x, y, texts: ["a long name of a point".to_owned(), "1".to_owned()] }
    }

    fn apart(labels: &[Label], points: &[Wanted]) {
        for (index, label) in labels.iter().enumerate() {
            assert!(label.area.within(&FRAME), "{label:?}");
            assert!(labels[..index].iter().all(|other| !label.area.meets(&other.area)), "{label:?}");
            assert!(points.iter().all(|point| !label.area.meets(&Area::around(point.x, point.y, POINT))), "{label:?}");
        }
    }

    #[test]
    fn a_point_alone_has_its_label_on_its_right_or_left_where_that_ends() {
        let points = [wanted(300.0, 150.0)];
        let labels = place(&points, &[], &FRAME);
        assert!(labels[0].area.left > 300.0 && labels[0].leader.is_none());
        apart(&labels, &points);
        let labels = place(&[wanted(590.0, 150.0)], &[], &FRAME);
        assert!(labels[0].area.right < 590.0);
    }

    #[test]
    fn labels_cover_neither_each_other_nor_points() {
        let spread = |index: u8| wanted(f64::from(index % 5) * 40.0 + 200.0, f64::from(index / 5) * 20.0 + 100.0);
        for number in [2, 5, 20] {
            let points: Vec<Wanted> = (0..number).map(spread).collect();
            let labels = place(&points, &[], &FRAME);
            apart(&labels, &points);
            assert!(labels.len() * 2 >= points.len(), "{} of {number}", labels.len());
        }
    }

    #[test]
    fn lines_are_crossed_only_if_there_is_nothing_better() {
        let line = Area { left: 100.0, top: 149.0, right: 500.0, bottom: 151.0 };
        let labels = place(&[wanted(300.0, 150.0)], &[line], &FRAME);
        assert!(!labels[0].area.meets(&line));
        let whole = place(&[wanted(300.0, 150.0)], &[FRAME], &FRAME);
        assert_eq!(whole.len(), 1);
    }

    #[test]
    fn where_there_is_no_room_the_short_name_stands_or_none() {
        let small = |right| Area { left: 0.0, top: 0.0, right, bottom: 40.0 };
        assert_eq!(place(&[wanted(20.0, 20.0)], &[], &small(60.0))[0].text, "1");
        assert!(place(&[wanted(10.0, 20.0)], &[], &small(20.0)).is_empty());
    }
}

//! Scatter charts: a measure against a size, points of one kind joined.

use super::frame::{Legend, Plot};
use super::ticks::{Axis, drawable};
use super::{BOLD, Canvas, NOTE, Placement, TITLE, WIDTH, series_colour, shortened, text_width};

/// Labelled points in groups, with error bars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterChart {
    /// Heading.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures; shown under the title.
    pub y_label: String,
    /// Whether the horizontal axis is logarithmic; points that are not positive are then left out.
    pub log_x: bool,
    /// The groups, later ones on top.
    pub groups: Vec<ScatterGroup>,
}

/// Points of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterGroup {
    /// Shown in the legend.
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    /// Whether a line joins the points, in the order of x.
    pub joined: bool,
    /// The points.
    pub points: Vec<ScatterPoint>,
    /// A line of its own, such as a fit, from left to right; may be empty.
    pub line: Vec<(f64, f64)>,
}

/// One point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterPoint {
    /// Across.
    pub x: f64,
    /// Upwards.
    pub y: f64,
    /// Half the length of its error bar.
    pub error: Option<f64>,
    /// Beside the point; may be empty.
    pub label: String,
}

/// Size of the labels' type: they are many.
const SIZE: f64 = 11.0;
/// The widest label; longer ones are shortened.
const LABEL: f64 = 130.0;

/// A rectangle that is taken: left, top, right, bottom.
type Box4 = (f64, f64, f64, f64);

impl ScatterChart {
    /// Draws the chart. Never fails: without a point that can be drawn it says so in place of the points.
    pub fn to_svg(&self, placement: Placement) -> String {
        let drawn = || {
            self.groups
                .iter()
                .filter(|g| self.points(g).next().is_some())
        };
        let legend = Legend::of(drawn().map(|g| (g.name.clone(), g.colour)));
        let mut canvas = Canvas::open(&self.title, legend.height(), placement);
        canvas.text(4.0, 18.0, &TITLE, &self.title);
        canvas.text(4.0, 36.0, &NOTE, &self.y_label);
        let Some(plot) = self.plot(&legend) else {
            canvas.nothing(legend.height() / 2.0 + 14.0);
            return canvas.close();
        };
        legend.draw(&mut canvas);
        plot.axes(&mut canvas, &self.x_label);
        for group in &self.groups {
            self.draw(&mut canvas, &plot, group);
        }
        self.labels(&mut canvas, &plot);
        canvas.close()
    }

    /// The points of a group that can be drawn, in the order of x.
    fn points<'a>(&self, group: &'a ScatterGroup) -> impl Iterator<Item = &'a ScatterPoint> {
        let log = self.log_x;
        let mut points: Vec<&ScatterPoint> = group
            .points
            .iter()
            .filter(|p| drawable(p.x, log) && drawable(p.y, false))
            .collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        points.into_iter()
    }

    fn all(&self) -> impl Iterator<Item = (&ScatterGroup, &ScatterPoint)> {
        self.groups
            .iter()
            .flat_map(|group| self.points(group).map(move |point| (group, point)))
    }

    fn plot(&self, legend: &Legend) -> Option<Plot> {
        let heights = self.all().flat_map(|(_, p)| {
            let (low, high) = bar(p);
            [low, high]
        });
        let lines = || self.groups.iter().flat_map(|group| &group.line);
        let across = (self.all().map(|(_, p)| p.x)).chain(lines().map(|(x, _)| *x));
        let heights = heights.chain(lines().map(|(_, y)| *y));
        Some(Plot::new(
            Axis::over(across, self.log_x, !self.log_x, 5)?,
            Axis::over(heights, false, true, 5)?,
            WIDTH - 16.0,
            legend,
        ))
    }

    fn draw(&self, canvas: &mut Canvas, plot: &Plot, group: &ScatterGroup) {
        let (i, colour) = series_colour(group.colour);
        let own = (group.line.iter())
            .filter(|(x, y)| drawable(*x, self.log_x) && drawable(*y, false))
            .map(|point| plot.at(*point));
        let own: Vec<String> = own.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        if own.len() > 1 {
            canvas.body.push_str(&format!(
                "<path class=\"c-line{i}\" d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-opacity=\"0.6\"/>\n",
                own.join("L")
            ));
        }
        let mut path = String::new();
        for (k, point) in self.points(group).enumerate() {
            let (x, y) = plot.at((point.x, point.y));
            path.push_str(&format!("{}{x:.1} {y:.1}", if k == 0 { 'M' } else { 'L' }));
            let (low, high) = bar(point);
            if high > low {
                let (low, high) = (plot.at((point.x, low)).1, plot.at((point.x, high)).1);
                canvas.body.push_str(&format!(
                    "<path class=\"c-line{i}\" d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"/>\n",
                    x - 3.0, x - 3.0
                ));
            }
            canvas.body.push_str(&format!(
                "<circle class=\"c-fill{i}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\n"
            ));
        }
        if group.joined && path.contains('L') {
            canvas.body.push_str(&format!(
                "<path class=\"c-line{i}\" d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-opacity=\"0.6\"/>\n"
            ));
        }
    }

    /// A label beside each point, at the first of several places where it covers nothing; where there is none, the place
    /// that covers least.
    fn labels(&self, canvas: &mut Canvas, plot: &Plot) {
        let mut taken: Vec<Box4> = self
            .all()
            .map(|(_, point)| {
                let (x, y) = plot.at((point.x, point.y));
                (x - 4.0, y - 4.0, x + 4.0, y + 4.0)
            })
            .collect();
        let mut lines: Vec<Box4> = Vec::new();
        for group in self.groups.iter().filter(|g| g.joined) {
            let points: Vec<(f64, f64)> = self.points(group).map(|p| plot.at((p.x, p.y))).collect();
            for pair in points.windows(2) {
                if let [a, b] = pair {
                    lines.extend(samples(*a, *b));
                }
            }
        }
        for (group, point) in self.all().filter(|(_, p)| !p.label.is_empty()) {
            let (x, y) = plot.at((point.x, point.y));
            let label = shortened(&point.label, BOLD * SIZE, LABEL);
            let width = text_width(&label, BOLD * SIZE);
            let places = [
                (x + 7.0, y - 4.0),
                (x + 7.0, y + 12.0),
                (x - 7.0 - width, y - 4.0),
                (x - 7.0 - width, y + 12.0),
                (x + 7.0, y + 4.0),
                (x - 7.0 - width, y + 4.0),
                (x - width / 2.0, y - 10.0),
                (x - width / 2.0, y + 19.0),
                (x + 7.0, y - 16.0),
                (x - 7.0 - width, y - 16.0),
            ];
            let covered = |&(left, base): &(f64, f64)| {
                let here = (left, base - SIZE * 0.8, left + width, base + 2.0);
                let outside = here.0 < plot.left
                    || here.2 > WIDTH - 2.0
                    || here.1 < plot.top - 14.0
                    || here.3 > plot.bottom;
                let count = |boxes: &[Box4]| boxes.iter().filter(|b| overlap(here, **b)).count();
                count(&taken) * 8 + count(&lines) + if outside { 100 } else { 0 }
            };
            let best = places.into_iter().min_by_key(|place| covered(place));
            let (left, base) = best.unwrap_or((x, y));
            taken.push((left, base - SIZE * 0.8, left + width, base + 2.0));
            canvas.sized_text(left, base, group.colour, SIZE, &label);
        }
    }
}

/// The ends of a point's error bar; the point itself where it has none.
fn bar(point: &ScatterPoint) -> (f64, f64) {
    let error = point.error.filter(|e| drawable(*e, false) && *e > 0.0);
    let error = error.unwrap_or(0.0);
    (point.y - error, point.y + error)
}

fn overlap(a: Box4, b: Box4) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

/// Small boxes along a line.
fn samples((x0, y0): (f64, f64), (x1, y1): (f64, f64)) -> impl Iterator<Item = Box4> {
    const PIECES: u32 = 24;
    (0..=PIECES).map(move |k| {
        let share = f64::from(k) / f64::from(PIECES);
        let (x, y) = (x0 + share * (x1 - x0), y0 + share * (y1 - y0));
        (x - 1.0, y - 1.0, x + 1.0, y + 1.0)
    })
}

//! Line charts.

use super::frame::{Legend, Plot};
use super::ticks::{Axis, drawable};
use super::{BOLD, Canvas, NOTE, Placement, TITLE, WIDTH, series_colour, shortened, text_width};
use crate::format;

/// Lines over a common pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    /// Heading.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis measures; shown under the title.
    pub y_label: String,
    /// Whether the vertical axis is logarithmic; values that are not positive are then left out.
    pub log_y: bool,
    /// Whether the vertical axis begins at 0 at the latest: where it does not, a change of a thousandth fills it.
    pub from_zero: bool,
    /// The lines, later ones on top.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Shown in the legend and at the line's end.
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    /// Points in drawing order. Where one is not finite, the line has a gap.
    pub points: Vec<(f64, f64)>,
    /// Drawn pale and without a label: the raw values behind a smoothed line.
    pub faint: bool,
}

/// Decimals of the values in the legend: a loss is compared to the third.
const DECIMALS: usize = 3;
/// The widest name beside a line's end; longer ones are shortened.
const END_LABEL: f64 = 120.0;
/// Least distance of these names from one to the next.
const APART: f64 = 15.0;
/// Their size; they are bold.
const END_SIZE: f64 = 12.5;

impl LineChart {
    /// Draws the chart. Never fails: without a finite point it says so in place of the lines.
    ///
    /// ```
    /// use bitnet_report::svg::{LineChart, Placement, Series};
    /// let line = Series { name: "float".into(), points: vec![(0.0, 4.2), (100.0, 1.7)], ..Series::default() };
    /// let svg = LineChart { title: "Loss".into(), series: vec![line], ..LineChart::default() }.to_svg(Placement::Inline);
    /// assert!(svg.starts_with("<svg") && svg.contains("<path"));
    /// ```
    pub fn to_svg(&self, placement: Placement) -> String {
        let legend = Legend::of(self.labelled().map(|series| {
            let value = self.last(series).map_or(String::new(), |p| value_text(p.1));
            (format!("{} {value}", series.name), series.colour)
        }));
        let legend = legend.beside(APART * self.labelled().count() as f64);
        let mut canvas = Canvas::open(&self.title, legend.height(), placement);
        canvas.text(4.0, 18.0, &TITLE, &self.title);
        canvas.text(4.0, 36.0, &NOTE, &self.y_label);
        let Some(plot) = self.plot(&legend) else {
            canvas.nothing(legend.height() / 2.0 + 14.0);
            return canvas.close();
        };
        legend.draw(&mut canvas);
        plot.axes(&mut canvas, &self.x_label);
        for series in &self.series {
            draw(&mut canvas, &plot, series, self.log_y);
        }
        self.end_labels(&mut canvas, &plot);
        canvas.close()
    }

    fn plot(&self, legend: &Legend) -> Option<Plot> {
        let points = || {
            self.series
                .iter()
                .flat_map(|s| s.points.iter().filter(|p| visible(**p, self.log_y)))
        };
        // Without a point there is nothing to begin at.
        let zero = (self.from_zero && points().next().is_some()).then_some(0.0);
        let labels = self
            .labelled()
            .map(|s| text_width(&s.name, BOLD * END_SIZE))
            .fold(0.0, f64::max);
        Some(Plot::new(
            Axis::over(points().map(|p| p.0), false, false, 5)?,
            Axis::over(points().map(|p| p.1).chain(zero), self.log_y, true, 5)?,
            WIDTH - 12.0 - labels.min(END_LABEL),
            legend,
        ))
    }

    fn labelled(&self) -> impl Iterator<Item = &Series> {
        self.series
            .iter()
            .filter(|s| !s.faint && s.points.iter().any(|&p| visible(p, self.log_y)))
    }

    fn last(&self, series: &Series) -> Option<(f64, f64)> {
        series
            .points
            .iter()
            .copied()
            .rfind(|&p| visible(p, self.log_y))
    }

    /// Names beside the lines' ends, in the margin, pushed apart where the ends are close; the plot is high enough for all.
    fn end_labels(&self, canvas: &mut Canvas, plot: &Plot) {
        let mut ends: Vec<(f64, &Series)> = self
            .labelled()
            .filter_map(|s| self.last(s).map(|p| (plot.at(p).1, s)))
            .collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Downwards from the top, then back up from the axis: each pass moves only what overlaps.
        let mut lowest = f64::NEG_INFINITY;
        for (y, _) in &mut ends {
            *y = y.max(lowest + APART);
            lowest = *y;
        }
        let mut highest = plot.bottom + APART - 4.0;
        for (y, _) in ends.iter_mut().rev() {
            *y = y.min(highest - APART);
            highest = *y;
        }
        for (y, series) in ends {
            let name = shortened(&series.name, BOLD * END_SIZE, END_LABEL);
            canvas.coloured_text(plot.right + 6.0, y + 4.0, series.colour, &name);
        }
    }
}

fn visible((x, y): (f64, f64), log_y: bool) -> bool {
    drawable(x, false) && drawable(y, log_y)
}

fn value_text(value: f64) -> String {
    if (0.01..1e4).contains(&value.abs()) {
        format::fixed(value, DECIMALS)
    } else {
        format!("{value:.2e}")
    }
}

fn draw(canvas: &mut Canvas, plot: &Plot, series: &Series, log_y: bool) {
    let (i, colour) = series_colour(series.colour);
    let (width, opacity) = if series.faint {
        ("1", " stroke-opacity=\"0.3\"")
    } else {
        ("2", "")
    };
    let mut path = String::new();
    for run in series.points.split(|&p| !visible(p, log_y)) {
        if let [point] = run {
            let (x, y) = plot.at(*point);
            canvas.body.push_str(&format!(
                "<circle class=\"c-fill{i}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"
            ));
            continue;
        }
        let screen: Vec<(f64, f64)> = run.iter().map(|&p| plot.at(p)).collect();
        for (k, (x, y)) in thin(&screen).into_iter().enumerate() {
            path.push_str(&format!("{}{x:.1} {y:.1}", if k == 0 { 'M' } else { 'L' }));
        }
    }
    if !path.is_empty() {
        canvas.body.push_str(&format!(
            "<path class=\"c-line{i}\" d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"{opacity} stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n"
        ));
    }
}

/// Keeps the lowest and highest point of every half user unit: what a longer path would show, in a smaller file.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const ENOUGH: usize = 800;
    if points.len() <= ENOUGH {
        return points.to_vec();
    }
    let bucket = points.len().div_ceil(ENOUGH / 2);
    let mut kept = Vec::with_capacity(ENOUGH + 1);
    for chunk in points.chunks(bucket) {
        let extreme = |sign: f64| {
            let better = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| {
                (sign * a.1.1).total_cmp(&(sign * b.1.1))
            };
            chunk
                .iter()
                .enumerate()
                .max_by(better)
                .map(|(i, p)| (i, *p))
        };
        if let (Some(low), Some(high)) = (extreme(-1.0), extreme(1.0)) {
            let (first, second) = if low.0 <= high.0 {
                (low, high)
            } else {
                (high, low)
            };
            kept.push(first.1);
            if second.0 != first.0 {
                kept.push(second.1);
            }
        }
    }
    kept.extend(points.last().filter(|&p| kept.last() != Some(p)));
    kept
}

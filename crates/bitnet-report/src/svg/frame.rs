//! What charts with two axes share: the legend above, the area between the axes, the axes themselves.

use super::ticks::Axis;
use super::{Canvas, LABEL, NOTE, WIDTH, series_colour, shortened, text_width};

/// Height of a chart whose legend takes one row.
const HEIGHT: f64 = 320.0;
const ROW: f64 = 18.0;
/// Least room on the left of the vertical axis, and from its numbers to the axis.
const LEFT: f64 = 48.0;
const GAP: f64 = 7.0;

/// The area inside the axes.
pub(super) struct Plot {
    pub x: Axis,
    pub y: Axis,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Plot {
    /// Between axes, below a legend; the numbers of the vertical axis have the room that they need.
    pub fn new(x: Axis, y: Axis, right: f64, legend: &Legend) -> Self {
        let widths = y
            .ticks
            .iter()
            .map(|(_, label)| text_width(label, NOTE.size));
        Self {
            left: widths.fold(LEFT, |left, width| left.max(width + GAP + 2.0)),
            x,
            y,
            right,
            top: legend.top(),
            bottom: legend.bottom(),
        }
    }

    /// Where a point lies in the picture.
    pub fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.left + self.x.share(x) * (self.right - self.left),
            self.bottom - self.y.share(y) * (self.bottom - self.top),
        )
    }

    pub fn axes(&self, canvas: &mut Canvas, x_label: &str) {
        let Self {
            left,
            right,
            top,
            bottom,
            ..
        } = *self;
        for (value, label) in &self.y.ticks {
            let y = bottom - self.y.share(*value) * (bottom - top);
            canvas.grid_line((left, y), (right, y), false);
            canvas.text(left - GAP, y + 4.0, &NOTE.anchored("end"), label);
        }
        canvas.grid_line((left, bottom), (right, bottom), true);
        for (value, label) in &self.x.ticks {
            let x = left + self.x.share(*value) * (right - left);
            canvas.grid_line((x, bottom), (x, bottom + 4.0), true);
            canvas.text(x, bottom + 18.0, &NOTE.anchored("middle"), label);
        }
        let middle = (left + right) / 2.0;
        canvas.text(middle, bottom + 38.0, &NOTE.anchored("middle"), x_label);
    }
}

/// Entries in as many rows as they need; the chart grows by the rows beyond the first.
pub(super) struct Legend {
    /// Text, colour, left end, row.
    entries: Vec<(String, usize, f64, usize)>,
    rows: usize,
    /// Height of the plot beyond that of a chart without a crowd beside it.
    taller: f64,
}

impl Legend {
    pub fn of(entries: impl Iterator<Item = (String, usize)>) -> Self {
        let (mut x, mut row) = (4.0, 0);
        let mut placed = Vec::new();
        for (text, colour) in entries {
            let text = shortened(&text, 12.5, WIDTH - 34.0);
            let width = 22.0 + text_width(&text, 12.5);
            if x > 4.0 && x + width > WIDTH {
                (x, row) = (4.0, row + 1);
            }
            placed.push((text, colour, x, row));
            x += width + 16.0;
        }
        Self {
            entries: placed,
            rows: row + 1,
            taller: 0.0,
        }
    }

    /// A plot of at least this height, for what stands beside it.
    pub fn beside(self, height: f64) -> Self {
        let taller = (height - (self.bottom() - self.top())).max(0.0);
        Self { taller, ..self }
    }

    fn extra(&self) -> f64 {
        (self.rows - 1) as f64 * ROW
    }

    /// Height of the chart.
    pub fn height(&self) -> f64 {
        HEIGHT + self.extra() + self.taller
    }

    /// Upper end of the plot.
    pub fn top(&self) -> f64 {
        74.0 + self.extra()
    }

    /// Lower end of the plot.
    pub fn bottom(&self) -> f64 {
        self.height() - 46.0
    }

    pub fn draw(&self, canvas: &mut Canvas) {
        for (text, colour, x, row) in &self.entries {
            let (i, stroke) = series_colour(*colour);
            let y = 52.0 + *row as f64 * ROW;
            canvas.body.push_str(&format!(
                "<path class=\"c-line{i}\" d=\"M{x:.1} {y}h16\" stroke=\"{stroke}\" stroke-width=\"3\" stroke-linecap=\"round\"/>\n"
            ));
            canvas.text(x + 22.0, y + 4.0, &LABEL, text);
        }
    }
}

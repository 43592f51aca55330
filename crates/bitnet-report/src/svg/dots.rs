//! Dot charts: one row for each thing compared, its single values pale, their mean with an error bar.

use super::ticks::{Axis, drawable};
use super::{
    Canvas, LABEL, NOTE, Placement, TITLE, Type, WIDTH, fitting, series_colour, shortened,
    text_width,
};

/// Rows of values on one horizontal scale.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DotChart {
    /// Heading.
    pub title: String,
    /// What the scale measures; shown under the title.
    pub x_label: String,
    /// A value that all rows are held against, drawn as a line from top to bottom.
    pub reference: Option<f64>,
    /// The rows, top to bottom.
    pub rows: Vec<DotRow>,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DotRow {
    /// Left of the scale.
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    /// The mean; a row whose mean cannot be drawn keeps its name alone.
    pub mean: f64,
    /// Half the length of the error bar.
    pub error: Option<f64>,
    /// The single values.
    pub values: Vec<f64>,
}

const TOP: f64 = 50.0;
const ROW: f64 = 22.0;
/// The widest name; longer ones are shortened.
const NAME: f64 = 220.0;
const SIZE: f64 = 12.5;

impl DotChart {
    /// Draws the chart; without a value that can be drawn it says so in place of the rows.
    pub fn to_svg(&self, placement: Placement) -> String {
        let bottom = TOP + self.rows.len().max(2) as f64 * ROW;
        let mut canvas = Canvas::open(&self.title, bottom + 28.0, placement);
        canvas.text(4.0, 18.0, &TITLE, &self.title);
        canvas.text(4.0, 36.0, &NOTE, &self.x_label);
        let ends = self.rows.iter().flat_map(|row| {
            let error = row.error.unwrap_or(0.0);
            let ends = [row.mean - error, row.mean + error];
            ends.into_iter().chain(row.values.iter().copied())
        });
        let Some(axis) = Axis::over(ends.chain(self.reference), false, true, 4) else {
            canvas.nothing(TOP + ROW);
            return canvas.close();
        };
        // One size of type for all names: that at which the longest fits, if it is not too small.
        let sizes = self.rows.iter().map(|row| fitting(&row.name, SIZE, NAME));
        let size = sizes.fold(SIZE, f64::min);
        let names = self.rows.iter().map(|row| text_width(&row.name, size));
        let left = names.fold(0.0, f64::max).min(NAME) + 16.0;
        let right = WIDTH - 20.0;
        let at = |value: f64| left + axis.share(value) * (right - left);
        for (value, label) in &axis.ticks {
            canvas.grid_line((at(*value), TOP), (at(*value), bottom), false);
            canvas.text(at(*value), bottom + 18.0, &NOTE.anchored("middle"), label);
        }
        if let Some(value) = self.reference.filter(|v| drawable(*v, false)) {
            canvas.grid_line((at(value), TOP), (at(value), bottom), true);
        }
        for (i, row) in self.rows.iter().enumerate() {
            let y = TOP + (i as f64 + 0.5) * ROW;
            let name = shortened(&row.name, size, NAME);
            canvas.text(4.0, y + 4.0, &Type { size, ..LABEL }, &name);
            row.draw(&mut canvas, y, at);
        }
        canvas.close()
    }
}

impl DotRow {
    fn draw(&self, canvas: &mut Canvas, y: f64, at: impl Fn(f64) -> f64) {
        if !drawable(self.mean, false) {
            return;
        }
        let (i, colour) = series_colour(self.colour);
        for value in self.values.iter().filter(|v| drawable(**v, false)) {
            canvas.body.push_str(&format!(
                "<circle class=\"c-fill{i}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\" fill-opacity=\"0.45\"/>\n",
                at(*value)
            ));
        }
        if let Some(error) = self.error.filter(|e| drawable(*e, false)) {
            let (low, high) = (at(self.mean - error), at(self.mean + error));
            canvas.body.push_str(&format!(
                "<path class=\"c-line{i}\" d=\"M{low:.1} {y:.1}H{high:.1}M{low:.1} {:.1}v6M{high:.1} {:.1}v6\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.2\"/>\n",
                y - 3.0,
                y - 3.0
            ));
        }
        canvas.body.push_str(&format!(
            "<circle class=\"c-fill{i}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"/>\n",
            at(self.mean)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(means: &[f64]) -> String {
        let row = |(i, mean): (usize, &f64)| DotRow {
            name: format!("row {i}"),
            colour: i,
            mean: *mean,
            error: Some(0.1),
            values: vec![mean - 0.1, mean + 0.1],
        };
        let chart = DotChart {
            title: "Scores".into(),
            x_label: "loss".into(),
            reference: means.first().copied(),
            rows: means.iter().enumerate().map(row).collect(),
        };
        chart.to_svg(Placement::Standalone)
    }

    #[test]
    fn a_row_has_its_values_its_mean_and_its_error() {
        let svg = chart(&[1.0, 2.0]);
        assert_eq!(svg.matches("r=\"4.5\"").count(), 2);
        assert_eq!(svg.matches("r=\"2.5\"").count(), 4);
        assert_eq!(svg.matches("stroke-width=\"1.2\"").count(), 2);
        assert!(svg.contains(">row 1</text>"));
        // Greater values are further to the right.
        let at = |r: usize| {
            let circle = svg.split("<circle").filter(|c| c.contains("r=\"4.5\""));
            let cx = circle.into_iter().nth(r)?.split("cx=\"").nth(1)?;
            cx.split('"').next()?.parse::<f64>().ok()
        };
        assert!(at(0) < at(1));
    }

    #[test]
    fn long_names_are_smaller_before_they_are_shortened() {
        let names = ["scale of least error, exact, once more", "float"];
        let row = |name: &str| DotRow {
            name: name.to_owned(),
            mean: 1.0,
            ..DotRow::default()
        };
        let chart = |names: &[&str]| DotChart {
            rows: names.iter().map(|name| row(name)).collect(),
            ..DotChart::default()
        };
        let svg = chart(&names[..]).to_svg(Placement::Standalone);
        assert!(svg.contains(&format!(">{}</text>", names[0])), "{svg}");
        let longer = names[0].repeat(2);
        let svg = chart(&[&longer]).to_svg(Placement::Standalone);
        assert!(svg.contains("…</text>") && !svg.contains(&longer));
    }

    #[test]
    fn without_values_it_says_so() {
        assert!(chart(&[]).contains("no data"));
        assert!(chart(&[f64::NAN]).contains("no data"));
        let svg = chart(&[1.0, f64::INFINITY]);
        assert_eq!(svg.matches("r=\"4.5\"").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}

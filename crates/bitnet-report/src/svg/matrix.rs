//! Matrix charts: counts of one kind by another, shaded by their share of the row.

use super::{Canvas, LABEL, NOTE, Placement, TITLE, WIDTH, series_colour, shortened, text_width};

/// A square of counts, such as predicted classes by true ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatrixChart {
    /// Heading.
    pub title: String,
    /// What rows and columns are, under the title.
    pub subtitle: String,
    /// Names of rows and columns alike.
    pub names: Vec<String>,
    /// The counts, `[row, column]`; as many rows and columns as names.
    pub rows: Vec<Vec<u64>>,
}

/// The widest name; longer ones are shortened.
const NAME: f64 = 110.0;
const SIZE: f64 = 12.5;
/// The lowest row: the height of its type and some air.
const LOW: f64 = 14.0;
const HIGH: f64 = 34.0;
/// Degrees by which names of columns are turned where they do not fit side by side.
const TURN: f64 = 40.0;

impl MatrixChart {
    /// Draws the chart; without a name it says so in place of the matrix.
    ///
    /// ```
    /// use bitnet_report::svg::{MatrixChart, Placement};
    /// let chart = MatrixChart {
    ///     names: vec!["cat".into(), "dog".into()],
    ///     rows: vec![vec![8, 2], vec![1, 9]],
    ///     ..MatrixChart::default()
    /// };
    /// assert_eq!(chart.to_svg(Placement::Inline).matches("<rect").count(), 4);
    /// ```
    pub fn to_svg(&self, placement: Placement) -> String {
        let names: Vec<String> = (self.names.iter())
            .map(|name| shortened(name, SIZE, NAME))
            .collect();
        let widest = names.iter().map(|name| text_width(name, SIZE));
        let widest = widest.fold(0.0, f64::max);
        let left = 4.0 + widest + 8.0;
        let turn = TURN.to_radians();
        let turned = widest * turn.sin() + SIZE;
        // The last name leans out to the right.
        let width = (WIDTH - left - 4.0) / names.len().max(1) as f64;
        let leans = widest > width - 6.0;
        let right = match leans {
            true => (widest * turn.cos() - width / 2.0).max(0.0),
            false => 0.0,
        };
        let width = (WIDTH - left - 4.0 - right) / names.len().max(1) as f64;
        let height = (width * 0.6).clamp(LOW, HIGH);
        let top = 50.0 + if leans { turned } else { SIZE + 6.0 };
        let bottom = top + height * names.len().max(2) as f64;
        let mut canvas = Canvas::open(&self.title, bottom + 12.0, placement);
        canvas.text(4.0, 18.0, &TITLE, &self.title);
        canvas.text(4.0, 36.0, &NOTE, &self.subtitle);
        if names.is_empty() {
            canvas.nothing(top);
            return canvas.close();
        }
        for (column, name) in names.iter().enumerate() {
            let x = left + (column as f64 + 0.5) * width;
            match leans {
                false => canvas.text(x, top - 6.0, &NOTE.anchored("middle"), name),
                true => canvas.turned_text(x, top - 6.0, -TURN, &NOTE, name),
            }
        }
        for (row, (name, counts)) in names.iter().zip(&self.rows).enumerate() {
            let y = top + row as f64 * height;
            let base = y + height / 2.0 + 4.0;
            canvas.text(left - 8.0, base, &LABEL.anchored("end"), name);
            let all = counts.iter().sum::<u64>().max(1);
            for (column, count) in counts.iter().enumerate() {
                let x = left + column as f64 * width;
                let share = *count as f64 / all as f64;
                let (i, fill) = series_colour(usize::from(row != column));
                canvas.body.push_str(&format!(
                    "<rect class=\"c-fill{i}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\" fill-opacity=\"{:.3}\"/>\n",
                    x + 0.5, y + 0.5, width - 1.0, height - 1.0, 0.05 + 0.95 * share
                ));
                let text = count.to_string();
                if text_width(&text, SIZE) < width {
                    let style = if share > 0.5 { PAPER } else { LABEL };
                    canvas.text(x + width / 2.0, base, &style.anchored("middle"), &text);
                }
            }
        }
        canvas.close()
    }
}

/// On a dark ground.
const PAPER: super::Type = super::Type {
    class: "c-paper",
    fill: super::LIGHT.paper,
    ..LABEL
};

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(classes: usize, name: &str) -> String {
        let chart = MatrixChart {
            title: "Confusion".into(),
            subtitle: "rows: true class, columns: predicted".into(),
            names: (0..classes).map(|i| format!("{name}{i}")).collect(),
            rows: (0..classes)
                .map(|row| (0..classes).map(|column| (row * column) as u64).collect())
                .collect(),
        };
        chart.to_svg(Placement::Standalone)
    }

    #[test]
    fn every_cell_has_its_count_and_every_class_two_names() {
        let svg = chart(3, "class ");
        // One rectangle is the paper.
        assert_eq!(svg.matches("<rect").count(), 1 + 9);
        assert_eq!(svg.matches(">class 2</text>").count(), 2);
        assert!(svg.contains(">4</text>"));
    }

    #[test]
    fn nothing_leaves_the_picture() {
        for (classes, name) in [
            (1, "a"),
            (4, "a rather long class "),
            (40, "class "),
            (0, ""),
        ] {
            let svg = chart(classes, name);
            for part in svg.split("<rect").skip(2) {
                let number = |key: &str| -> f64 {
                    let (_, rest) = part.split_once(&format!(" {key}=\"")).unwrap();
                    rest.split('"').next().unwrap().parse().unwrap()
                };
                assert!(number("x") >= 0.0 && number("x") + number("width") <= WIDTH);
            }
        }
        assert!(chart(0, "").contains("no data"));
    }
}

//! Line, bar, dot, scatter and matrix charts as SVG text, without a plotting library.
//!
//! `plotters` was looked at: it pulls in a font and image stack, and its output is pixels with a `<svg>` tag around
//! them, every colour and font baked in, so it can follow neither the page's style sheet nor dark mode. What a report
//! needs is five kinds of chart, a few hundred lines.
//!
//! # Light and dark, three viewers
//!
//! Every mark carries its light colour as a *presentation attribute* and a class besides. A viewer without CSS
//! (`rsvg-convert`, a word processor) draws the attributes. A browser showing the file alone applies the
//! [`Placement::Standalone`] style sheet, which overrides the attributes in dark mode. Inlined in a page, the chart
//! brings no style sheet of its own and the page's rules for the same classes win.
//!
//! The first series colours are Okabe and Ito's, told apart by all common forms of colour blindness; four more serve the
//! charts of experiments with many variants. Lines are labelled at their ends as well, so that grey print works too.

mod bars;
mod dots;
mod frame;
mod line;
mod matrix;
mod measure;
mod scatter;
mod ticks;

pub use bars::{Bar, BarChart, BarGroup, BarScale};
pub use dots::{DotChart, DotRow};
pub use line::{LineChart, Series};
pub use matrix::MatrixChart;
pub use scatter::{ScatterChart, ScatterGroup, ScatterPoint};

use crate::escape;
use measure::{BOLD, fitting, shortened, text_width};

/// Where a chart will be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A file of its own: XML namespace, background and a dark-mode style sheet included.
    Standalone,
    /// Inside an HTML page whose style sheet colours the `c-*` classes (see [`class_rules`]).
    Inline,
}

/// Width of every chart in user units: half a desktop page, or a whole phone.
const WIDTH: f64 = 480.0;
/// System fonts, so that nothing is downloaded.
const FONT: &str =
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/// Colours of one scheme: paper, ink, muted ink, grid, and the series.
struct Scheme {
    paper: &'static str,
    ink: &'static str,
    muted: &'static str,
    grid: &'static str,
    series: [&'static str; SERIES],
}

/// Distinct series colours; more series than that start over.
const SERIES: usize = 7;

const LIGHT: Scheme = Scheme {
    paper: "#ffffff",
    ink: "#1c2128",
    muted: "#5b6470",
    grid: "#e1e5ea",
    series: [
        "#0072b2", "#d55e00", "#009e73", "#a8518a", "#8a6d00", "#3c8fc4", "#5b6470",
    ],
};

/// The same hues, light enough to stand out on a dark page.
const DARK: Scheme = Scheme {
    paper: "#14171c",
    ink: "#e6e9ee",
    muted: "#9aa4b1",
    grid: "#2b313a",
    series: [
        "#56b4e9", "#f0913f", "#3fc79a", "#d79ac4", "#d9bc3c", "#8fcdf2", "#9aa4b1",
    ],
};

impl Scheme {
    fn rules(&self) -> String {
        let mut css = format!(
            ".c-paper{{fill:{}}}.c-ink{{fill:{}}}.c-muted{{fill:{}}}.c-grid{{stroke:{}}}.c-axis{{stroke:{}}}",
            self.paper, self.ink, self.muted, self.grid, self.muted
        );
        for (i, colour) in self.series.iter().enumerate() {
            css.push_str(&format!(
                ".c-line{i}{{stroke:{colour}}}.c-fill{i}{{fill:{colour}}}"
            ));
        }
        css
    }

    /// What a page needs besides: its own colours as variables, and the series' for text.
    fn page_rules(&self) -> String {
        let Self {
            paper,
            ink,
            muted,
            grid,
            ..
        } = self;
        let mut css = format!(":root{{--paper:{paper};--ink:{ink};--muted:{muted};--rule:{grid}}}");
        for (i, colour) in self.series.iter().enumerate() {
            css.push_str(&format!(".c-text{i}{{color:{colour}}}"));
        }
        css + &self.rules()
    }
}

/// CSS for a page that inlines charts: light colours, and dark ones where the reader prefers them.
///
/// Besides the charts' classes it defines `--paper`, `--ink`, `--muted` and `--rule`, and `c-text0` and so on for text
/// in a series' colour, so that page and charts share one palette.
pub fn class_rules() -> String {
    let (light, dark) = (LIGHT.page_rules(), DARK.page_rules());
    format!("{light}\n@media screen and (prefers-color-scheme: dark){{{dark}}}\n")
}

/// An SVG document under construction.
struct Canvas {
    body: String,
}

/// How a text is set.
struct Type {
    class: &'static str,
    fill: &'static str,
    size: f64,
    bold: bool,
    anchor: &'static str,
}

const TITLE: Type = Type {
    class: "c-ink",
    fill: LIGHT.ink,
    size: 15.0,
    bold: true,
    anchor: "start",
};
const LABEL: Type = Type {
    class: "c-ink",
    fill: LIGHT.ink,
    size: 12.5,
    bold: false,
    anchor: "start",
};
const NOTE: Type = Type {
    class: "c-muted",
    fill: LIGHT.muted,
    size: 12.0,
    bold: false,
    anchor: "start",
};

impl Type {
    const fn anchored(self, anchor: &'static str) -> Self {
        Self { anchor, ..self }
    }
}

impl Canvas {
    /// Opens a chart of `height` user units that says its `title` to screen readers.
    fn open(title: &str, height: f64, placement: Placement) -> Self {
        let title = escape::html(&escape::single_line(title));
        let namespace = match placement {
            Placement::Standalone => {
                format!(
                    " xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\""
                )
            }
            Placement::Inline => String::new(),
        };
        let mut body = format!(
            "<svg{namespace} viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\" font-family=\"{FONT}\">\n"
        );
        if placement == Placement::Standalone {
            let (dark, paper) = (DARK.rules(), LIGHT.paper);
            body.push_str(&format!(
                "<style>@media (prefers-color-scheme: dark){{{dark}}}</style>\n"
            ));
            body.push_str(&format!(
                "<rect class=\"c-paper\" width=\"{WIDTH}\" height=\"{height}\" fill=\"{paper}\"/>\n"
            ));
        }
        Self { body }
    }

    /// A text that stays in the picture: where it would leave it, it is set smaller, and then shortened, with the whole
    /// of it as a tooltip.
    fn text(&mut self, x: f64, y: f64, style: &Type, text: &str) {
        let room = match style.anchor {
            "end" => x,
            "middle" => 2.0 * x.min(WIDTH - x),
            _ => WIDTH - x,
        } - 2.0;
        self.set(x, y, style, room, "", text);
    }

    /// A text turned by some degrees around its beginning.
    fn turned_text(&mut self, x: f64, y: f64, degrees: f64, style: &Type, text: &str) {
        let turn = format!(" transform=\"rotate({degrees} {x:.1} {y:.1})\"");
        self.set(x, y, style, f64::INFINITY, &turn, text);
    }

    fn set(&mut self, x: f64, y: f64, style: &Type, room: f64, turn: &str, text: &str) {
        let Type {
            class,
            fill,
            size,
            bold,
            anchor,
        } = style;
        let weight = if *bold { " font-weight=\"600\"" } else { "" };
        let anchor = if *anchor == "start" {
            String::new()
        } else {
            format!(" text-anchor=\"{anchor}\"")
        };
        let whole = escape::single_line(text);
        let room = if *bold { room / BOLD } else { room };
        let size = fitting(&whole, *size, room);
        let short = shortened(&whole, size, room);
        let tooltip = match short == whole {
            true => String::new(),
            false => format!("<title>{}</title>", escape::html(&whole)),
        };
        let text = escape::html(&short);
        self.body.push_str(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\"{weight}{anchor}{turn} fill=\"{fill}\">{tooltip}{text}</text>\n"
        ));
    }

    /// A text in a series' colour.
    fn coloured_text(&mut self, x: f64, y: f64, colour: usize, text: &str) {
        self.sized_text(x, y, colour, 12.5, text);
    }

    /// A text in a series' colour, of any size.
    fn sized_text(&mut self, x: f64, y: f64, colour: usize, size: f64, text: &str) {
        let (i, fill) = series_colour(colour);
        let text = escape::html(&escape::single_line(text));
        self.body.push_str(&format!(
            "<text class=\"c-fill{i}\" x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"600\" fill=\"{fill}\">{text}</text>\n"
        ));
    }

    fn grid_line(&mut self, from: (f64, f64), to: (f64, f64), axis: bool) {
        let (class, stroke) = if axis {
            ("c-axis", LIGHT.muted)
        } else {
            ("c-grid", LIGHT.grid)
        };
        self.body.push_str(&format!(
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\"/>\n",
            from.0, from.1, to.0, to.1
        ));
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: usize) {
        let (i, fill) = series_colour(colour);
        self.body.push_str(&format!(
            "<rect class=\"c-fill{i}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{fill}\"/>\n"
        ));
    }

    /// The text that stands where a chart without data would be.
    fn nothing(&mut self, y: f64) {
        self.text(WIDTH / 2.0, y, &NOTE.anchored("middle"), "no data");
    }

    fn close(mut self) -> String {
        self.body.push_str("</svg>\n");
        self.body
    }
}

fn series_colour(colour: usize) -> (usize, &'static str) {
    let i = colour % SERIES;
    (i, LIGHT.series.get(i).copied().unwrap_or(LIGHT.ink))
}

#[cfg(test)]
mod tests;

//! Horizontal bar charts.

use super::{Canvas, LABEL, NOTE, Placement, TITLE, WIDTH, text_width};

/// Groups of horizontal bars, one bar per model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarChart {
    /// Heading.
    pub title: String,
    /// What the bars measure, under the title.
    pub subtitle: String,
    /// What the longest bar stands for.
    pub scale: BarScale,
    /// The groups, top to bottom.
    pub groups: Vec<BarGroup>,
}

/// What the longest bar stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BarScale {
    /// One scale for the whole chart: all bars compare.
    #[default]
    Shared,
    /// One scale per group: bars compare within it only.
    PerGroup,
}

/// Bars under a common heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarGroup {
    /// Heading.
    pub label: String,
    /// The bars, top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// Left of the bar.
    pub name: String,
    /// Index of its colour.
    pub colour: usize,
    /// Its length; negative and non-finite values draw no bar.
    pub value: f64,
    /// Right of the bar.
    pub text: String,
}

const TOP: f64 = 50.0;
const GROUP: f64 = 24.0;
const ROW: f64 = 22.0;
const BAR: f64 = 16.0;
const AFTER: f64 = 8.0;

impl BarChart {
    /// Draws the chart; without bars it says so in their place.
    pub fn to_svg(&self, placement: Placement) -> String {
        let rows: usize = self.groups.iter().map(|g| g.bars.len()).sum();
        let height = TOP + self.groups.len() as f64 * (GROUP + AFTER) + rows.max(2) as f64 * ROW;
        let mut canvas = Canvas::open(&self.title, height, placement);
        canvas.text(4.0, 18.0, &TITLE, &self.title);
        canvas.text(4.0, 36.0, &NOTE, &self.subtitle);
        if rows == 0 {
            canvas.nothing(height / 2.0 + 16.0);
            return canvas.close();
        }
        let widest = |of: fn(&Bar) -> &str| {
            let widths = self
                .groups
                .iter()
                .flat_map(|g| &g.bars)
                .map(|bar| text_width(of(bar), 12.5));
            widths.fold(0.0, f64::max).min(WIDTH / 3.0)
        };
        let left = 4.0 + widest(|bar| &bar.name) + 8.0;
        let room = WIDTH - left - widest(|bar| &bar.text) - 12.0;
        let shared = longest(self.groups.iter().flat_map(|g| &g.bars));

        let mut y = TOP;
        for group in &self.groups {
            canvas.text(4.0, y + 14.0, &LABEL, &group.label);
            y += GROUP;
            let full = match self.scale {
                BarScale::Shared => shared,
                BarScale::PerGroup => longest(group.bars.iter()),
            };
            for bar in &group.bars {
                let share = if full > 0.0 { length(bar) / full } else { 0.0 };
                // A hair of colour for what is not zero but too short to see.
                let width = if share > 0.0 {
                    (share * room).max(1.5)
                } else {
                    0.0
                };
                canvas.text(left - 8.0, y + 12.5, &NOTE.anchored("end"), &bar.name);
                if width > 0.0 {
                    canvas.rect((left, y), (width, BAR), bar.colour);
                }
                canvas.text(left + width + 6.0, y + 12.5, &LABEL, &bar.text);
                y += ROW;
            }
            y += AFTER;
        }
        canvas.close()
    }
}

fn length(bar: &Bar) -> f64 {
    if bar.value.is_finite() {
        bar.value.max(0.0)
    } else {
        0.0
    }
}

fn longest<'a>(bars: impl Iterator<Item = &'a Bar>) -> f64 {
    bars.map(length).fold(0.0, f64::max)
}

//! The picture.

use bitnet_report::format;
use bitnet_train::{Progress, peak_rss_bytes};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Axis, Block, Chart, Dataset, GraphType, LineGauge, Paragraph, Row, Table, Wrap,
};

use super::Shown;

/// Points of a line: more are not seen.
const POINTS: usize = 400;
/// Columns of a terminal that has room for two charts beside each other.
const WIDE: u16 = 80;

pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let [head, curves, lower, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(4),
    ])
    .areas(frame.area());
    header(frame, head, shown);
    // Beside the losses the rate would have no room for its numbers.
    let share = u16::from(curves.width >= WIDE);
    let [losses, rate] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Fill(share)]).areas(curves);
    let name = |name: &str, points: &[(f64, f64)]| match points.last() {
        Some((_, last)) => format!("{name} {last:.4}"),
        None => name.to_owned(),
    };
    chart(
        frame,
        losses,
        " loss ",
        &[
            (name("training", &shown.train), Color::Blue, &shown.train),
            (name("validation", &shown.val), Color::Yellow, &shown.val),
        ],
        None,
        |loss| format!("{loss:.2}"),
    );
    chart(
        frame,
        rate,
        " learning rate ",
        &[(String::new(), Color::Green, &shown.rate)],
        // From there a schedule looks as it is, in its first steps too.
        Some(0.0),
        |rate| format!("{rate:.1e}"),
    );
    match shown.layers.is_empty() {
        true => sample(frame, lower, shown),
        false => {
            // Names of layers are told apart by their ends.
            let [left, right] =
                Layout::horizontal([Constraint::Fill(2 - share), Constraint::Fill(1)]).areas(lower);
            layers(frame, left, shown);
            sample(frame, right, shown);
        }
    }
    messages(frame, foot, shown);
}

/// How far it is, how fast, and how much memory it took.
fn header(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let block = Block::bordered().title(format!(" {} {} ", shown.label, shown.folder));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let (share, text) = match &shown.progress {
        _ if crate::interrupt::requested() => (1.0, "saving; once more ends at once".to_owned()),
        None => (0.0, "begins".to_owned()),
        Some(progress) => {
            let text = how_far(progress, peak_rss_bytes(), inner.width.into());
            (progress.step as f64 / progress.steps.max(1) as f64, text)
        }
    };
    let gauge = LineGauge::default()
        .label(text)
        .ratio(share.clamp(0.0, 1.0))
        .filled_style(Style::new().fg(Color::Blue));
    frame.render_widget(gauge, inner);
}

/// The header's line; without what explains itself where there is no room for it.
fn how_far(progress: &Progress, peak: Option<u64>, room: usize) -> String {
    let of = format!(
        "{} of {}  {:.0} tokens/s  {} left",
        format::integer(progress.step as u64),
        format::integer(progress.steps as u64),
        progress.tokens_per_second,
        format::seconds(progress.eta_seconds),
    );
    let memory = peak.map_or(String::new(), format::bytes);
    let long = format!("step {of}  peak {memory}");
    match () {
        () if memory.is_empty() => format!("step {of}"),
        () if long.len() <= room => long,
        () => format!("{of}  {memory}"),
    }
}

/// A curve: its name, its colour and its points.
type Curve<'a> = (String, Color, &'a Vec<(f64, f64)>);

fn chart(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    lines: &[Curve<'_>],
    from: Option<f64>,
    label: impl Fn(f64) -> String,
) {
    let thinned: Vec<Vec<(f64, f64)>> = (lines.iter())
        .map(|(_, _, points)| {
            let every = points.len().div_ceil(POINTS).max(1);
            let finite = |(_, y): &(f64, f64)| y.is_finite();
            points
                .iter()
                .copied()
                .filter(finite)
                .step_by(every)
                .collect()
        })
        .collect();
    let block = Block::bordered().title(title.to_owned());
    let all = || thinned.iter().flatten();
    if all().next().is_none() {
        return frame.render_widget(block, area);
    }
    let range = |of: fn(&(f64, f64)) -> f64| {
        let low = all().map(of).fold(f64::INFINITY, f64::min);
        let high = all().map(of).fold(f64::NEG_INFINITY, f64::max);
        // A line of one value has a height too.
        let least = (high.abs() * 1e-3).max(1e-12);
        [low, high.max(low + least)]
    };
    let (x, mut y) = (range(|p| p.0), range(|p| p.1));
    y[0] = from.unwrap_or(y[0]);
    let datasets = lines
        .iter()
        .zip(&thinned)
        .map(|((name, colour, _), points)| {
            Dataset::default()
                .name(name.as_str())
                .marker(Marker::Braille)
                .graph_type(GraphType::Line)
                .style(Style::new().fg(*colour))
                .data(points)
        });
    let muted = Style::new().fg(Color::DarkGray);
    let middle = (y[0] + y[1]) / 2.0;
    let chart = Chart::new(datasets.collect())
        .block(block)
        .hidden_legend_constraints((Constraint::Percentage(60), Constraint::Percentage(60)))
        .x_axis(
            Axis::default()
                .bounds(x)
                .style(muted)
                .labels([format!("{:.0}", x[0]), format!("{:.0}", x[1])]),
        )
        .y_axis(Axis::default().bounds(y).style(muted).labels([
            label(y[0]),
            label(middle),
            label(y[1]),
        ]));
    frame.render_widget(chart, area);
}

/// A row for each ternary layer; of more than there is room for, the first ones and the mean.
fn layers(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let count = shown.layers.len() as f64;
    let zeros: f64 = shown.layers.iter().map(|layer| layer.health.zeros).sum();
    let flips: Option<f64> = shown.layers.iter().map(|layer| layer.health.flips).sum();
    let row = |name: &str, zeros: f64, flips: Option<f64>| {
        let flips = flips.map_or(format::NONE.to_owned(), |flips| {
            format!("{:.4} %", 100.0 * flips)
        });
        Row::new([name.to_owned(), format!("{:.1} %", 100.0 * zeros), flips])
    };
    let mean = row("mean", zeros / count, flips.map(|flips| flips / count));
    // Beside two numbers, spaces and borders.
    let room = usize::from(area.width.saturating_sub(9 + 11 + 4));
    let rows = shown.layers.iter().map(|layer| {
        let name = shortened(&layer.layer, room);
        row(&name, layer.health.zeros, layer.health.flips)
    });
    let rows = std::iter::once(mean.style(Style::new().add_modifier(Modifier::BOLD))).chain(rows);
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(9),
        Constraint::Length(11),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(["", "zeros", "flips/step"]).style(Style::new().fg(Color::DarkGray)))
        .block(Block::bordered().title(" ternary layers "));
    frame.render_widget(table, area);
}

/// The end of a name, which tells it from its like.
fn shortened(name: &str, room: usize) -> String {
    let length = name.chars().count();
    if length <= room {
        return name.to_owned();
    }
    let end = name.chars().skip(length + 1 - room.max(1));
    std::iter::once('…').chain(end).collect()
}

/// The prompt bold, then what the model wrote, without characters that a terminal obeys.
fn sample(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let title = match &shown.sample {
        Some(sample) => format!(" sample, step {} ", sample.step),
        None => " sample ".to_owned(),
    };
    let mut lines: Vec<Line<'_>> = vec![Line::default()];
    if let Some(sample) = &shown.sample {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        for (text, style) in [(&sample.prompt, bold), (&sample.text, Style::new())] {
            for (at, piece) in text.split('\n').enumerate() {
                if at > 0 {
                    lines.push(Line::default());
                }
                let shown = |c: char| if c.is_control() { ' ' } else { c };
                let piece: String = piece.chars().map(shown).collect();
                if let Some(line) = lines.last_mut() {
                    line.push_span(Span::styled(piece, style));
                }
            }
        }
    }
    let text = Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .block(Block::bordered().title(title));
    frame.render_widget(text, area);
}

/// The last messages, and the keys.
fn messages(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let room = usize::from(area.height.saturating_sub(1));
    let first = shown.messages.len().saturating_sub(room);
    let mut lines: Vec<Line<'_>> = shown.messages[first..]
        .iter()
        .map(|message| Line::from(message.trim()))
        .collect();
    let keys = "q or Ctrl-C: save and end";
    lines.push(Line::styled(keys, Style::new().fg(Color::DarkGray)));
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_s_figures_have_room_at_60_columns() {
        let progress = Progress {
            step: 1_200,
            steps: 2_000,
            tokens_per_second: 61_234.0,
            eta_seconds: 80.0,
            loss: 1.5,
            learning_rate: 1e-3,
        };
        let line = how_far(&progress, Some(106_000_000), 58);
        assert!(line.len() <= 58 && line.ends_with("106 MB"), "{line}");
        assert!(how_far(&progress, Some(106_000_000), 78).starts_with("step 1,200 of"));
        assert!(how_far(&progress, None, 58).ends_with("left"));
    }

    #[test]
    fn the_end_of_a_long_name_is_seen() {
        let shown = |room| shortened("layers.0.self_attn.q_proj", room);
        assert_eq!(shown(25), "layers.0.self_attn.q_proj");
        assert_eq!(shown(24), "…yers.0.self_attn.q_proj");
        assert_eq!((shown(7).as_str(), shown(1).as_str()), ("…q_proj", "…"));
    }
}

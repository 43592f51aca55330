use super::*;

fn line(points: Vec<(f64, f64)>) -> Series {
    Series {
        name: "a<b".into(),
        points,
        ..Series::default()
    }
}

fn chart(series: Vec<Series>, log_y: bool) -> String {
    LineChart {
        title: "T & <t>".into(),
        series,
        log_y,
        ..LineChart::default()
    }
    .to_svg(Placement::Standalone)
}

#[test]
fn text_is_escaped_and_tags_balance() {
    let svg = chart(vec![line(vec![(0.0, 1.0), (1.0, 2.0)])], false);
    assert!(svg.contains("T &amp; &lt;t&gt;") && svg.contains("a&lt;b") && !svg.contains("a<b"));
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
}

#[test]
fn any_series_at_all_draws_something_finite() {
    let values = [
        0.0,
        1.0,
        -1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
        1e149,
        -1e149,
    ];
    for a in values {
        for b in values {
            for log_y in [false, true] {
                for points in [
                    vec![],
                    vec![(a, b)],
                    vec![(a, a), (b, b)],
                    vec![(0.0, a), (1.0, b), (2.0, a)],
                ] {
                    let svg = chart(vec![line(points.clone()), line(points)], log_y);
                    assert!(
                        !svg.contains("NaN")
                            && !svg.contains("=\"inf")
                            && svg.ends_with("</svg>\n"),
                        "{svg}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_gap_splits_the_line_and_a_lone_point_is_a_dot() {
    let points = vec![(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.5)];
    let svg = chart(vec![line(points)], false);
    assert_eq!(svg.matches("<circle").count(), 1);
    assert_eq!(svg.matches(" fill=\"none\"").count(), 1);
}

#[test]
fn a_long_series_keeps_its_extremes_in_a_small_file() {
    let mut points: Vec<(f64, f64)> = (0..100_000)
        .map(|i| (f64::from(i), f64::from(i % 7)))
        .collect();
    points[54_321].1 = 1000.0;
    let svg = chart(vec![line(points)], false);
    assert!(svg.len() < 30_000, "{}", svg.len());
    // The spike reaches the top of the plot, where the axis ends at 1000.
    assert!(svg.contains(" 74.0L"), "{svg}");
}

#[test]
fn bars_of_any_length_draw() {
    let bar = |value| Bar {
        name: "n|<".into(),
        value,
        text: "t&".into(),
        colour: usize::MAX,
    };
    let values = [0.0, -1.0, 1.0, 1e300, f64::NAN, f64::INFINITY];
    for scale in [BarScale::Shared, BarScale::PerGroup] {
        let groups = vec![
            BarGroup {
                label: "g".into(),
                bars: values.map(bar).to_vec(),
            },
            BarGroup::default(),
        ];
        let svg = BarChart {
            scale,
            groups,
            ..BarChart::default()
        }
        .to_svg(Placement::Inline);
        assert!(
            !svg.contains("NaN") && !svg.contains("=\"inf") && svg.contains("n|&lt;"),
            "{svg}"
        );
        // A positive value too short to see still leaves a mark; zero, negative and unknown ones none.
        assert_eq!(svg.matches("<rect").count(), 2);
    }
    assert!(
        BarChart::default()
            .to_svg(Placement::Inline)
            .contains("no data")
    );
}

#[test]
fn long_texts_stay_in_the_picture() {
    let name = "a variant with a name that nobody would give it, ".repeat(3) + "too long";
    let chart = BarChart {
        title: "A title that is much longer than a picture of this width can ever show in one line"
            .into(),
        groups: vec![BarGroup {
            label: "group".into(),
            bars: vec![Bar {
                name: name.clone(),
                value: 1.0,
                text: "1,234,567.89 tokens per second and then some more of them".into(),
                ..Bar::default()
            }],
        }],
        ..BarChart::default()
    };
    let svg = chart.to_svg(Placement::Inline);
    assert!(svg.contains(&format!("<title>{name}</title>")), "{svg}");
    stay_in(&svg);
    // Numbers of an axis that need more room than most.
    let rates = LineChart {
        series: vec![Series {
            name: "layers.0.mlp.down_proj".into(),
            points: vec![(0.0, 0.0020), (1.0, 0.0002)],
            ..Series::default()
        }],
        ..LineChart::default()
    };
    let svg = rates.to_svg(Placement::Inline);
    assert!(svg.contains(">0.0020<"), "{svg}");
    stay_in(&svg);
}

#[track_caller]
fn stay_in(svg: &str) {
    for text in svg.split("<text ").skip(1) {
        let number = |key: &str| -> f64 {
            let (_, rest) = text.split_once(&format!("{key}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let shown = text.split("</text>").next().unwrap();
        let shown = shown.rsplit('>').next().unwrap();
        let width = text_width(shown, number("font-size"));
        let before = match text {
            _ if text.contains("text-anchor=\"end\"") => 1.0,
            _ if text.contains("text-anchor=\"middle\"") => 0.5,
            _ => 0.0,
        };
        let left = number(" x") - before * width;
        let right = left + width;
        assert!(left >= 0.0 && right <= WIDTH, "{shown}: {left} to {right}");
    }
}

#[test]
fn names_beside_lines_stay_apart_and_below_the_legend() {
    for lines in [1, 2, 13, 14, 17, 40] {
        let series = (0..lines).map(|i| Series {
            name: format!("variant-{i}"),
            ..line(vec![(0.0, 1.0), (1.0, 1.0 + 1e-3 * f64::from(i))])
        });
        let svg = chart(series.collect(), false);
        let number = |line: &str, key: &str| -> Option<f64> {
            let rest = line.split_once(&format!(" {key}=\""))?.1;
            rest.split_once('"')?.0.parse().ok()
        };
        let texts = |wanted: fn(&str) -> bool| {
            let lines = svg
                .lines()
                .filter(move |line| line.starts_with("<text") && wanted(line));
            let mut ys: Vec<f64> = lines.filter_map(|line| number(line, "y")).collect();
            ys.sort_by(f64::total_cmp);
            ys
        };
        let names = texts(|line| line.contains(">variant-") && line.contains("weight=\"600\""));
        let legend = texts(|line| line.contains(">variant-") && !line.contains("weight=\"600\""));
        assert_eq!(
            (names.len(), legend.len()),
            (lines as usize, lines as usize),
            "{svg}"
        );
        assert!(
            names[0] > legend[legend.len() - 1] + 15.0,
            "{lines}: {names:?} {legend:?}"
        );
        assert!(
            names.windows(2).all(|pair| pair[1] - pair[0] > 14.9),
            "{names:?}"
        );
        let height = number(&svg, "height").unwrap();
        assert!(names[names.len() - 1] < height - 40.0, "{names:?} {height}");
    }
}

#[test]
fn an_axis_from_zero_has_numbers_that_differ() {
    let rates = LineChart {
        series: vec![line(vec![(0.0, 0.004), (1.0, 0.003_999)])],
        from_zero: true,
        ..LineChart::default()
    };
    let svg = rates.to_svg(Placement::Inline);
    for label in [">0<", ">0.002<", ">0.004<"] {
        assert!(svg.contains(label), "{label}: {svg}");
    }
    let empty = LineChart {
        series: Vec::new(),
        ..rates
    };
    assert!(!empty.to_svg(Placement::Inline).contains(">0<"));
}

#[test]
fn wide_signs_have_more_room_than_narrow_ones() {
    // DejaVu Sans at 100 units an em, from its advance widths: sums of 63.6, 31.8, 83.8, 97.4 and 27.8.
    for (text, width) in [
        ("1,234", 286.2),
        ("−0.25", 306.4),
        ("mmm", 292.2),
        ("ill", 83.4),
    ] {
        let kept = text_width(text, 100.0);
        assert!(
            kept >= width && kept < 1.06 * width,
            "{text}: {kept} for {width}"
        );
    }
}

#[test]
fn what_is_cut_says_so_where_it_tells_least() {
    let cut = |text: &str| shortened(text, 13.25, 120.0);
    assert_eq!(cut("layers.0.proj"), "layers.0.proj");
    assert_eq!(cut("encoder.layers.1.mlp.down_proj"), "encode…wn_proj");
    assert_eq!(cut("layers.2.self_attn.v_proj"), "layers…n.v_proj");
    assert_eq!(cut("a name of several words"), "a name of sev…");
    for width in [0.0, 1.0, 8.0, 16.0, 24.0] {
        assert!(
            shortened("a.b.c.d.e.f", 13.25, width).contains('…'),
            "{width}"
        );
    }
}

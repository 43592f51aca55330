use super::*;

fn hostile() -> Table {
    Table {
        header: vec![String::new(), "a|b".into()],
        sections: vec![Section {
            title: "<t>".into(),
            rows: vec![
                vec![
                    Cell::text("x\ny\u{1b}"),
                    Cell {
                        best: true,
                        ..Cell::number("1.5 k", 1500.0)
                    },
                ],
                vec![Cell::text("q\"u,o"), Cell::text("`v`")],
            ],
        }],
    }
}

#[test]
fn every_rendering_escapes() {
    let table = hostile();
    assert_eq!(
        table.to_text(),
        "           a|b\n<t>\n  x y␛   1.5 k\n  q\"u,o    `v`\n"
    );
    let markdown = table.to_markdown();
    assert!(
        markdown.starts_with("|  | a\\|b |\n| --- | ---: |\n| **&lt;t&gt;** | |\n"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| x y␛ | **1.5 k** |\n") && markdown.contains("\\`v\\`"),
        "{markdown}"
    );
    assert_eq!(
        table.to_csv(),
        "section,,a|b\n<t>,\"x\ny\u{1b}\",1500\n<t>,\"q\"\"u,o\",`v`\n"
    );
    let html = templates::html_table(&table);
    assert!(
        html.contains("&lt;t&gt;") && html.contains("<td><strong>1.5 k</strong></td>"),
        "{html}"
    );
}

#[test]
fn an_empty_or_ragged_table_is_fine() {
    let empty = Table::default();
    assert_eq!(empty.to_text(), "\n");
    empty.to_markdown();
    templates::html_table(&empty);
    let ragged = Table {
        header: vec!["one".into()],
        sections: vec![Section {
            title: String::new(),
            rows: vec![vec![], vec![Cell::text("a"), Cell::text("b")]],
        }],
    };
    assert_eq!(ragged.to_text(), "one\n\na\n");
    templates::html_table(&ragged);
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let cells = |label: &str, n: usize| -> Vec<Cell> {
        let numbers = (0..n).map(|i| Cell::number(format!("{i},234 tokens/s"), i as f64));
        std::iter::once(Cell::text(label)).chain(numbers).collect()
    };
    for columns in [1, 3, 12] {
        let table = Table {
            header: (0..=columns)
                .map(|i| format!("column number {i}"))
                .collect(),
            sections: vec![Section {
                title: "A section whose title is longer than the narrowest of the terminals".into(),
                rows: vec![cells(
                    "Validation loss before training, the first 16 batches",
                    columns,
                )],
            }],
        };
        for width in [30, 40, 60, 80] {
            let text = table.to_text_within(width);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{columns} {width}:\n{text}");
            }
            for part in ["0,234 tokens/s", "batches", "column number 1"] {
                assert!(
                    text.contains(part) || text.replace("\n  ", " ").contains(part),
                    "{text}"
                );
            }
        }
        assert_eq!(table.to_text_within(1000), table.to_text());
    }
}

#[test]
fn a_wide_value_leaves_its_name_readable() {
    let cells = [
        "pp512",
        "avx512-vnni, lookup products, base-three, int8 head, bf16 cache",
        "14 % dot peak",
    ];
    let table = Table {
        header: ["", "engine", "of the limit"].map(str::to_owned).into(),
        sections: vec![Section {
            title: String::new(),
            rows: vec![cells.map(Cell::text).into()],
        }],
    };
    assert_eq!(
        table.to_text_within(60),
        "pp512\n  engine        avx512-vnni, lookup products, base-three,\n                int8 head, bf16 cache\n  of the limit  14 % dot peak\n"
    );
}

#[test]
fn prose_folds_under_its_column() {
    let text = "ünïcode  first words of a value\n          not here: amx (the processor lacks it)\n\nshort\n";
    for width in [0, 1, 20, 26, 30, 60, 200] {
        let folded = folded(text, width);
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&folded), words(text), "{width}");
        let wide = folded.lines().any(|line| line.chars().count() > width);
        assert!(!wide || width < 26, "{width}:\n{folded}");
    }
    assert_eq!(folded(text, 26).lines().nth(1), Some("         value"));
    assert_eq!(folded(text, 200), text);
}

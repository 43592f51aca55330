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

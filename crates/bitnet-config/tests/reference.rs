//! The page of the book is what the source says.

use std::path::Path;

#[test]
fn the_page_of_the_book_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == bitnet_config::reference(),
        "docs/configuration.md is stale: write it anew with `bitnet config reference > docs/configuration.md`"
    );
}

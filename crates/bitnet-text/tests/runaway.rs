//! A template that no step counter ends. It stands alone because its thread goes on until the process ends.

use std::{collections::BTreeMap, time::Duration};

use bitnet_text::{ChatTemplate, Render, TextError};

#[test]
fn a_template_that_takes_too_long_is_left_behind() {
    let source = "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}";
    let template = ChatTemplate::new(source, BTreeMap::new()).unwrap();
    let template = template.with_deadline(Duration::from_millis(100));
    let error = template.render(&[], &Render::default()).unwrap_err();
    assert!(
        matches!(error, TextError::Deadline { milliseconds: 100 }),
        "{error}"
    );
}

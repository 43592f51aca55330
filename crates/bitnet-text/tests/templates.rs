//! Chat templates against what transformers (Jinja2) makes of them, byte by byte, and those that would not end.

use std::collections::BTreeMap;

use bitnet_text::{ChatTemplate, Message, Render, TemplateValue, TextError};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    template: String,
    special: BTreeMap<String, String>,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    variables: BTreeMap<String, TemplateValue>,
    expected: Option<String>,
    refused: Option<String>,
}

const SOURCES: [(&str, &str); 6] = [
    ("smollm2", include_str!("goldens/templates/smollm2.jinja")),
    ("bitnet", include_str!("goldens/templates/bitnet.jinja")),
    ("llama3", include_str!("goldens/templates/llama3.jinja")),
    ("qwen3", include_str!("goldens/templates/qwen3.jinja")),
    (
        "alternating",
        include_str!("goldens/templates/alternating.jinja"),
    ),
    (
        "everything",
        include_str!("goldens/templates/everything.jinja"),
    ),
];

#[test]
fn templates_render_as_in_python() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("goldens/templates.json")).unwrap();
    assert_eq!(cases.len(), 90);
    for (index, case) in cases.into_iter().enumerate() {
        let (_, source) = SOURCES
            .iter()
            .find(|(name, _)| *name == case.template)
            .unwrap();
        let template = ChatTemplate::new(source, case.special).unwrap();
        let how = Render {
            add_generation_prompt: case.add_generation_prompt,
            variables: case.variables,
        };
        let found = template.render(&case.messages, &how);
        match (found, case.expected, case.refused) {
            (Ok(found), Some(expected), _) => {
                assert_eq!(found, expected, "case {index}, {}", case.template);
            }
            (Err(TextError::Refused(found)), _, Some(refused)) => assert_eq!(found, refused),
            (found, expected, _) => panic!("case {index}: {found:?} where {expected:?}"),
        }
    }
}

fn render(source: &str) -> Result<String, TextError> {
    let template = ChatTemplate::new(source, BTreeMap::new())?;
    template.render(&[Message::new("user", "hello")], &Render::default())
}

#[test]
fn the_date_is_that_of_the_clock() {
    let now = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let now = now.with_timezone(&chrono::Local);
    let source = "{{ strftime_now('%d %b %Y %H:%M') }}";
    let template = ChatTemplate::with_clock(source, BTreeMap::new(), move || now).unwrap();
    let text = template.render(&[], &Render::default()).unwrap();
    assert_eq!(text, now.format("%d %b %Y %H:%M").to_string());
}

#[test]
fn a_template_that_does_not_end_or_explodes_is_an_error() {
    let double = "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}";
    for source in [
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        double,
        "{{ 'x' * 10000000000 }}",
        "{{ 'a'.replace('', 'x' * 100000) | replace('x', 'x' * 100000) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{% for i in range(1000000) %}{{ messages | tojson(indent=64) }}{% endfor %}",
    ] {
        let error = render(source).map(|text| text.len()).unwrap_err();
        let is_named = matches!(error, TextError::Fuel { .. } | TextError::Template { .. });
        assert!(is_named, "{source}: {error}");
        assert!(!error.to_string().contains('\n'), "{source}: {error}");
    }
}

#[test]
fn what_is_wrong_with_a_template_is_said_with_its_line() {
    for (source, expected) in [
        ("a\n{% if %}", "line 2: syntax error"),
        ("{{ nonsense() }}", "line 1: unknown function: nonsense"),
        ("\n\n{{ messages | nonsense }}", "line 3: unknown filter"),
        ("{{ missing.attribute }}", "line 1: undefined value"),
        (
            "{{ messages[0].content.nonsense() }}",
            "line 1: unknown method",
        ),
        ("{{ 1 | tojson(nonsense=1) }}", "line 1: too many arguments"),
        ("{{ strftime_now('%Q') }}", "the format \"%Q\" is unknown"),
        ("{% include 'file' %}", "line 1: template not found"),
    ] {
        let message = render(source).unwrap_err().to_string();
        assert!(message.contains(expected), "{source}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let refused = render("{{ raise_exception('no\\nway ' + messages[0].content) }}").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the model's chat template refuses this conversation: no way hello"
    );
    let long = "x".repeat((1 << 20) + 1);
    assert!(
        render(&long)
            .unwrap_err()
            .to_string()
            .contains("1048577 bytes")
    );
}

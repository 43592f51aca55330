//! What stands around the numbers, in words: exactness, assumptions, caveats, circumstances, samples.

use crate::energy::MODELLED;
use crate::format;
use crate::summary::{Summary, Twin};

/// Whether the exported model is the one that was trained, one sentence per packed twin.
pub(crate) fn exactness(summary: &Summary) -> Vec<String> {
    let sentence = |twin: &Twin| {
        let packed = twin.packed.as_ref()?;
        let (equal, compared) = (packed.token_match.equal, packed.token_match.compared);
        let tokens = match compared {
            0 => "the tokens it picks were not compared with those of the fake-quantised model it was trained as".to_owned(),
            n if equal >= n => format!("it picks the same token as the fake-quantised model it was trained as at all {} positions compared", format::integer(n)),
            n => format!(
                "it picks the same token as the fake-quantised model it was trained as at {} of {} positions ({} differ)",
                format::integer(equal), format::integer(n), format::integer(n - equal)
            ),
        };
        let (packed, trained) = (packed.val_loss, twin.val.loss);
        let loss = if packed.is_finite() && trained.is_finite() {
            let [p, t] = [packed, trained].map(|v| format::fixed(v, 5));
            format!(
                "; its validation loss is {p} packed, {t} in training form ({})",
                format::signed(packed - trained, 5)
            )
        } else {
            String::new()
        };
        Some(format!(
            "The exported {} model runs on packed codes with integer kernels: {tokens}{loss}.",
            twin.name
        ))
    };
    summary.twins.iter().filter_map(sentence).collect()
}

/// What the energy numbers rest on.
pub(crate) fn energy_assumptions(summary: &Summary) -> Vec<String> {
    let Some(energy) = summary.twins.iter().find_map(|t| t.energy.as_ref()) else {
        return Vec::new();
    };
    let metered = summary
        .twins
        .iter()
        .filter_map(|t| t.energy.as_ref())
        .any(|e| e.measured_joules_per_token.is_some());
    vec![
        format!(
            "The energy of the arithmetic is {MODELLED}: operations of one token, attending to {} positions, times published picojoules per operation (Horowitz 2014 for 45 nm, the BitNet papers for 7 nm).",
            format::integer(energy.context)
        ),
        "A float weight costs a multiplication and an addition; a ternary weight costs one 8-bit addition, plus one float multiplication per input and per output for the scales.".to_owned(),
        "The first part is what the papers quote: linear layers only. The whole model adds the output head and attention, which stay float in both twins. Norms, softmax and moving the weights through memory are left out of both, and no CPU spends energy this way: it is what hardware made for it could save.".to_owned(),
        if metered {
            "Measured joules come from the processor’s own meter and include everything the machine did meanwhile.".to_owned()
        } else {
            "Nothing was measured: this run had no energy meter it could read.".to_owned()
        },
    ]
}

/// What the numbers do not say.
pub(crate) fn caveats(summary: &Summary) -> Vec<String> {
    let seed = summary
        .seed
        .map_or(String::new(), |seed| format!(" ({seed})"));
    let mut notes = vec![
        format!("One seed{seed} per twin: the spread between seeds was not measured, so a small gap in loss may be chance. A claim needs three seeds or more."),
        "Both twins saw the same data in the same order and were scored by the same code, but each has its own learning rate: one shared rate cripples one of them. Neither rate is claimed to be the best possible.".to_owned(),
        "Times were taken once, on a machine that may have had other work; differences of a few percent are noise.".to_owned(),
        "Peak memory is the process’s high-water mark: program, libraries and data included.".to_owned(),
    ];
    if let Some(engine) = summary
        .twins
        .iter()
        .find_map(|t| t.inference.as_ref()?.engine.as_ref())
    {
        notes.push(format!(
            "Speed, samples and probe questions are those of the CPU engine ({engine}), which runs both twins without a tensor library; its loss is in the table, so what a narrower head costs shows."
        ));
    }
    if let Some(ternary) = summary
        .twins
        .iter()
        .find(|t| t.ternary_weights > 0 && t.params > 0)
    {
        let share = ternary.ternary_weights as f64 / ternary.params as f64;
        notes.push(format!(
            "{} of the {} model’s parameters are ternary; embeddings, norms and output head stay float. Savings apply to that share, and a model of another size or vocabulary has another one.",
            format::percent(share), ternary.name
        ));
    }
    notes
}

/// How the comparison was run, as label and text; empty texts are left out.
pub(crate) fn circumstances(summary: &Summary) -> Vec<(String, String)> {
    let Summary { machine, data, .. } = summary;
    let counted = |n: u64, what: &str| {
        if n > 0 {
            format!("{} {what}", format::integer(n))
        } else {
            String::new()
        }
    };
    let list = |parts: &[String]| {
        parts
            .iter()
            .filter(|p| !p.is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join(", ")
    };
    let cores = counted(
        machine.cores as u64,
        if machine.cores == 1 { "core" } else { "cores" },
    );
    let split = [
        data.description.clone(),
        counted(data.train_tokens, "training tokens"),
        counted(data.validation_tokens, "validation tokens"),
        counted(data.vocab as u64, "in the vocabulary"),
    ];
    let mut facts = vec![
        ("Data".to_owned(), list(&split)),
        (
            "Machine".to_owned(),
            list(&[
                machine.cpu.clone(),
                cores,
                machine.os.clone(),
                machine.kernel.clone(),
            ]),
        ),
        (
            "Backend".to_owned(),
            list(&[summary.backend.clone(), summary.device.clone()]),
        ),
        ("Date".to_owned(), summary.date.clone()),
        ("Version".to_owned(), summary.version.clone()),
        (
            "Seed".to_owned(),
            summary.seed.map_or(String::new(), |seed| seed.to_string()),
        ),
    ];
    for twin in &summary.twins {
        facts.push((format!("Optimiser, {}", twin.name), twin.optim.join("; ")));
    }
    facts.retain(|(_, text)| !text.is_empty());
    facts
}

/// What one twin wrote after a prompt.
pub(crate) struct Written<'a> {
    /// The twin's place in the summary.
    pub index: usize,
    pub twin: &'a Twin,
    pub text: &'a str,
}

/// For each prompt, what every twin that was given it wrote.
pub(crate) fn samples(summary: &Summary) -> Vec<(&str, Vec<Written<'_>>)> {
    let mut prompts: Vec<&str> = Vec::new();
    for sample in summary.twins.iter().flat_map(|t| &t.samples) {
        if !prompts.contains(&sample.prompt.as_str()) {
            prompts.push(&sample.prompt);
        }
    }
    let written = |prompt: &str| {
        let mut all = Vec::new();
        for (index, twin) in summary.twins.iter().enumerate() {
            let matching = twin.samples.iter().filter(|s| s.prompt == prompt);
            all.extend(matching.map(|s| Written {
                index,
                twin,
                text: &s.text,
            }));
        }
        all
    };
    prompts
        .into_iter()
        .map(|prompt| (prompt, written(prompt)))
        .collect()
}

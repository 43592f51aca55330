//! Models from one container to the other and back: codes, scales, values and conventions stay.

use std::{fs, path::Path};

use bitnet_formats::{
    ModelFile, ScaleDirection, Target, TensorType, convert,
    hf::GenerationConfig,
    model::{Family, LayerRole, Projection, Role, Tensor, WeightFormat},
};
use bitnet_kernels::{Granularity, PackedTernary, WeightQuantizer};
use serde_json::json;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");

fn open(path: &str) -> ModelFile {
    ModelFile::open(format!("{GOLDENS}/{path}")).unwrap()
}

fn to(model: &ModelFile, target: &str, path: &Path) -> ModelFile {
    let converted = convert(model, target.parse().unwrap(), path).unwrap();
    let new = ModelFile::open(path).unwrap();
    assert!(converted.tensors >= new.source().tensors().len());
    assert!(converted.bytes > 0);
    new
}

/// The conventions that a container can hold are those of the other.
fn same_model(old: &ModelFile, new: &ModelFile) {
    let (old, new) = (old.source().description(), new.source().description());
    assert_eq!(old.shape, new.shape);
    assert_eq!(old.activation.value, new.activation.value);
    assert_eq!(old.tied_head.value, new.tied_head.value);
    let (a, b) = (old.norms.value, new.norms.value);
    assert!((a.eps - b.eps).abs() <= 1e-7 * a.eps, "{} {}", a.eps, b.eps);
    let flags =
        |n: bitnet_formats::model::Norms| (n.sub_norms, n.query_key_norms, n.projection_norms);
    assert_eq!(flags(a), flags(b));
    assert!((old.rope.value.theta - new.rope.value.theta).abs() < 1e-3);
}

fn is_projection(role: Role) -> bool {
    matches!(role, Role::Layer(_, LayerRole::Projection(_)))
}

/// Every tensor has the same weights; `tolerance` of the largest for what is not ternary.
fn same_weights(old: &ModelFile, new: &ModelFile, tolerance: f32) {
    for entry in old.source().tensors() {
        let (a, b) = (
            old.source().read(entry.role).unwrap(),
            new.source().read(entry.role).unwrap(),
        );
        if let (Tensor::Ternary(a), Tensor::Ternary(b)) = (&a, &b) {
            assert_eq!(a.codes(), b.codes(), "{}", entry.name);
        }
        let tolerance = if is_projection(entry.role) {
            tolerance
        } else {
            tolerance.max(1e-3)
        };
        let (a, b) = (a.to_f32(), b.to_f32());
        let largest = a.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
        for (a, b) in a.iter().zip(&b) {
            assert!(
                (a - b).abs() <= tolerance * largest,
                "{}: {a} {b}",
                entry.name
            );
        }
    }
}

/// f16 scales are exact in every type with groups; the scale of I2_S was f16 in the golden.
#[test]
fn ternary_models_go_through_every_type() {
    let folder = tempfile::tempdir().unwrap();
    for (model, targets) in [
        (
            "gguf/bitnet-b1.58.gguf",
            &["gguf-q2_0", "gguf-i2_s", "hf", "hf-packed"][..],
        ),
        (
            "gguf/bitnet.gguf",
            &[
                "gguf-tq1_0",
                "gguf-tq2_0",
                "gguf-q2_0",
                "gguf-i2_s",
                "hf",
                "hf-packed",
            ],
        ),
        (
            "gguf/llama.gguf",
            &[
                "gguf-tq1_0",
                "gguf-tq2_0",
                "gguf-q2_0",
                "gguf-i2_s",
                "hf-packed",
            ],
        ),
        ("gguf/qwen3.gguf", &["gguf-q2_0", "hf-packed"]),
        ("hf/bitnet", &["hf", "hf-packed"]),
        ("hf/bitnet-unpacked", &["hf-packed"]),
        ("hf/llama-bitlinear", &["hf", "hf-packed"]),
    ] {
        let old = open(model);
        for target in targets {
            let path = folder
                .path()
                .join(format!("{}-{target}", model.replace('/', "-")));
            let new = to(&old, target, &path);
            same_model(&old, &new);
            // A scale that divides is inverted for a class that multiplies.
            same_weights(&old, &new, if *target == "hf" { 1e-6 } else { 0.0 });
            let weights = new.source().description().weights.value;
            assert_ne!(weights, WeightFormat::Float, "{model} {target}");
            // And from there to the other container.
            let back = if target.starts_with("gguf") {
                "hf-packed"
            } else {
                "gguf-f16"
            };
            let again = to(
                &new,
                back,
                &folder
                    .path()
                    .join(format!("{}-{target}-{back}", model.replace('/', "-"))),
            );
            same_model(&old, &again);
            same_weights(&old, &again, 1e-3);
        }
    }
}

#[test]
fn the_bits_of_a_scale_stay_where_its_direction_does() {
    let folder = tempfile::tempdir().unwrap();
    for (model, direction) in [
        ("hf/bitnet", ScaleDirection::Multiply),
        ("hf/llama-bitlinear", ScaleDirection::Divide),
    ] {
        let old = open(model);
        let new = to(
            &old,
            "hf-packed",
            &folder.path().join(model.replace('/', "-")),
        );
        assert_eq!(
            new.source().description().weights.value,
            WeightFormat::Codes { direction }
        );
        for entry in old
            .source()
            .tensors()
            .iter()
            .filter(|entry| is_projection(entry.role))
        {
            let tensors = [&old, &new].map(|model| model.source().read(entry.role).unwrap());
            assert_eq!(tensors[0], tensors[1], "{}", entry.name);
        }
    }
}

/// Master weights become the codes and the scale that the model computes when it runs.
#[test]
fn master_weights_are_quantised_by_absmean() {
    let folder = tempfile::tempdir().unwrap();
    let role = Role::Layer(1, LayerRole::Projection(Projection::Up));
    for (model, family) in [
        ("hf/bitnet-online", Family::BitNet),
        ("hf/onebit", Family::BitNet),
    ] {
        let old = open(model);
        let packed = to(
            &old,
            "hf-packed",
            &folder.path().join(format!("{}-packed", &model[3..])),
        );
        assert_eq!(packed.source().description().family.value, family);
        let Tensor::Float { shape, values } = old.source().read(role).unwrap() else {
            panic!("master weights are floats");
        };
        let (absmean, whole) = (WeightQuantizer::AbsMean, Granularity::Tensor);
        let expected =
            PackedTernary::from_latent(&values, shape[0], shape[1], absmean, whole).unwrap();
        let Tensor::Ternary(found) = packed.source().read(role).unwrap() else {
            panic!("packed weights are codes");
        };
        assert_eq!(found.into_packed().unwrap(), expected);
        // As masters again, they stay masters.
        let masters = to(
            &old,
            "hf",
            &folder.path().join(format!("{}-hf", &model[3..])),
        );
        assert_eq!(
            masters.source().description().weights.value,
            WeightFormat::OnlineAbsMean
        );
        same_weights(&old, &masters, 0.0);
    }
}

#[test]
fn floats_and_rope_go_to_gguf() {
    let folder = tempfile::tempdir().unwrap();
    for model in [
        "hf/llama-float",
        "hf/llama-rows",
        "hf/qwen3-groups",
        "gguf/llama-float.gguf",
    ] {
        let old = open(model);
        let path = folder
            .path()
            .join(format!("{}.gguf", model.replace('/', "-")));
        let new = to(&old, "gguf-f16", &path);
        same_model(&old, &new);
        same_weights(&old, &new, 1e-3);
    }
    // Llama 3.1's RoPE is a tensor of factors in GGUF: 1 for the fastest pair, the whole factor for the slowest.
    let llama = ModelFile::open(folder.path().join("hf-llama-float.gguf")).unwrap();
    let scaling = llama.source().description().rope.value.scaling.clone();
    let Some(bitnet_formats::model::RopeScaling::Factors { factors }) = scaling else {
        panic!("{scaling:?}");
    };
    assert_eq!((factors.len(), factors[0], factors[3]), (4, 1.0, 8.0));
}

/// What a file holds is what the type's own encoding gives of the rows as they lie in it; tables stay F16, or F32.
#[test]
fn floats_are_rounded_to_blocks_as_their_type_rounds_them() {
    let folder = tempfile::tempdir().unwrap();
    let old = open("hf/qwen3-groups");
    for (target, ty, table, blocks) in [
        ("gguf-f32", TensorType::F32, "F32", false),
        ("gguf-q8_0", TensorType::Q8_0, "F16", true),
        ("gguf-q4_0", TensorType::Q4_0, "F16", true),
        ("gguf-q4_1", TensorType::Q4_1, "F16", true),
    ] {
        let new = to(&old, target, &folder.path().join(target));
        same_model(&old, &new);
        let mut rounded = false;
        for entry in new.source().tensors() {
            let before = old.source().read(entry.role).unwrap().to_f32();
            let after = new.source().read(entry.role).unwrap().to_f32();
            if !is_projection(entry.role) {
                let expected = if entry.shape.len() == 1 { "F32" } else { table };
                assert_eq!(entry.storage, expected, "{target} {}", entry.name);
                continue;
            }
            assert_eq!(entry.storage, ty.to_string(), "{target} {}", entry.name);
            // Blocks lie within rows, and rows of q and k change their places alike before and after.
            let encoded = ty.encode_floats(&before, entry.shape[1]).unwrap();
            let size = match ty {
                TensorType::F32 => 4.0,
                TensorType::Q8_0 => 34.0 / 32.0,
                TensorType::Q4_0 => 18.0 / 32.0,
                _ => 20.0 / 32.0,
            };
            assert_eq!(encoded.len(), (size * before.len() as f64) as usize);
            assert_eq!(entry.bytes, encoded.len() as u64);
            rounded |= before != after;
            let step = |block: &[f32]| {
                let least = block.iter().copied().fold(f32::INFINITY, f32::min);
                let most = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                match ty {
                    TensorType::F32 => 0.0,
                    TensorType::Q8_0 => least.abs().max(most.abs()) / 127.0,
                    // The end that has no code of its own is a whole step off.
                    TensorType::Q4_0 => 2.0 * least.abs().max(most.abs()) / 8.0,
                    _ => (most - least) / 15.0,
                }
            };
            for (before, after) in before.chunks(32).zip(after.chunks(32)) {
                // Half a step, and the rounding of the scale to f16.
                let bound = 0.52 * step(before);
                for (a, b) in before.iter().zip(after) {
                    assert!((a - b).abs() <= bound, "{target} {}: {a} {b}", entry.name);
                }
            }
        }
        assert_eq!(rounded, blocks, "{target}");
    }
    // Rows of 48 are not whole blocks, which is found before anything is written.
    let path = folder.path().join("narrow");
    let q8 = Target::Gguf(TensorType::Q8_0);
    assert!(convert(&open("hf/llama-float"), q8, &path).is_err() && !path.exists());
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    for (model, target, expected) in [
        (
            "hf/llama-float",
            "gguf-tq2_0",
            "the model's weights are floats, the format is ternary; train it to ternary first",
        ),
        (
            "hf/llama-float",
            "hf-packed",
            "the model's weights are floats, the format is ternary",
        ),
        (
            "hf/bitnet",
            "gguf-tq2_0",
            "rows of 32 weights are not whole blocks of 256 (TQ2_0): no ternary type fits; F32, F16",
        ),
        (
            "hf/bitnet",
            "gguf-i2_s",
            "rows of 32 weights are not whole blocks of 128 (I2_S)",
        ),
        (
            "gguf/qwen3.gguf",
            "gguf-tq1_0",
            "rows of 64 weights are not whole blocks of 256 (TQ1_0): Q2_0 fit",
        ),
        (
            "hf/qwen3-groups",
            "gguf-q2_0",
            "the scale changes at row 0, column 32, within 64 weights that share one",
        ),
        (
            "hf/qwen3-groups",
            "hf-packed",
            "several scales, expected one: choose hf, or a GGUF type with groups",
        ),
        ("hf/llama-rows", "hf-packed", "several scales, expected one"),
        (
            "hf/embedding",
            "gguf-q2_0",
            "rows of 32 weights are not whole blocks of 64",
        ),
        (
            "hf/embedding",
            "hf-packed",
            "projections have norms of their own",
        ),
        (
            "gguf/llama-float.gguf",
            "hf",
            "RoPE has a factor for each frequency",
        ),
    ] {
        let error = convert(&open(model), target.parse().unwrap(), &path)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{model} {target}: {error}");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "{model} {target}"
        );
    }
    fs::write(&path, "mine").unwrap();
    let error = convert(&open("hf/bitnet"), Target::Hf, &path)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("it is there already; choose a path that is free"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert!(
        "gguf-q4"
            .parse::<Target>()
            .unwrap_err()
            .to_string()
            .contains("choose hf, hf-packed")
    );
}

/// How the authors of a model sample from it goes from a folder to GGUF, from there to GGUF and back.
#[test]
fn sampling_goes_both_ways() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(format!("{GOLDENS}/hf/bitnet")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    for (sampling, temperature) in [
        (
            json!({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05}),
            Some(0.6),
        ),
        (json!({"repetition_penalty": 1.1, "top_k": 0}), None),
        // The temperature of what does not sample is none.
        (json!({"do_sample": false, "temperature": 0.7}), Some(0.0)),
        (json!({"eos_token_id": 2}), None),
    ] {
        fs::write(folder.join("generation_config.json"), sampling.to_string()).unwrap();
        let round = tempfile::tempdir_in(place.path()).unwrap();
        let path = |name: &str| round.path().join(name);
        let first = to(
            &ModelFile::open(&folder).unwrap(),
            "gguf-f16",
            &path("a.gguf"),
        );
        let second = to(&first, "gguf-f16", &path("b.gguf"));
        let ModelFile::Gguf(gguf) = &second else {
            panic!("a GGUF file")
        };
        let found = GenerationConfig::of_gguf(gguf.file());
        assert_eq!(
            found.temperature.map(|t| t as f32),
            temperature,
            "{sampling}"
        );
        to(&second, "hf", &path("back"));
        let back = fs::read_to_string(path("back/generation_config.json"));
        if sampling.get("eos_token_id").is_some() {
            assert!(back.is_err(), "nothing is said of sampling");
            continue;
        }
        let back: serde_json::Value = serde_json::from_str(&back.unwrap()).unwrap();
        for key in ["top_k", "top_p", "min_p", "repetition_penalty"] {
            assert_eq!(back.get(key), sampling.get(key), "{key}");
        }
        let greedy = sampling["do_sample"] == json!(false);
        assert_eq!(back["do_sample"] == json!(false), greedy, "{back}");
        let kept = sampling.get("temperature").filter(|_| !greedy);
        assert_eq!(back.get("temperature"), kept);
    }
}

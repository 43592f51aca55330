//! Models of every family, against files that transformers and the gguf package wrote (tests/goldens).

use bitnet_formats::{
    ModelFile, ScaleDirection, TernaryTensor,
    gguf::GgufModel,
    hf::{HfModel, pack_rows},
    inspect::Report,
    model::{
        Activation, ActivationFormat, Family, LayerRole, Projection, Role, RopeScaling, Tensor,
        TensorSource, TokenizerKind, WeightFormat,
    },
    safetensors::SafetensorsFile,
};
use bitnet_kernels::Granularity;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");

fn hf(name: &str) -> HfModel {
    HfModel::open(format!("{GOLDENS}/hf/{name}")).unwrap()
}

fn gguf(name: &str) -> GgufModel {
    GgufModel::open(format!("{GOLDENS}/gguf/{name}.gguf")).unwrap()
}

fn expected(path: &str) -> SafetensorsFile {
    SafetensorsFile::open(format!("{GOLDENS}/{path}.safetensors")).unwrap()
}

fn ternary(tensor: Tensor) -> TernaryTensor {
    match tensor {
        Tensor::Ternary(ternary) => ternary,
        Tensor::Float { .. } => panic!("floats, expected codes"),
    }
}

fn codes(file: &SafetensorsFile, name: &str) -> Option<Vec<i8>> {
    let tensor = file.tensor(&format!("{name}.codes"))?;
    Some(tensor.bytes().iter().map(|byte| *byte as i8).collect())
}

/// Every tensor of the model is there and has its shape; those that the golden has codes of have these codes.
fn check_codes(model: &dyn TensorSource, golden: &SafetensorsFile, scales: &str) -> usize {
    let description = model.description();
    let mut roles: Vec<_> = description.roles().collect();
    roles.sort_unstable();
    assert!(model.tensors().iter().map(|entry| entry.role).eq(roles));
    let mut seen = 0;
    for entry in model.tensors() {
        let tensor = model.read(entry.role).unwrap();
        assert_eq!(entry.shape, entry.role.shape(&description.shape));
        assert_eq!(tensor.to_f32().len(), entry.shape.iter().product::<usize>());
        let name = &entry.name;
        if let Some(codes) = codes(golden, name) {
            let tensor = ternary(tensor);
            assert_eq!(tensor.codes(), codes, "{name}");
            let scales = golden
                .tensor(&format!("{name}.{scales}"))
                .unwrap()
                .to_f32()
                .unwrap();
            let read = tensor.scales();
            let equal = match tensor.granularity() {
                Granularity::Group(_) if scales.len() == 1 => read.iter().all(|s| *s == scales[0]),
                _ => read == scales,
            };
            assert!(equal, "{name}: {read:?}, expected {scales:?}");
            seen += 1;
        } else if let Some(values) = golden.tensor(&format!("{name}.values")) {
            assert_eq!(tensor.to_f32(), values.to_f32().unwrap(), "{name}");
            seen += 1;
        } else if let Tensor::Ternary(_) = tensor {
            assert_ne!(description.weights.value, WeightFormat::Float, "{name}");
        }
    }
    seen
}

#[test]
fn packed_codes_of_both_directions_are_transformers_own() {
    for (name, direction) in [
        ("bitnet", ScaleDirection::Multiply),
        ("bitnet-unpacked", ScaleDirection::Multiply),
        ("llama-bitlinear", ScaleDirection::Divide),
    ] {
        let model = hf(name);
        assert_eq!(
            model.description().weights.value,
            WeightFormat::Codes { direction }
        );
        assert_eq!(
            model.description().activations.value,
            ActivationFormat::Int8
        );
        assert_eq!(
            check_codes(&model, &expected(&format!("hf/{name}")), "scales"),
            14,
            "{name}"
        );
    }
    // The same codes as floats and packed.
    let role = Role::Layer(1, LayerRole::Projection(Projection::Down));
    let (packed, floats) = (hf("bitnet"), hf("bitnet-unpacked"));
    assert_eq!(packed.read(role).unwrap(), floats.read(role).unwrap());
    for entry in packed
        .tensors()
        .iter()
        .filter(|entry| entry.storage == "U8")
    {
        let again = pack_rows(&ternary(packed.read(entry.role).unwrap()));
        assert_eq!(
            again,
            packed.checkpoint().tensor(&entry.name).unwrap().bytes()
        );
    }
}

#[test]
fn floats_that_are_ternary_become_codes() {
    for (name, granularity, matrices) in [
        ("llama-rows", Granularity::Row, 14),
        ("qwen3-groups", Granularity::Group(32), 8),
    ] {
        let model = hf(name);
        let weights = model.description().weights.value;
        assert_eq!(
            weights,
            WeightFormat::TernaryValues { granularity },
            "{name}"
        );
        assert_eq!(
            check_codes(&model, &expected(&format!("hf/{name}")), "scales"),
            matrices
        );
    }
}

#[test]
fn families_of_transformers_are_told_apart() {
    use WeightFormat::{Float, OnlineAbsMean};
    for (name, family, weights, activation, tied, [sub, heads, inputs]) in [
        (
            "bitnet-online",
            Family::BitNet,
            Some(OnlineAbsMean),
            Activation::Relu2,
            true,
            [true, false, false],
        ),
        (
            "bitnet",
            Family::BitNet,
            None,
            Activation::Relu2,
            true,
            [true, false, false],
        ),
        (
            "onebit",
            Family::OneBitLlm,
            Some(OnlineAbsMean),
            Activation::Silu,
            true,
            [true, false, false],
        ),
        (
            "llama-bitlinear",
            Family::Llama,
            None,
            Activation::Silu,
            false,
            [false; 3],
        ),
        (
            "llama-float",
            Family::Llama,
            Some(Float),
            Activation::Silu,
            false,
            [false; 3],
        ),
        (
            "qwen3-groups",
            Family::Qwen3,
            None,
            Activation::Silu,
            true,
            [false, true, false],
        ),
        (
            "embedding",
            Family::Qwen3,
            Some(OnlineAbsMean),
            Activation::Silu,
            true,
            [false, true, true],
        ),
    ] {
        let model = hf(name);
        let description = model.description();
        assert_eq!(description.family.value, family, "{name}");
        assert_eq!(description.activation.value, activation, "{name}");
        assert_eq!(description.tied_head.value, tied, "{name}");
        if let Some(weights) = weights {
            assert_eq!(description.weights.value, weights, "{name}");
        }
        let norms = description.norms.value;
        let found = [
            norms.sub_norms,
            norms.query_key_norms,
            norms.projection_norms,
        ];
        assert_eq!(found, [sub, heads, inputs], "{name}");
        assert!(!description.rope.value.interleaved_in_file);
        for entry in model.tensors() {
            model.read(entry.role).unwrap();
        }
    }
}

#[test]
fn sizes_rope_and_tokens_are_read() {
    let float = hf("llama-float");
    let description = float.description();
    assert_eq!(
        (description.shape.head_dim, description.shape.query_size()),
        (8, 32)
    );
    assert_eq!(description.shape.key_value_size(), 16);
    assert_eq!(float.checkpoint().files(), 2);
    let rope = &description.rope.value;
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 32,
    };
    assert_eq!((rope.theta, rope.scaling.clone()), (1e5, Some(scaling)));
    assert_eq!(hf("llama-bitlinear").description().shape.head_dim, 24);
    let qwen3 = hf("qwen3-groups");
    let rope = &qwen3.description().rope.value;
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original_max_position_embeddings: 16,
        attention_factor: None,
        beta_fast: 32.0,
        beta_slow: 1.0,
    };
    assert_eq!((rope.theta, rope.scaling.clone()), (1e6, Some(yarn)));
    assert_eq!(qwen3.description().tokenizer.value, TokenizerKind::Missing);

    let bitnet = hf("bitnet");
    let description = bitnet.description();
    assert_eq!(
        description.tokenizer.value,
        TokenizerKind::HuggingFace("BPE".into())
    );
    let tokens = &description.special_tokens;
    assert_eq!(
        (tokens.bos, &tokens.eos[..], tokens.add_bos),
        (Some(1), &[2, 7][..], Some(true))
    );
    let template = description.chat_template.as_deref().unwrap();
    assert!(
        template.starts_with("{% for m in messages %}"),
        "{template}"
    );
    assert_eq!(bitnet.text().generation_config().temperature, Some(0.6));
}

#[test]
fn every_architecture_of_gguf_is_read_in_rotate_half_order() {
    for (name, family, activation, tied, interleaved, matrices) in [
        (
            "bitnet-b1.58",
            Family::BitNet,
            Activation::Relu2,
            true,
            false,
            2,
        ),
        (
            "bitnet",
            Family::OneBitLlm,
            Activation::Silu,
            true,
            false,
            2,
        ),
        ("llama", Family::Llama, Activation::Silu, false, true, 3),
        (
            "llama-float",
            Family::Llama,
            Activation::Silu,
            true,
            true,
            3,
        ),
        ("qwen3", Family::Qwen3, Activation::Silu, true, false, 2),
    ] {
        let model = gguf(name);
        let description = model.description();
        assert_eq!(description.family.value, family, "{name}");
        assert_eq!(description.activation.value, activation, "{name}");
        assert_eq!(description.tied_head.value, tied, "{name}");
        assert_eq!(
            description.rope.value.interleaved_in_file, interleaved,
            "{name}"
        );
        assert_eq!(description.rope.value.theta, 5e5);
        let ternary = description.weights.value == WeightFormat::Blocks;
        assert_eq!(ternary, name != "llama-float");
        assert_eq!(
            check_codes(&model, &expected(&format!("gguf/{name}")), "scale"),
            matrices,
            "{name}"
        );
    }
}

#[test]
fn gguf_metadata_becomes_a_description() {
    let qwen3 = gguf("qwen3");
    let description = qwen3.description();
    assert_eq!(
        (description.shape.head_dim, description.shape.query_size()),
        (32, 128)
    );
    assert!(description.norms.value.query_key_norms && !description.norms.value.sub_norms);
    let scaling = description.rope.value.scaling.clone();
    assert!(
        matches!(scaling, Some(RopeScaling::Yarn { factor: 4.0, .. })),
        "{scaling:?}"
    );
    let pre = |pre: &str| TokenizerKind::GgufBpe { pre: pre.into() };
    assert_eq!(description.tokenizer.value, pre("qwen2"));
    let tokens = &description.special_tokens;
    assert_eq!((tokens.bos, &tokens.eos[..]), (Some(1), &[2, 5][..]));
    // No `tokenizer.ggml.pre`: concluded, and said so.
    let bitnet = gguf("bitnet-b1.58");
    assert_eq!(bitnet.description().tokenizer.value, pre("llama-bpe"));
    assert!(
        bitnet
            .description()
            .tokenizer
            .evidence
            .contains("no tokenizer.ggml.pre")
    );
    assert!(
        bitnet.description().warnings[0].contains("7 tensors are I2_S"),
        "the order is not silent"
    );
    let scaling = gguf("llama-float").description().rope.value.scaling.clone();
    assert!(matches!(scaling, Some(RopeScaling::Factors { factors }) if factors.len() == 8));
}

#[test]
fn codes_become_the_matrices_of_the_kernels() {
    let role = Role::Layer(0, LayerRole::Projection(Projection::Key));
    for (tensor, name) in [
        (
            ternary(gguf("llama").read(role).unwrap()),
            "multiplied groups",
        ),
        (
            ternary(hf("llama-bitlinear").read(role).unwrap()),
            "a scale that divides",
        ),
        (
            ternary(hf("bitnet").read(role).unwrap()),
            "a scale that multiplies",
        ),
    ] {
        let packed = tensor.clone().into_packed().unwrap();
        assert_eq!(packed.granularity(), tensor.granularity(), "{name}");
        for row in 0..tensor.rows() {
            for col in 0..tensor.cols() {
                assert_eq!(packed.code(row, col), tensor.code(row, col), "{name}");
            }
        }
        let again = TernaryTensor::from(packed);
        for (index, (a, b)) in again.to_f32().iter().zip(tensor.to_f32()).enumerate() {
            // Inverting twice rounds twice.
            assert!(
                (a - b).abs() <= b.abs() * f32::EPSILON,
                "{name} {index}: {a} {b}"
            );
        }
    }
}

/// All conventions with their evidence, and the counts of every tensor.
#[test]
fn inspection_counts_codes_and_names_its_evidence() {
    let report =
        |path: &str| Report::read(&ModelFile::open(format!("{GOLDENS}/{path}")).unwrap()).unwrap();
    for path in [
        "hf/bitnet",
        "hf/bitnet-online",
        "hf/qwen3-groups",
        "gguf/qwen3.gguf",
        "gguf/llama.gguf",
    ] {
        let report = report(path);
        for (name, convention) in report.conventions() {
            assert!(
                !convention.value.is_empty() && !convention.evidence.is_empty(),
                "{path} {name}"
            );
        }
        let elements: u64 = report
            .tensors
            .iter()
            .map(|t| t.shape.iter().product::<usize>() as u64)
            .sum();
        assert_eq!(report.params, elements);
        let codes: Vec<_> = report
            .tensors
            .iter()
            .filter_map(|t| t.codes.map(|codes| (t, codes)))
            .collect();
        assert!(codes.len() >= 7, "{path}");
        for (tensor, codes) in codes {
            let total: u64 = codes.counts.iter().sum();
            assert_eq!(total, tensor.shape.iter().product::<usize>() as u64);
            assert!(codes.counts.iter().all(|n| *n > 0) && codes.multiplier[0] > 0.0);
        }
    }
    let bitnet = report("hf/bitnet");
    assert_eq!(bitnet.scale_convention.value, "multiply");
    assert!(
        bitnet
            .scale_convention
            .evidence
            .contains("linear_class autobitlinear")
    );
    assert_eq!(
        report("hf/llama-bitlinear").scale_convention.value,
        "divide"
    );
    assert!(bitnet.warnings.is_empty(), "{:?}", bitnet.warnings);
    let json = serde_json::to_value(&bitnet).unwrap();
    for key in [
        "format",
        "arch",
        "params",
        "quantizer",
        "scale_convention",
        "rope",
        "activation",
        "norms",
        "tensors",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
}

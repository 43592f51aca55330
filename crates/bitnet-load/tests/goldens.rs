//! Tiny checkpoints of every family give the logits that transformers computed for them (the scripts stand beside the
//! goldens of bitnet-formats).

use std::path::{Path, PathBuf};

use bitnet_engine::{ActivationQuantizer, DenseFormat, Engine, FloatFormat, Options, Part, Wanted};
use bitnet_formats::{ModelFile, Target, convert, safetensors::SafetensorsFile};
use bitnet_load::{Activations, Checkpoint};

/// What transformers was given: 0, 5, … 35.
const TOKENS: [u32; 8] = [0, 5, 10, 15, 20, 25, 30, 35];

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bitnet-formats/tests/goldens")
}

/// Nothing but the sums' order is less than exact.
fn exact(threads: usize) -> Options {
    Options {
        threads,
        head: DenseFormat::F32,
        cache: FloatFormat::F32,
        ..Options::default()
    }
}

fn logits(engine: &mut Engine) -> Vec<f32> {
    let vocab = engine.shape().vocab_size as u32;
    let tokens = TOKENS.map(|token| token % vocab);
    let mut session = engine.session(tokens.len()).unwrap();
    let mut all = Vec::new();
    let each = |_: usize, logits: &[f32]| all.extend_from_slice(logits);
    engine.score(&mut session, &tokens, each).unwrap();
    all
}

fn open(path: impl AsRef<Path>) -> Checkpoint {
    Checkpoint::open(path).unwrap()
}

fn argmax(row: &[f32]) -> usize {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter().position(|x| *x == largest).unwrap()
}

/// The largest difference as a share of the range of what is expected; the likeliest tokens must be the same.
fn difference(found: &[f32], expected: &[f32], vocab: usize) -> f32 {
    assert_eq!(found.len(), expected.len());
    let (least, most) = expected
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), x| {
            (least.min(*x), most.max(*x))
        });
    for (found, expected) in found.chunks(vocab).zip(expected.chunks(vocab)) {
        assert_eq!(argmax(found), argmax(expected));
    }
    let pairs = found.iter().zip(expected);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / (most - least)
}

#[test]
fn every_family_has_the_logits_of_transformers() {
    let families = [
        ("bitnet", None),
        ("bitnet-unpacked", None),
        ("bitnet-online", None),
        ("llama-bitlinear", None),
        ("llama-float", None),
        ("llama-rows", Some(ActivationQuantizer::Float)),
        ("qwen3-groups", Some(ActivationQuantizer::Float)),
    ];
    for (family, activations) in families {
        let expected = goldens().join(format!("hf/{family}.safetensors"));
        let expected = SafetensorsFile::open(expected).unwrap();
        let expected = expected.tensor("logits").unwrap().to_f32().unwrap();
        let mut model = open(goldens().join("hf").join(family));
        if let Some(activations) = activations {
            assert_eq!(model.activations(), Activations::AssumedInt8);
            model = model.with_activations(activations);
        }
        let vocab = model.shape().vocab_size;
        let found = logits(&mut model.engine(exact(2)).unwrap());
        let error = difference(&found, &expected, vocab);
        println!("{family}: {error:e}");
        assert!(error < 1e-3, "{family}: {error:e} of the range");
    }
}

/// BitNet-embedding has no class in transformers; the script beside the golden puts its parts into Qwen3's.
#[test]
fn an_embedding_is_the_last_hidden_state() {
    let expected = SafetensorsFile::open(goldens().join("hf/embedding.safetensors")).unwrap();
    let expected = |name: &str| expected.tensor(name).unwrap().to_f32().unwrap();
    let model = open(goldens().join("hf/embedding"));
    assert_eq!(model.activations(), Activations::Int8);
    let mut engine = model.engine(exact(2)).unwrap();
    let mut session = engine.session(TOKENS.len()).unwrap();
    let part = Part {
        session: &mut session,
        tokens: &TOKENS,
        logits: Wanted::All,
    };
    let mut states = Vec::new();
    let each = |_: usize, _: usize, state: &[f32]| states.extend_from_slice(state);
    engine.hidden_states(&mut [part], each).unwrap();
    let hidden = engine.shape().hidden_size;
    let error = difference(&states, &expected("states"), hidden);
    let last = &states[states.len() - hidden..];
    let length = last.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit: Vec<f32> = last.iter().map(|x| x / length).collect();
    let of_unit = difference(&unit, &expected("embedding"), hidden);
    println!("embedding: {error:e}, {of_unit:e}");
    assert!(
        error < 1e-3 && of_unit < 1e-3,
        "{error:e}, {of_unit:e} of the range"
    );
}

/// Formats with a scale of f32 for a matrix hold the same numbers, whatever the order of their bits.
#[test]
fn containers_do_not_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    for family in ["bitnet", "llama-bitlinear", "bitnet-online"] {
        let source = goldens().join("hf").join(family);
        let expected = logits(&mut open(&source).engine(exact(1)).unwrap());
        let file = ModelFile::open(&source).unwrap();
        let path = folder.path().join(format!("{family}-packed"));
        convert(&file, Target::HfPacked, &path).unwrap();
        let found = logits(&mut open(&path).engine(exact(2)).unwrap());
        assert_eq!(found, expected, "{family}");
    }
}

/// RoPE's interleaved rows of `llama` files are turned back, q and k norms and groups go through, and a ternary head runs
/// as codes: the same model as GGUF and as a folder of floats.
#[test]
fn a_gguf_file_is_the_folder_it_becomes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["llama", "qwen3", "bitnet", "bitnet-b1.58"] {
        let source = goldens().join(format!("gguf/{name}.gguf"));
        let path = folder.path().join(name);
        convert(&ModelFile::open(&source).unwrap(), Target::Hf, &path).unwrap();
        let float = |path: &Path| open(path).with_activations(ActivationQuantizer::Float);
        let expected = logits(&mut float(&path).engine(exact(1)).unwrap());
        let found = logits(&mut float(&source).engine(exact(1)).unwrap());
        let vocab = expected.len() / TOKENS.len();
        let error = difference(&found, &expected, vocab);
        println!("{name}: {error:e}");
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}

#[test]
fn int8_is_assumed_of_ternary_weights_and_said() {
    let model = open(goldens().join("hf/qwen3-groups"));
    assert_eq!(model.activations(), Activations::AssumedInt8);
    let error = {
        let float =
            open(goldens().join("hf/qwen3-groups")).with_activations(ActivationQuantizer::Float);
        let expected = logits(&mut float.engine(exact(1)).unwrap());
        let found = logits(&mut model.engine(exact(1)).unwrap());
        let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let pairs = found.iter().zip(&expected);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
    };
    // Another model, by the rounding to 255 codes of seven inputs in turn: each errs by at most 1 / 254 of its largest
    // value, which outweighs the typical one by a few times.
    assert!(error > 0.0 && error < 0.1, "{error}");
}

/// Blocks are held as codes: their products differ from those of the floats that they stand for by the rounding of
/// activations alone.
#[test]
fn float_blocks_run_as_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let source = goldens().join("hf/llama-float");
    let file = ModelFile::open(&source).unwrap();
    let path = folder.path().join("llama.gguf");
    convert(&file, Target::Gguf(bitnet_formats::TensorType::F16), &path).unwrap();
    let halves = open(&path);
    assert_eq!(halves.activations(), Activations::Float);
    let expected = logits(&mut open(&source).engine(exact(1)).unwrap());
    let found = logits(&mut halves.engine(exact(2)).unwrap());
    let error = difference(&found, &expected, 48);
    // Weights lose 13 bits: 2^-12 of each in the worst case, in seven products in turn.
    assert!(error > 0.0 && error < 7.0 / 4096.0, "{error:e}");
}

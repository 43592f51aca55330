//! GGUF against files and values of the `gguf` package (tests/goldens/gguf_types.py).

use std::{collections::BTreeMap, fs};

use bitnet_formats::{
    FileBytes, I2sOrder, ScaleDirection, TensorType, TernaryTensor,
    gguf::{Array, GgufFile, GgufWriter, Value, ValueType},
    safetensors::SafetensorsFile,
};
use bitnet_kernels::Granularity;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");

fn gguf(name: &str) -> GgufFile {
    GgufFile::open(format!("{GOLDENS}/{name}.gguf")).unwrap()
}

struct Expected(SafetensorsFile);

impl Expected {
    fn open(name: &str) -> Self {
        Self(SafetensorsFile::open(format!("{GOLDENS}/{name}.safetensors")).unwrap())
    }

    fn floats(&self, tensor: &str, what: &str) -> Option<Vec<f32>> {
        let tensor = self.0.tensor(&format!("{tensor}.{what}"))?;
        Some(tensor.to_f32().unwrap())
    }

    fn codes(&self, tensor: &str) -> Option<Vec<i8>> {
        let tensor = self.0.tensor(&format!("{tensor}.codes"))?;
        Some(tensor.bytes().iter().map(|byte| *byte as i8).collect())
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Adding 0 turns a product of -0 into 0: a code 0 has no sign, the file's writer may have left one.
fn unsigned_zeros(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| (v + 0.0).to_bits()).collect()
}

/// `types.gguf` with I2_S_ARM read in the order of ARM.
fn each_type(mut check: impl FnMut(&GgufFile, &str)) {
    let file = gguf("types");
    let arm = gguf("types").with_i2s_order(I2sOrder::Arm);
    let mut seen = Vec::new();
    for tensor in file.tensors() {
        let name = tensor.name();
        seen.push(tensor.tensor_type());
        check(if name == "I2_S_ARM" { &arm } else { &file }, name);
    }
    for ty in TensorType::ALL {
        assert!(seen.contains(&ty), "{ty} has no golden");
    }
}

#[test]
fn every_type_decodes_to_the_floats_of_the_package() {
    let expected = Expected::open("types");
    each_type(|file, name| {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.shape(), [3, 512]);
        let values = expected.floats(name, "values").unwrap();
        assert_eq!(
            unsigned_zeros(&tensor.to_f32().unwrap()),
            unsigned_zeros(&values),
            "{name}"
        );
    });
}

#[test]
fn every_ternary_type_decodes_to_codes_and_scales_and_back() {
    let expected = Expected::open("types");
    each_type(|file, name| {
        let tensor = file.tensor(name).unwrap();
        let ternary = tensor.to_ternary().unwrap();
        assert_eq!(
            ternary.is_some(),
            tensor.tensor_type().is_ternary(),
            "{name}"
        );
        let Some(ternary) = ternary else { return };
        let codes = expected.codes(name).unwrap();
        let scales = expected.floats(name, "scales").unwrap();
        assert_eq!(ternary.codes(), codes, "{name}");
        assert_eq!(bits(ternary.scales()), bits(&scales), "{name}");
        let counts = [-1, 0, 1].map(|code| codes.iter().filter(|c| **c == code).count() as u64);
        assert_eq!(ternary.counts(), counts, "{name}");
        assert_eq!(ternary.direction(), ScaleDirection::Multiply);
        assert_eq!(
            unsigned_zeros(&ternary.to_f32()),
            unsigned_zeros(&tensor.to_f32().unwrap())
        );
        if name != "I2_S_ARM" {
            let again = rewritten(name, tensor.tensor_type(), |out| {
                out.ternary(&ternary).unwrap()
            });
            assert_eq!(
                again.tensor(name).unwrap().bytes(),
                tensor.bytes(),
                "{name}"
            );
        }
    });
}

#[test]
fn floats_encode_to_the_bytes_of_the_package() {
    let expected = Expected::open("types");
    let mut seen = 0;
    each_type(|file, name| {
        let tensor = file.tensor(name).unwrap();
        if let Some(source) = expected.floats(name, "source") {
            let bytes = tensor.tensor_type().encode_floats(&source, 512).unwrap();
            assert!(bytes == tensor.bytes(), "{name}");
            seen += 1;
        }
    });
    assert_eq!(seen, 11, "all but Q6_K and I2_S");
}

/// A file of one tensor `[3, 512]`, written and opened again.
fn rewritten(
    name: &str,
    ty: TensorType,
    write: impl FnOnce(&mut bitnet_formats::gguf::GgufStream<'_>),
) -> GgufFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    let mut writer = GgufWriter::default();
    writer.tensor(name, &[3, 512], ty);
    let mut out = writer.create(&path).unwrap();
    write(&mut out);
    out.finish().unwrap();
    GgufFile::from_bytes(FileBytes::from_vec("a.gguf", fs::read(path).unwrap())).unwrap()
}

#[test]
fn type_42_is_told_by_its_size() {
    let (file, expected) = (gguf("q2_0_old"), Expected::open("q2_0_old"));
    let tensor = file.tensor("Q2_0").unwrap();
    assert_eq!(tensor.tensor_type(), TensorType::Pq2_0);
    let ternary = tensor.to_ternary().unwrap().unwrap();
    assert_eq!(ternary.granularity(), Granularity::Group(128));
    assert_eq!(ternary.codes(), expected.codes("Q2_0").unwrap());
    assert_eq!(
        bits(ternary.scales()),
        bits(&expected.floats("Q2_0", "scales").unwrap())
    );
    assert_eq!(
        gguf("types").tensor("Q2_0").unwrap().tensor_type(),
        TensorType::Q2_0
    );
}

#[test]
fn type_42_of_either_size_is_refused() {
    // 128 weights: 36 or 34 bytes, both 64 with their padding.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let mut writer = GgufWriter::default();
    writer.tensor("a", &[1, 128], TensorType::Q2_0);
    let mut out = writer.create(&path).unwrap();
    out.floats(&[1.0; 128]).unwrap();
    out.finish().unwrap();
    let error = GgufFile::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("tensor `a`: type 42 is so small here"),
        "{error}"
    );
}

#[test]
fn metadata_of_every_type_is_read() {
    let file = gguf("metadata");
    let values: BTreeMap<_, _> = file.metadata().collect();
    for (key, expected) in [
        ("general.architecture", Value::from("test")),
        ("test.u8", Value::U8(255)),
        ("test.i8", Value::I8(-128)),
        ("test.u16", Value::U16(65535)),
        ("test.i16", Value::I16(-32768)),
        ("test.u32", Value::U32(u32::MAX)),
        ("test.i32", Value::I32(i32::MIN)),
        ("test.u64", Value::U64(u64::MAX)),
        ("test.i64", Value::I64(i64::MIN)),
        ("test.f32", Value::F32(1.5)),
        ("test.f64", Value::F64(-2.25)),
        ("test.bool", Value::Bool(true)),
        ("test.string", Value::from("Grüße, 世界")),
    ] {
        assert_eq!(values[key], expected, "{key}");
        assert_eq!(file.get(key), Some(expected), "{key}");
    }
    assert_eq!(file.get("test.u16x"), None);
    let items = |key: &str| values[key].as_array().unwrap().iter().collect::<Vec<_>>();
    assert_eq!(items("test.strings"), ["a", "", "ü"].map(Value::from));
    assert_eq!(items("test.ints"), [1, -2, 3].map(Value::I32));
    assert_eq!(items("test.floats"), [0.5, -0.25].map(Value::F32));
    assert_eq!(items("test.bools"), [true, false].map(Value::Bool));
    assert_eq!(values.len(), 17);
    let b = file.tensor("b").unwrap();
    assert_eq!((b.shape(), b.rows_cols()), (vec![2, 3, 4], (6, 4)));
    let counting: Vec<f32> = (0..24_u8).map(f32::from).collect();
    assert_eq!(b.to_f32().unwrap(), counting);
}

/// The same keys and tensors in the same order give the file that the package wrote, byte for byte.
#[test]
fn files_are_written_as_the_package_writes_them() {
    let file = gguf("metadata");
    let mut writer = GgufWriter::default();
    for key in "architecture u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool string".split(' ') {
        let section = if key == "architecture" {
            "general"
        } else {
            "test"
        };
        let key = format!("{section}.{key}");
        writer.key(&key, &file.get(&key).unwrap());
    }
    for (key, items, values) in [
        (
            "strings",
            ValueType::String,
            ["a", "", "ü"].map(Value::from).to_vec(),
        ),
        ("ints", ValueType::I32, [1, -2, 3].map(Value::I32).to_vec()),
        (
            "floats",
            ValueType::F32,
            [0.5, -0.25].map(Value::F32).to_vec(),
        ),
        (
            "bools",
            ValueType::Bool,
            [true, false].map(Value::Bool).to_vec(),
        ),
    ] {
        let array = Array::from_values(items, values);
        writer.key(&format!("test.{key}"), &Value::Array(array));
    }
    for tensor in file.tensors() {
        writer.tensor(tensor.name(), &tensor.shape(), tensor.tensor_type());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metadata.gguf");
    let mut out = writer.create(&path).unwrap();
    for tensor in file.tensors() {
        out.floats(&tensor.to_f32().unwrap()).unwrap();
    }
    assert!(!path.exists(), "a file that is not complete");
    out.finish().unwrap();
    let golden = fs::read(format!("{GOLDENS}/metadata.gguf")).unwrap();
    assert!(fs::read(path).unwrap() == golden);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    let mut writer = GgufWriter::default();
    writer.tensor("blk.0.ffn_down.weight", &[4, 8640], TensorType::Tq2_0);
    let error = writer.create(&path).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "tensor `blk.0.ffn_down.weight`: rows of 8640 weights are not whole blocks of 256 (TQ2_0): Q2_0 fit"
        ),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn ternary(granularity: Granularity, scales: Vec<f32>) -> TernaryTensor {
    let codes: Vec<i8> = (0..1536).map(|i| (i * 7 % 3 - 1) as i8).collect();
    let direction = ScaleDirection::Multiply;
    TernaryTensor::from_codes(&codes, (3, 512), scales, granularity, direction).unwrap()
}

#[test]
fn scales_go_where_they_fit_and_nowhere_else() {
    use TensorType::*;
    for (tensor, fits) in [
        (
            ternary(Granularity::Tensor, vec![0.5]),
            vec![Tq1_0, Tq2_0, Q2_0, Pq2_0, Ptq1_0, I2S],
        ),
        (
            ternary(Granularity::Row, vec![0.5, 0.25, 2.0]),
            vec![Tq1_0, Tq2_0, Q2_0, Pq2_0, Ptq1_0],
        ),
        (
            ternary(
                Granularity::Group(128),
                (1..=12_u8).map(f32::from).collect(),
            ),
            vec![Q2_0, Pq2_0, Ptq1_0],
        ),
        (
            ternary(Granularity::Group(64), (1..=24_u8).map(f32::from).collect()),
            vec![Q2_0],
        ),
        // Groups whose scales are equal are as good as one.
        (
            ternary(Granularity::Group(64), vec![0.5; 24]),
            vec![Tq1_0, Tq2_0, Q2_0, Pq2_0, Ptq1_0, I2S],
        ),
        (ternary(Granularity::Tensor, vec![1e-9]), vec![I2S]),
        (ternary(Granularity::Tensor, vec![1e6]), vec![I2S]),
    ] {
        for ty in TensorType::ALL {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.gguf");
            let mut writer = GgufWriter::default();
            writer.tensor("a", &[3, 512], ty);
            let mut out = writer.create(&path).unwrap();
            let written = out.ternary(&tensor);
            assert_eq!(
                written.is_ok(),
                fits.contains(&ty),
                "{ty} {tensor:?}: {written:?}"
            );
            if written.is_ok() {
                out.finish().unwrap();
                let read = GgufFile::open(&path).unwrap();
                let read = read.tensor("a").unwrap().to_ternary().unwrap().unwrap();
                assert_eq!(
                    (read.codes(), read.to_f32()),
                    (tensor.codes(), tensor.to_f32()),
                    "{ty}"
                );
            }
        }
    }
}

#[test]
fn negative_and_zero_scales_become_codes() {
    let mut source = vec![0.0_f32; 1536];
    source[0] = 1.0;
    let file = rewritten("a", TensorType::Q2_0, |out| out.floats(&source).unwrap());
    let mut bytes = file.tensor("a").unwrap().bytes().to_vec();
    bytes[1] |= 0x80; // d of the first block becomes -1
    let negative = rewritten("a", TensorType::Q2_0, |out| out.bytes(&bytes).unwrap());
    let ternary = negative.tensor("a").unwrap().to_ternary().unwrap().unwrap();
    assert_eq!((ternary.code(0, 0), ternary.scales()[0]), (-1, 1.0));
    bytes[..2].fill(0); // ... and 0
    let zero = rewritten("a", TensorType::Q2_0, |out| out.bytes(&bytes).unwrap());
    let ternary = zero.tensor("a").unwrap().to_ternary().unwrap().unwrap();
    assert_eq!((ternary.code(0, 0), ternary.scales()[0]), (0, 0.0));
}

#[test]
fn codes_and_scales_that_are_none_are_named() {
    let file = rewritten("a", TensorType::Q2_0, |out| {
        out.floats(&[0.0; 1536]).unwrap()
    });
    let good = file.tensor("a").unwrap().bytes().to_vec();
    let refused = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        let file = rewritten("a", TensorType::Q2_0, |out| out.bytes(&bytes).unwrap());
        let tensor = file.tensor("a").unwrap();
        (
            tensor.to_ternary().unwrap_err().to_string(),
            tensor.to_f32().unwrap(),
        )
    };
    let (error, _) = refused(18 * 9 + 2 + 15, 0b11_01_01_01);
    assert!(
        error.ends_with("tensor `a`: row 1, column 127 holds the code 2, expected -1, 0 or 1"),
        "{error}"
    );
    let (error, values) = refused(18 + 1, 0x7e);
    assert!(
        error.contains("tensor `a`: scale 1 is NaN, expected a finite number"),
        "{error}"
    );
    assert!(values[64].is_nan() && values[128] == 0.0);
}

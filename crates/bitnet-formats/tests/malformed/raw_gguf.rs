//! A GGUF file from parts, written by hand.

/// The parts of a file, each of which can be wrong.
pub struct Raw {
    pub magic: &'static [u8],
    pub version: u32,
    pub counts: Option<[u64; 2]>,
    pub keys: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub data: usize,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            magic: b"GGUF",
            version: 3,
            counts: None,
            keys: vec![key("general.architecture", 8, &string(b"test"))],
            tensors: vec![tensor("a", &[32, 2], 0, 0)],
            data: 256,
        }
    }
}

impl Raw {
    pub fn bytes(&self) -> Vec<u8> {
        let [tensors, keys] = self
            .counts
            .unwrap_or([self.tensors.len() as u64, self.keys.len() as u64]);
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(tensors.to_le_bytes());
        out.extend(keys.to_le_bytes());
        out.extend(self.keys.concat());
        out.extend(self.tensors.concat());
        out.resize(out.len().next_multiple_of(32) + self.data, 0);
        out
    }
}

pub fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

pub fn key(name: &str, ty: u32, value: &[u8]) -> Vec<u8> {
    [&string(name.as_bytes()), &ty.to_le_bytes()[..], value].concat()
}

pub fn tensor(name: &str, dims: &[u64], ty: u32, offset: u64) -> Vec<u8> {
    let mut out = string(name.as_bytes());
    out.extend((dims.len() as u32).to_le_bytes());
    out.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
    out.extend(ty.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

//! The first lines of a run's `config.toml`: which run it is, and checksums (BLAKE3) of the rest of the file, of
//! `tokenizer.json`, of `labels.json`, of `features.json` and of the folder `origin`. A file that has changed since is
//! refused, not believed.
//!
//! ```text
//! # Written by `bitnet train`. To change settings by hand, remove the next line, which tells a changed file from this one.
//! # seal: run=9c1f… config=4be0… tokenizer=77aa…
//! ```

use std::path::Path;
use std::time::SystemTime;

/// What the lines say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seal {
    /// A word that no other run has.
    pub run: String,
    /// Checksum of the configuration below the seal.
    pub config: String,
    /// Checksum of `tokenizer.json`, where there is one.
    pub tokenizer: Option<String>,
    /// Checksum of `labels.json`, where there is one.
    pub labels: Option<String>,
    /// Checksum of `features.json`, where there is one.
    pub features: Option<String>,
    /// Checksum of the folder `origin`, where there is one.
    pub origin: Option<String>,
}

const REMARK: &str = "# Written by `bitnet train`. To change settings by hand, remove the next line, which tells a changed \
                      file from this one.\n";
const SEAL: &str = "# seal: ";

impl Seal {
    /// That of a new run in a folder.
    pub fn new(folder: &Path) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = now.map_or(0, |now| now.as_nanos());
        let told = format!("{} {nanoseconds} {}", folder.display(), std::process::id());
        Self {
            run: Self::of(told.as_bytes())[..16].to_owned(),
            ..Self::default()
        }
    }

    /// The checksum of a file.
    pub fn of(bytes: &[u8]) -> String {
        blake3::hash(bytes).to_hex().to_string()
    }

    /// The configuration with the seal above it.
    pub fn close(mut self, config: &str) -> String {
        self.config = Self::of(config.as_bytes());
        let fields = [
            ("run", Some(self.run)),
            ("config", Some(self.config)),
            ("tokenizer", self.tokenizer),
            ("labels", self.labels),
            ("features", self.features),
            ("origin", self.origin),
        ];
        let fields: Vec<String> = (fields.into_iter())
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
            .collect();
        format!("{REMARK}{SEAL}{}\n{config}", fields.join(" "))
    }

    /// The seal of a file's content, if it has one; an error if it is broken.
    pub fn check(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err("it is no UTF-8; copy it again from its run".to_owned());
        };
        // It may have moved down by a few lines, but not below a setting.
        let mut rest = text;
        let line = loop {
            match rest.split_once('\n') {
                Some((line, below)) if line.starts_with(SEAL) => {
                    rest = below;
                    break line;
                }
                Some((line, below)) if line.starts_with('#') => rest = below,
                _ if text.contains("\n[model]") => return Ok(None),
                _ => return Err(format!("it has lost its settings; {REMEDY}")),
            }
        };
        let mut seal = Self::default();
        for field in line[SEAL.len()..].split_whitespace() {
            match field.split_once('=') {
                Some(("run", value)) => value.clone_into(&mut seal.run),
                Some(("config", value)) => value.clone_into(&mut seal.config),
                Some(("tokenizer", value)) => seal.tokenizer = Some(value.to_owned()),
                Some(("labels", value)) => seal.labels = Some(value.to_owned()),
                Some(("features", value)) => seal.features = Some(value.to_owned()),
                Some(("origin", value)) => seal.origin = Some(value.to_owned()),
                _ => return Err(format!("its seal is damaged at {field:?}; {REMEDY}")),
            }
        }
        match Self::of(rest.as_bytes()) == seal.config {
            true => Ok(Some(seal)),
            false => Err(format!("it is not what training wrote; {REMEDY}")),
        }
    }
}

const REMEDY: &str =
    "restore it, or if it was changed on purpose remove its line that begins with `# seal:`";

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "name = \"x\"\n\n[model]\nhidden_size = 20\n";

    #[test]
    fn a_sealed_file_is_toml_and_cannot_change_unnoticed() {
        let seal = Seal {
            tokenizer: Some(Seal::of(b"t")),
            ..Seal::new(Path::new("run"))
        };
        let text = seal.clone().close(CONFIG);
        let read = Seal::check(text.as_bytes()).unwrap().unwrap();
        assert_eq!((&read.run, &read.tokenizer), (&seal.run, &seal.tokenizer));
        let begin = text.len() - CONFIG.len();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(at < begin || Seal::check(&bytes).is_err(), "byte {at}");
            let problem = Seal::check(&text.as_bytes()[..at]).unwrap_err();
            assert!(problem.contains("# seal:"), "{problem}");
        }
        let owned = text.lines().filter(|line| !line.starts_with(SEAL));
        let owned: Vec<&str> = owned.collect();
        assert_eq!(Seal::check(owned.join("\n").as_bytes()), Ok(None));
    }

    #[test]
    fn two_runs_have_two_words() {
        let word = || Seal::new(Path::new("run")).run;
        assert_ne!(word(), word());
    }
}

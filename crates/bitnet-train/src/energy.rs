//! Measured energy: the counters of the processor's packages that Linux shows in `/sys/class/powercap` (RAPL).
//!
//! A counter holds microjoules and starts again at its `max_energy_range_uj`. What it counts is the whole package, whoever
//! uses it, so a shared machine adds its neighbours. Virtual machines and most non-Intel, non-AMD systems show none, and
//! since 2020 reading one takes root; then nothing is reported, which is not the same as zero.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Linux shows the counters.
const POWERCAP: &str = "/sys/class/powercap";

/// The packages' counters at a moment.
#[derive(Clone, Debug)]
pub struct Meter {
    counters: Vec<Counter>,
}

#[derive(Clone, Debug)]
struct Counter {
    folder: PathBuf,
    begin: u64,
}

impl Meter {
    /// Reads the counters of this machine.
    pub fn start() -> Self {
        Self::at(Path::new(POWERCAP))
    }

    /// Reads the counters below a folder.
    fn at(powercap: &Path) -> Self {
        let Ok(entries) = fs::read_dir(powercap) else {
            return Self {
                counters: Vec::new(),
            };
        };
        let counters = entries.flatten().filter_map(|entry| {
            let folder = entry.path();
            // Zones inside a package (cores, memory) are counted in it.
            let name = fs::read_to_string(folder.join("name")).ok()?;
            let begin = number(&folder, "energy_uj").filter(|_| name.starts_with("package"))?;
            Some(Counter { folder, begin })
        });
        Self {
            counters: counters.collect(),
        }
    }

    /// Joules since the start; none where there is no meter, or it cannot be read.
    ///
    /// A counter may have started again once in between: at 100 W that takes 40 minutes or more, so longer stretches are
    /// to be added up from shorter ones.
    pub fn joules(&self) -> Option<f64> {
        if self.counters.is_empty() {
            return None;
        }
        let used = self.counters.iter().map(|counter| {
            let now = number(&counter.folder, "energy_uj")?;
            let range = number(&counter.folder, "max_energy_range_uj").unwrap_or(0);
            Some(match now >= counter.begin {
                true => now - counter.begin,
                false => (now + range).saturating_sub(counter.begin),
            })
        });
        let microjoules: Option<u64> = used.sum();
        microjoules.map(|microjoules| microjoules as f64 * 1e-6)
    }
}

fn number(folder: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(folder.join(name))
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(root: &Path, zone: &str, name: &str, energy: u64) {
        let folder = root.join(zone);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("energy_uj"), format!("{energy}\n")).unwrap();
        fs::write(folder.join("max_energy_range_uj"), "1000000\n").unwrap();
    }

    #[test]
    fn packages_are_summed_and_a_counter_may_start_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        zone(root, "intel-rapl:0", "package-0", 900_000);
        zone(root, "intel-rapl:1", "package-1", 100);
        zone(root, "intel-rapl:0:0", "core", 5);
        let meter = Meter::at(root);
        zone(root, "intel-rapl:0", "package-0", 100_000);
        zone(root, "intel-rapl:1", "package-1", 500_100);
        zone(root, "intel-rapl:0:0", "core", 999_999);
        assert_eq!(meter.joules(), Some(0.7));
    }

    #[test]
    fn without_a_meter_nothing_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Meter::at(&folder.path().join("none")).joules(), None);
        zone(folder.path(), "dtpm", "dtpm", 1);
        assert_eq!(Meter::at(folder.path()).joules(), None);
    }
}

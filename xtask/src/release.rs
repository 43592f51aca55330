//! What a release is made of: for each target an archive with a static program, its manual pages and completions, a list of
//! what is in the program (CycloneDX), and the checksums of all.
//!
//! Other programs do the work: Zig is the C compiler and linker (`pip install cargo-zigbuild`), QEMU runs what another
//! processor would (`qemu-user`).

mod contents;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run;

/// Static, by the C library that they link.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
/// GPUs need drivers, which a static program cannot load.
const FEATURES: [&str; 3] = ["--no-default-features", "--features", "flex"];
const SHELLS: [&str; 4] = ["bash", "zsh", "fish", "powershell"];

/// Writes `target/dist` and says what is there.
pub fn build(root: &Path, given: &[&str]) -> Result<String, Box<dyn Error>> {
    let (profile, targets) = match given {
        ["--profile", profile, targets @ ..] => (*profile, targets),
        targets => ("release", targets),
    };
    let targets = if targets.is_empty() {
        &TARGETS[..]
    } else {
        targets
    };
    let dist = root.join("target/dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir_all(&dist)?;
    let version = version(&fs::read_to_string(root.join("Cargo.toml"))?)?;
    for target in targets {
        let program = compile(root, profile, target)?;
        if let Some(loader) = interpreter(&fs::read(&program)?) {
            return Err(
                format!("{} is not static: it asks for {loader}", program.display()).into(),
            );
        }
        check(&program, target)?;
        let name = format!("bitnet-{version}-{target}");
        archive(root, &dist, &name, &program, target)?;
        let list = contents::list(root, target, &FEATURES)?;
        fs::write(dist.join(format!("{name}.cdx.json")), list)?;
    }
    let mut sums = String::new();
    let mut lines = String::new();
    let mut files: Vec<PathBuf> = fs::read_dir(&dist)?
        .map(|file| file.map(|file| file.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in &files {
        let name = file.file_name().unwrap_or_default();
        let sum = Command::new("sha256sum")
            .arg(name)
            .current_dir(&dist)
            .output()?;
        sums += &String::from_utf8(sum.stdout)?;
        lines += &format!("{:>9}  {}\n", fs::metadata(file)?.len(), name.display());
    }
    fs::write(dist.join("SHA256SUMS"), sums)?;
    Ok(format!("{lines}{}", dist.display()))
}

fn compile(root: &Path, profile: &str, target: &str) -> Result<PathBuf, Box<dyn Error>> {
    run(Command::new("cargo")
        .args([
            "zigbuild",
            "--locked",
            "--package",
            "bitnet-cli",
            "--profile",
            profile,
        ])
        .args(["--target", target])
        .args(FEATURES)
        .current_dir(root))
    .map_err(|error| format!("{error}; the build needs `pip install cargo-zigbuild`"))?;
    Ok(root
        .join("target")
        .join(target)
        .join(profile)
        .join("bitnet"))
}

/// A command that runs a program of a target here.
fn runner(program: &Path, target: &str) -> Command {
    let machine = target.split('-').next().unwrap_or_default();
    if machine == std::env::consts::ARCH {
        return Command::new(program);
    }
    let mut emulator = Command::new(format!("qemu-{machine}"));
    emulator.args(["-cpu", "max"]).arg(program);
    emulator
}

/// The program tells its kernels, and trains and compares two small models.
fn check(program: &Path, target: &str) -> Result<(), Box<dyn Error>> {
    run(runner(program, target).arg("doctor"))?;
    let folder = program.with_file_name("release-check");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    run(runner(program, target)
        .args(["compare", "--run-dir", "run", "--quiet"])
        .args(["--set", "train.steps=4", "--set", "compare.repetitions=2"])
        .current_dir(&folder))?;
    fs::metadata(folder.join("run/report.html"))?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn archive(
    root: &Path,
    dist: &Path,
    name: &str,
    program: &Path,
    target: &str,
) -> Result<(), Box<dyn Error>> {
    let folder = dist.join(name);
    fs::create_dir_all(folder.join("completions"))?;
    fs::copy(program, folder.join("bitnet"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(root.join(file), folder.join(file))?;
    }
    run(runner(program, target).arg("man").arg(folder.join("man")))?;
    for shell in SHELLS {
        let script = runner(program, target)
            .args(["completions", shell])
            .output()?;
        fs::write(folder.join("completions").join(shell), script.stdout)?;
    }
    // The same bytes from the same files.
    let same = [
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
    ];
    run(Command::new("tar")
        .args(same)
        .args(["--use-compress-program=gzip --best --no-name", "-cf"])
        .arg(dist.join(format!("{name}.tar.gz")))
        .arg("-C")
        .args([dist, Path::new(name)]))?;
    Ok(fs::remove_dir_all(folder)?)
}

/// The version of the workspace.
fn version(manifest: &str) -> Result<String, Box<dyn Error>> {
    let manifest: toml::Table = manifest.parse()?;
    let version = manifest["workspace"]["package"]["version"].as_str();
    Ok(version.ok_or("the workspace has no version")?.to_owned())
}

/// What a 64-bit ELF program asks to be loaded by; a static one asks for nothing.
fn interpreter(elf: &[u8]) -> Option<String> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, bytes: usize| {
        let bytes = elf.get(at..at + bytes)?.iter().rev();
        Some(bytes.fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let headers = (0..count).map(|i| (table + i * size) as usize);
    let found = headers
        .filter(|at| number(*at, 4) == Some(u64::from(INTERPRETER)))
        .find_map(|at| Some((number(at + 8, 8)? as usize, number(at + 32, 8)? as usize)));
    let (offset, length) = found?;
    let path = elf.get(offset..offset + length)?;
    Some(
        String::from_utf8_lossy(path)
            .trim_end_matches('\0')
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_what_loads_it() {
        // This test is linked to the system's C library.
        #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
        {
            let this = fs::read(std::env::current_exe().unwrap()).unwrap();
            assert!(interpreter(&this).unwrap().contains("ld-linux"));
        }
        let mut fixed = vec![0; 64];
        fixed[56] = 0;
        assert_eq!(interpreter(&fixed), None);
        assert_eq!(interpreter(b"short"), None);
    }

    #[test]
    fn the_list_names_what_the_program_is_made_of() {
        let root = Path::new(crate::ROOT).canonicalize().unwrap();
        let list = contents::list(&root, TARGETS[0], &FEATURES).unwrap();
        for (name, is_in) in [
            ("bitnet-kernels", true),
            ("burn-flex", true),
            ("wgpu", false),
            ("proptest", false),
        ] {
            assert_eq!(
                list.contains(&format!("\"name\": \"{name}\"")),
                is_in,
                "{name}"
            );
        }
    }

    #[test]
    fn the_version_is_that_of_the_workspace() {
        let manifest = "[workspace.package]\nversion = \"1.2.3\"\n";
        assert_eq!(version(manifest).unwrap(), "1.2.3");
    }
}

//! Builds the page of `bitnet-web`: the module for each instruction set, its binding to JavaScript, the page's files.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run;

/// What engines may have, and what the module is called that needs it.
const BUILDS: [(&str, &str); 2] = [
    ("bitnet_simd128.wasm", "+simd128"),
    ("bitnet_relaxed.wasm", "+simd128,+relaxed-simd"),
];

const TARGET: &str = "wasm32-unknown-unknown";

/// Writes `target/page` and says how large it is.
pub fn build(root: &Path) -> Result<String, Box<dyn Error>> {
    let target = root.join("target");
    // `target/web` is what Cargo builds in: the profile is called so.
    let out = target.join("page");
    let bind = wasm_bindgen(root, &target)?;
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let page = root.join("crates/bitnet-web/page");
    for file in fs::read_dir(page)? {
        let file = file?;
        fs::copy(file.path(), out.join(file.file_name()))?;
    }
    for (name, features) in BUILDS {
        let flags = format!(
            "target.{TARGET}.rustflags=[\"-Ctarget-feature={features}\",\"-Clink-arg=-zstack-size=4194304\"]"
        );
        let args = ["build", "--profile", "web", "--package", "bitnet-web"];
        run(Command::new("cargo")
            .args(args)
            .args(["--target", TARGET, "--config", &flags])
            // They would take the place of those in the configuration.
            .env_remove("RUSTFLAGS")
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(root))?;
        let module = target.join(TARGET).join("web/bitnet_web.wasm");
        run(Command::new(&bind)
            .args([
                "--target",
                "web",
                "--no-typescript",
                "--remove-name-section",
            ])
            .args(["--remove-producers-section", "--out-dir"])
            .args([&out, &module]))?;
        // The JavaScript of all builds is the same.
        fs::rename(out.join("bitnet_web_bg.wasm"), out.join(name))?;
        // A third of the size, whatever server it lies on: the page unpacks it.
        run(Command::new("gzip")
            .args(["--best", "--no-name"])
            .arg(out.join(name)))?;
    }
    let mut files = Vec::new();
    for file in fs::read_dir(&out)? {
        let file = file?;
        files.push((
            file.file_name().to_string_lossy().into_owned(),
            file.metadata()?.len(),
        ));
    }
    files.sort();
    let total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let lines = files
        .iter()
        .map(|(name, bytes)| format!("{bytes:>9}  {name}\n"));
    let lines: String = lines.collect();
    Ok(format!("{lines}{total:>9}  {}", out.display()))
}

/// The program that binds modules, of the library's version: from the path, or built once.
fn wasm_bindgen(root: &Path, target: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let version = version_of(
        "wasm-bindgen",
        &fs::read_to_string(root.join("Cargo.lock"))?,
    )
    .ok_or("Cargo.lock has no wasm-bindgen")?;
    let tools = target.join("tools");
    let built = tools.join("bin/wasm-bindgen");
    for program in [Path::new("wasm-bindgen"), &built] {
        let said = Command::new(program).arg("--version").output();
        if said.is_ok_and(|said| {
            String::from_utf8_lossy(&said.stdout)
                .trim()
                .ends_with(&version)
        }) {
            return Ok(program.to_owned());
        }
    }
    run(Command::new("cargo")
        .args([
            "install",
            "wasm-bindgen-cli",
            "--no-default-features",
            "--version",
            &version,
        ])
        .arg("--root")
        .arg(&tools))?;
    Ok(built)
}

/// The version of a package in a lock file.
fn version_of(package: &str, lock: &str) -> Option<String> {
    let at = lock.find(&format!("name = \"{package}\"\nversion = \""))?;
    lock[at..].split('"').nth(3).map(String::from)
}

#[test]
fn a_version_is_that_of_the_package() {
    let lock = "name = \"a\"\nversion = \"1.0.0\"\n\nname = \"a-b\"\nversion = \"2.0.0\"\n";
    assert_eq!(version_of("a-b", lock).as_deref(), Some("2.0.0"));
    assert_eq!(version_of("b", lock), None);
}

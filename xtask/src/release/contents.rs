//! What a program is made of, as CycloneDX 1.5 in JSON: every crate that is linked into it (`cargo tree`, which knows the
//! program's own features), with version, licence and what it depends on (`cargo metadata`) and checksum (Cargo.lock).

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

const PROGRAM: &str = "bitnet-cli";

/// The list for one target. The same sources give the same bytes.
pub fn list(root: &Path, target: &str, features: &[&str]) -> Result<String, Box<dyn Error>> {
    let tree = cargo(
        Command::new("cargo")
            .args(["tree", "--locked", "--package", PROGRAM, "--target", target])
            .args(["--edges=normal", "--prefix=none", "--format={p}"])
            .args(features)
            .current_dir(root),
    )?;
    let metadata = cargo(
        Command::new("cargo")
            .args(["metadata", "--format-version=1", "--locked"])
            .args(["--filter-platform", target])
            .current_dir(root),
    )?;
    let sums = checksums(&fs::read_to_string(root.join("Cargo.lock"))?)?;
    let list = of(&linked(&tree), &serde_json::from_str(&metadata)?, &sums)?;
    Ok(serde_json::to_string_pretty(&list)? + "\n")
}

fn cargo(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// A name and a version.
type Crate = (String, String);

/// The crates of a tree: lines such as `syn v2.0.1 (proc-macro) (*)`. Macros run in the compiler.
fn linked(tree: &str) -> BTreeSet<Crate> {
    let lines = tree.lines().filter(|line| !line.contains("(proc-macro)"));
    let crates = lines.filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    });
    crates.collect()
}

/// The checksum of each name and version that came from a registry.
fn checksums(lock: &str) -> Result<BTreeMap<Crate, String>, Box<dyn Error>> {
    let lock: toml::Table = lock.parse()?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let sums = packages.into_iter().flatten().filter_map(|package| {
        let text = |key: &str| Some(package.get(key)?.as_str()?.to_owned());
        Some(((text("name")?, text("version")?), text("checksum")?))
    });
    Ok(sums.collect())
}

fn of(
    linked: &BTreeSet<Crate>,
    metadata: &Value,
    sums: &BTreeMap<Crate, String>,
) -> Result<Value, Box<dyn Error>> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let items = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> = items(&metadata["packages"])
        .into_iter()
        .filter(|package| linked.contains(&(text(package, "name"), text(package, "version"))))
        .map(|package| (text(&package, "id"), package))
        .collect();
    let program = packages
        .iter()
        .find(|(_, package)| package["name"] == PROGRAM)
        .ok_or("the program is not in the metadata")?
        .0;
    let nodes: BTreeMap<String, BTreeSet<String>> = items(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let on = items(&node["deps"]).into_iter().filter(|dependency| {
                let kinds = items(&dependency["dep_kinds"]);
                kinds.iter().any(|kind| kind["kind"].is_null())
            });
            let on = on.map(|dependency| text(&dependency, "pkg"));
            (
                text(node, "id"),
                on.filter(|id| packages.contains_key(id)).collect(),
            )
        })
        .collect();
    let url = |id: &String| {
        let package = &packages[id];
        format!(
            "pkg:cargo/{}@{}",
            text(package, "name"),
            text(package, "version")
        )
    };
    let component = |id: &String| {
        let package = &packages[id];
        let (name, version) = (text(package, "name"), text(package, "version"));
        let mut component = json!({
            "type": if id == program { "application" } else { "library" },
            "bom-ref": url(id),
            "name": name,
            "version": version,
            "purl": url(id),
        });
        if let Some(licence) = package["license"].as_str() {
            // An older way to write OR.
            let licence = licence.replace('/', " OR ").replace("  ", " ");
            component["licenses"] = json!([{ "expression": licence }]);
        }
        if let Some(sum) = sums.get(&(name, version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    };
    let others = packages.keys().filter(|id| *id != program);
    let depends = packages.keys().map(|id| {
        let on = nodes.get(id).into_iter().flatten().map(&url);
        json!({ "ref": url(id), "dependsOn": on.collect::<BTreeSet<_>>() })
    });
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(program) },
        "components": others.map(component).collect::<Vec<_>>(),
        "dependencies": depends.collect::<Vec<_>>(),
    }))
}

#[test]
fn what_is_linked_is_listed_and_nothing_else() {
    let package = |name: &str, license: Value| json!({ "id": name, "name": name, "version": "1.0.0", "license": license });
    let needs = |pkg: &str, kind: Value| json!({ "pkg": pkg, "dep_kinds": [{ "kind": kind }] });
    let metadata = json!({
        "packages": [
            package(PROGRAM, json!("MIT")),
            package("a", json!("MIT/Apache-2.0")),
            package("b", Value::Null),
            package("builds", json!("MIT")),
            package("tests", json!("MIT")),
        ],
        "resolve": { "nodes": [
            { "id": PROGRAM, "deps": [
                needs("a", Value::Null), needs("builds", json!("build")), needs("tests", json!("dev")),
            ]},
            { "id": "a", "deps": [needs("b", Value::Null)] },
            { "id": "b", "deps": [] },
            { "id": "tests", "deps": [needs("b", Value::Null)] },
        ]},
    });
    let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"12\"\n";
    let tree =
        "bitnet-cli v1.0.0 (/here)\na v1.0.0\nb v1.0.0\nbuilds v1.0.0 (proc-macro)\nb v1.0.0 (*)\n";
    let list = of(&linked(tree), &metadata, &checksums(lock).unwrap()).unwrap();
    let names: Vec<&Value> = list["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| &component["name"])
        .collect();
    assert_eq!(names, ["a", "b"]);
    let a = &list["components"][0];
    assert_eq!(a["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(a["hashes"][0]["content"], "12");
    assert_eq!(list["components"][1].get("licenses"), None);
    assert_eq!(list["metadata"]["component"]["name"], PROGRAM);
    let depends = &list["dependencies"].as_array().unwrap()[0];
    assert_eq!(
        *depends,
        json!({ "ref": "pkg:cargo/a@1.0.0", "dependsOn": ["pkg:cargo/b@1.0.0"] })
    );
}

//! Links the program for a fixed address on Linux.
//!
//! One that may be loaded anywhere (the default) is patched when it starts: with three backends that is 400,000
//! addresses, whose table and patched pages stay in memory, 15 MB of them, beside 187 MB of a 0.7 B model. Heap, stack
//! and libraries are at random addresses as before.

fn main() {
    let target = |key: &str| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

//! libFuzzer drives `bitnet_fuzz::run`.

#![no_main]

use bitnet_fuzz::run::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

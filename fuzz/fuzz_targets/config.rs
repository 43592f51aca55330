//! libFuzzer drives `bitnet_fuzz::config`.

#![no_main]

use bitnet_fuzz::config::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

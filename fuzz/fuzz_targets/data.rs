//! libFuzzer drives `bitnet_fuzz::data`.

#![no_main]

use bitnet_fuzz::data::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

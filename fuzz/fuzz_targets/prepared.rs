//! libFuzzer drives `bitnet_fuzz::prepared`.

#![no_main]

use bitnet_fuzz::prepared::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

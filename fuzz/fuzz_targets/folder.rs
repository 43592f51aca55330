//! libFuzzer drives `bitnet_fuzz::folder`.

#![no_main]

use bitnet_fuzz::folder::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

//! libFuzzer drives `bitnet_fuzz::template`.

#![no_main]

use bitnet_fuzz::template::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

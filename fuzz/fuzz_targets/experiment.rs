//! libFuzzer drives `bitnet_fuzz::experiment`.

#![no_main]

use bitnet_fuzz::experiment::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

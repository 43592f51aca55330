//! libFuzzer drives `bitnet_fuzz::safetensors`.

#![no_main]

use bitnet_fuzz::safetensors::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

//! libFuzzer drives `bitnet_fuzz::gguf`.

#![no_main]

use bitnet_fuzz::gguf::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

//! libFuzzer drives `bitnet_fuzz::tokenizer`.

#![no_main]

use bitnet_fuzz::tokenizer::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

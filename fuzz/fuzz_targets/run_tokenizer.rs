//! libFuzzer drives `bitnet_fuzz::run_tokenizer`.

#![no_main]

use bitnet_fuzz::run_tokenizer::TARGET;

libfuzzer_sys::fuzz_target!(init: TARGET.sow(), |data: &[u8]| (TARGET.run)(data));

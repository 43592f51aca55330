//! Runs a model that was trained here in a program of one's own: the CPU engine alone, no Burn in its dependencies.
//!
//! ```sh
//! bitnet compare                                                       # trains runs/quickstart/ternary
//! bitnet convert runs/quickstart/ternary model.gguf --to gguf-q2_0     # 2 bits per weight, with the tokenizer
//! cargo run --profile quick -p run-model -- model.gguf "One morning "
//! ```

use std::env::args;
use std::error::Error;

use bitnet_engine::Options;
use bitnet_generate::argmax;
use bitnet_load::Checkpoint;
use bitnet_text::TextModel;

fn main() -> Result<(), Box<dyn Error>> {
    let model = Checkpoint::open(args().nth(1).ok_or("usage: story MODEL TEXT")?)?;
    let text = TextModel::from_model_file(model.file())?;
    let mut engine = model.engine(Options::default())?;
    let mut tokens = text.encode_prompt(&args().nth(2).unwrap_or_default(), false)?;
    let mut session = engine.session(tokens.len() + 100)?;
    for _ in 0..100 {
        let read = session.len();
        tokens.push(argmax(engine.forward(&mut session, &tokens[read..])?));
    }
    println!("{}", text.tokenizer.decode(&tokens));
    Ok(())
}

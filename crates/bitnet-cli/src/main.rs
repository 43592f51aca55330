//! The `bitnet` command line. Results go to stdout, progress and errors to stderr.
//!
//! Exit codes: 0 done; 1 ran, but a check failed; 2 usage, configuration or input error; 3 the loss of a training diverged;
//! 130 interrupted, state saved.
//!
//! | file | concept |
//! |---|---|
//! | `args`, `commands` | every flag; one file a command |
//! | `configuration`, `task`, `corpus` | a command's configuration, its task, its text |
//! | `location`, `model`, `engine`, `classifier` | MODEL: on what it runs, with its text, on the engine, as a classifier |
//! | `device`, `allocator`, `guard` | what computes; memory kept between steps; panics of GPU backends as errors |
//! | `prompt`, `sampling`, `answer`, `predictions` | what is asked; how tokens are drawn; answers to it, to examples |
//! | `progress`, `tui`, `tensorboard` | a training on stderr, on a whole terminal, in event files |
//! | `estimate`, `download` | what a training will take; the progress of a download |
//! | `output`, `interrupt` | stdout and stderr; signals |
//! | `process`, `worker`, `slurm` | `bitnet` in child processes; runs of an experiment there, or as jobs of Slurm |
//! | `run_folder`, `command_line` | folders for runs; the command, to be given again |
//! | `machine`, `contention` | the computer and the day; what else ran on it |
#![recursion_limit = "256"]

mod allocator;
mod answer;
mod args;
mod classifier;
mod command_line;
mod commands;
mod configuration;
mod contention;
mod corpus;
mod device;
mod download;
mod engine;
mod estimate;
mod guard;
mod interrupt;
mod location;
mod machine;
mod model;
mod output;
mod predictions;
mod process;
mod progress;
mod prompt;
mod run_folder;
mod sampling;
mod slurm;
mod task;
mod tensorboard;
mod tui;
mod worker;

use std::process::ExitCode;

use clap::FromArgMatches;

use crate::args::{Cli, Command};
use crate::commands::Outcome;

fn main() -> ExitCode {
    quiet_drivers();
    let given = Cli::described().try_get_matches();
    let cli = match given.and_then(|given| Cli::from_arg_matches(&given)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap knows which stream and code each takes.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match run(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(1),
        Ok(Outcome::Diverged) => ExitCode::from(process::DIVERGED),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Looking for adapters, Mesa's drivers write `error:` lines of their own where this variable is not set, as over SSH or in
/// containers.
fn quiet_drivers() {
    const NAME: &str = "XDG_RUNTIME_DIR";
    if cfg!(target_os = "linux") && std::env::var_os(NAME).is_none() {
        // SAFETY: nothing else runs yet, no thread that could read the environment meanwhile.
        unsafe { std::env::set_var(NAME, std::env::temp_dir()) };
    }
}

fn run(cli: Cli) -> anyhow::Result<Outcome> {
    process::end_with_parent();
    let backend = cli.command.backend();
    guard::run(backend, || match cli.command {
        Command::Init(args) => commands::init::run(args),
        Command::Train(args) => commands::train::run(args),
        Command::Compare(args) => commands::compare::run(args),
        Command::Embed(args) => commands::embed::run(args),
        Command::Eval(args) => commands::eval::run(args),
        Command::Predict(args) => commands::predict::run(args),
        Command::Generate(args) => commands::generate::run(args),
        Command::Chat(args) => commands::chat::run(args),
        Command::Serve(args) => commands::serve::run(args),
        Command::Tokenize(args) => commands::tokenize::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Logits(args) => commands::logits::run(args),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Convert(args) => commands::convert::run(args),
        Command::Board(args) => commands::board::run(args),
        Command::Report(args) => commands::board::report(args),
        Command::Config(command) => commands::config::run(command),
        Command::Data(command) => commands::data::run(command),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Man { folder } => commands::man::run(&folder),
        Command::Measure(args) => commands::measure::run(args),
        Command::Experiment(command) => commands::experiment::run(command),
    })
}

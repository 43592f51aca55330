//! Flags of `bitnet experiment`.

use std::path::PathBuf;

use bitnet_train::Backend;
use clap::{Args, Subcommand, ValueEnum};

use super::{DeviceArgs, OutputArgs};

#[derive(Debug, Subcommand)]
pub enum ExperimentCommand {
    /// Train and score what is missing, then write summary.json and the report
    Run(ExperimentArgs),
    /// Time a few steps of each variant, and say which runs there are, how long they take and what they can tell
    Plan(ExperimentArgs),
    /// Print what Kubernetes is to run next: an indexed job with a task for each run that is missing
    Manifest(WhichArgs),
    /// Write every report, and the index of them, anew from their summary.json; overview.md in the folder stands first
    Render(RenderArgs),
    /// Do one part of the work that a scheduler was given
    #[command(hide = true)]
    Task(TaskArgs),
}

impl ExperimentCommand {
    /// Where it computes.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Run(args) => match args.executor {
                ExecutorKind::Local => args.which.device.backend,
                // The nodes do.
                ExecutorKind::Slurm => Backend::Flex,
            },
            // It times them here.
            Self::Plan(args) => args.which.device.backend,
            Self::Task(args) => args.device.backend,
            Self::Manifest(_) | Self::Render(_) => Backend::Flex,
        }
    }
}

/// Where the runs of an experiment are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExecutorKind {
    /// On this machine
    Local,
    /// As array jobs of Slurm, from a folder that the nodes share
    Slurm,
}

/// An experiment, its runs and what they compute on.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Folder with an experiment.toml, or the file
    pub experiment: PathBuf,
    /// Override a setting of every run, as in --set data.path=… (repeatable)
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder of the runs; finished ones in it are kept, an interrupted one goes on. Default: runs/experiments/NAME
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Debug, Args)]
pub struct ExperimentArgs {
    #[command(flatten)]
    pub which: WhichArgs,
    /// Where the runs are done
    #[arg(long, value_enum, default_value_t = ExecutorKind::Local, value_name = "WHERE")]
    pub executor: ExecutorKind,
    /// Folder of summary.json and the report; default: that of the experiment
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs at a time on this machine, each with its share of the threads
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// Say what would run, and stop
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct TaskArgs {
    /// What `experiment run` or `manifest` wrote
    pub work: PathBuf,
    /// Which part, counted from 0
    #[arg(
        long,
        env = "JOB_COMPLETION_INDEX",
        default_value_t = 0,
        value_name = "N"
    )]
    pub index: usize,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Folder of experiments
    #[arg(default_value = "experiments")]
    pub folder: PathBuf,
}

//! `bitnet bench (MODEL | --arch CONFIG)`: prefill and decode, in llama-bench's terms.
//!
//! `pp512` reads a prompt of 512 tokens at once, `tg128` writes 128 tokens one by one from an empty context; with a depth,
//! after so many tokens. Speed does not depend on which tokens. On the engine each result comes with its share of what the
//! machine allows: decoding, which reads the weights and the keys and values so far, of the bandwidth at which the same
//! threads read the weights alone, measured after each repetition; prefill, of the peak of the kernel's dot product.

use std::time::Instant;

use anyhow::bail;
use bitnet_config::Task;
use bitnet_kernels::probe;
use bitnet_load::Checkpoint;
use bitnet_models::engine::{Engine, RandomWeights};
use bitnet_models::{
    EngineRunner, LinearKind, ModelConfig, Network, QuantConfig, Runner, TensorRunner, Transformer,
};
use bitnet_report::table::{Cell, Section, Table};
use bitnet_results::statistics::{mean, median, sample_sd};
use bitnet_train::{Location, RunDir, load_exported, peak_rss_bytes};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor};
use serde::Serialize;

use super::Outcome;
use crate::args::{BenchArgs, ConfigArgs, Dtype, Format, Linear};
use crate::location;
use crate::{configuration, device, engine, output, run_folder};

/// One line of the result.
#[derive(Serialize)]
struct Row {
    test: String,
    n_prompt: usize,
    n_gen: usize,
    n_depth: usize,
    threads: usize,
    backend: String,
    linear: LinearKind,
    engine: Option<String>,
    avg_ts: f64,
    stddev_ts: f64,
    samples_ts: Vec<f64>,
    model_bytes: usize,
    /// Of a decoded token: the weights, and the keys and values before it in the mean.
    read_bytes_per_token: Option<usize>,
    /// Keys and values of the longest test.
    cache_bytes: Option<usize>,
    peak_rss_bytes: Option<u64>,
    /// Of the read bandwidth (decode) or of the dot-product peak (ternary prefill).
    fraction_of_limit: Option<f64>,
}

/// One of the tests.
#[derive(Clone, Copy)]
struct Test {
    prompt: usize,
    generate: usize,
    depth: usize,
}

pub fn run(args: BenchArgs) -> anyhow::Result<Outcome> {
    let tests = tests(&args);
    let longest = tests
        .iter()
        .map(|t| t.depth.saturating_add(t.prompt).saturating_add(t.generate))
        .max();
    let Some(longest) = longest else {
        bail!("there is nothing to measure: every -p and -n is 0");
    };
    let subject = Subject::open(&args)?;
    let uses_engine = match &subject {
        Subject::Arch(model, quant) => engine::runs(args.backend, &args.engine, model, quant)?,
        Subject::Run(run) => {
            let config = run.config()?;
            engine::runs(args.backend, &args.engine, &config.model, &config.quant)?
        }
        Subject::File(_) => location::on_engine(args.backend, &args.engine)?,
    };
    let rows = match uses_engine {
        true => on_engine(&args, &tests, longest, &subject)?,
        false => on_device(&args, &tests, longest, &subject)?,
    };
    match args.output.output {
        Format::Json => output::json(&rows)?,
        Format::Text => output::table(&table(&rows))?,
        Format::Md => output::piece(&table(&rows).to_markdown())?,
        Format::Csv => output::piece(&table(&rows).to_csv())?,
    }
    Ok(Outcome::Done)
}

fn tests(args: &BenchArgs) -> Vec<Test> {
    let mut tests = Vec::new();
    for &depth in &args.n_depth {
        let prompts = args.n_prompt.iter().map(|&n| (n, 0));
        for (prompt, generate) in prompts.chain(args.n_gen.iter().map(|&n| (0, n))) {
            if prompt + generate > 0 {
                tests.push(Test {
                    prompt,
                    generate,
                    depth,
                });
            }
        }
    }
    tests
}

/// On the CPU engine: the weights are made once, the threads vary.
fn on_engine(
    args: &BenchArgs,
    tests: &[Test],
    longest: usize,
    subject: &Subject,
) -> anyhow::Result<Vec<Row>> {
    device::refuse_dtype(args.activations, "is for GPUs; the CPU computes in f32")?;
    device::set_threads(args.threads[0])?;
    let first = engine::options(&args.engine, args.threads[0])?;
    let (engine, linear) = match subject {
        Subject::Arch(model, quant) => {
            check(longest, model.max_position_embeddings)?;
            let shape = model.engine_shape(quant)?;
            let weights = RandomWeights {
                shape: shape.clone(),
                ternary: (model.linear == LinearKind::Ternary).then_some(quant.granularity),
                seed: 1,
            };
            (Engine::new(shape, &weights, first)?, model.linear)
        }
        Subject::Run(run) => {
            let model: Transformer = load_exported(run, &args.backend.device(args.device)?)?;
            (model.engine(first)?, model.config().linear)
        }
        Subject::File(checkpoint) => {
            let engine = location::engine(checkpoint, &args.engine, args.threads[0])?;
            let linear = match engine.layout() {
                Some(_) => LinearKind::Ternary,
                None => LinearKind::Float,
            };
            (engine, linear)
        }
    };
    let mut runner = EngineRunner::new(engine);
    check(longest, runner.context())?;
    let mut rows = Vec::new();
    for &threads in &args.threads {
        let options = engine::options(&args.engine, threads)?;
        runner.engine.set_threads(options.threads)?;
        let macs = runner.engine.linear_macs();
        let (weights, block) = (runner.engine.read_bytes(), runner.engine.cache_bytes(32));
        // Both limits are measured after each repetition: on a machine that others use, too, they move.
        let dot_peak = || match linear {
            LinearKind::Ternary => probe::dot_peak(options.kernel, options.threads),
            LinearKind::Float => None,
        };
        for test in tests {
            let mut fractions = Vec::new();
            // Of the written tokens the first one reads its own keys and values and those before it, and so on.
            let bytes = weights + block * (2 * test.depth + test.generate + 1) / 64;
            let samples = measure(
                &mut runner,
                *test,
                longest,
                args.repetitions,
                |model, speed| {
                    fractions.extend(match test.generate {
                        0 => dot_peak().map(|peak| speed * macs as f64 / peak),
                        _ => Some(speed * bytes as f64 / model.engine.read_bandwidth()),
                    });
                },
            )?;
            rows.push(Row {
                threads: options.threads,
                engine: Some(engine::describe(&runner.engine)),
                model_bytes: runner.engine.weight_bytes(),
                read_bytes_per_token: (test.generate > 0).then_some(bytes),
                cache_bytes: Some(runner.engine.cache_bytes(longest)),
                fraction_of_limit: (!fractions.is_empty()).then(|| median(&fractions)),
                ..Row::of(*test, args, linear, samples)
            });
        }
    }
    Ok(rows)
}

/// On a Burn backend.
fn on_device(
    args: &BenchArgs,
    tests: &[Test],
    longest: usize,
    subject: &Subject,
) -> anyhow::Result<Vec<Row>> {
    let &[threads] = &args.threads[..] else {
        bail!(
            "several --threads are for the flex backend, not for {}",
            args.backend
        );
    };
    device::set_threads(threads)?;
    let device = args.backend.device(args.device)?;
    let model = match subject {
        Subject::Arch(config, quant) => {
            check(longest, config.max_position_embeddings)?;
            random(config, quant, &device)?
        }
        Subject::Run(run) => load_exported(run, &device)?,
        Subject::File(checkpoint) => location::transformer(checkpoint, &device)?,
    };
    let model = device::with_dtype(model, args.activations, args.backend, &device)?;
    let linear = model.config().linear;
    let mut weights = Bytes(0);
    model.visit(&mut weights);
    let mut runner = TensorRunner::new(&model, &device);
    check(longest, runner.context())?;
    let mut rows = Vec::new();
    for test in tests {
        let samples = measure(&mut runner, *test, longest, args.repetitions, |_, _| ())?;
        rows.push(Row {
            threads: rayon::current_num_threads(),
            engine: (args.activations.dtype == Dtype::F16).then(|| "f16 activations".to_owned()),
            model_bytes: weights.0,
            ..Row::of(*test, args, linear, samples)
        });
    }
    Ok(rows)
}

/// Sums up what a module's parameters take.
struct Bytes(usize);

impl ModuleVisitor for Bytes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        self.0 += tensor.dims().iter().product::<usize>() * tensor.dtype().size();
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let tensor = param.val();
        self.0 += tensor.dims().iter().product::<usize>() * tensor.dtype().size();
    }
}

/// What is measured.
enum Subject {
    /// A shape with random weights.
    Arch(Box<ModelConfig>, QuantConfig),
    Run(RunDir),
    File(Box<Checkpoint>),
}

impl Subject {
    fn open(args: &BenchArgs) -> anyhow::Result<Self> {
        let Some(path) = &args.model else {
            if args.arch.is_none() {
                bail!(
                    "there is nothing to measure: give a run directory, a model file, or a shape with --arch CONFIG"
                );
            }
            engine::refuse_activations(&args.engine)?;
            let (model, quant) = arch(args)?;
            return Ok(Self::Arch(Box::new(model), quant));
        };
        if args.linear.is_some() || !args.set.is_empty() {
            bail!(
                "--linear and --set are for a shape (--arch); a trained model is measured as it is"
            );
        }
        let run = match location::open(path)? {
            Location::File(checkpoint) => {
                let checkpoint = location::with_activations(*checkpoint, &args.engine);
                return Ok(Self::File(Box::new(checkpoint)));
            }
            Location::Run(run) => run,
        };
        engine::refuse_activations(&args.engine)?;
        let task = run.config()?.task;
        if task != Task::Lm {
            bail!(
                "bench measures language models; {} has task = \"{}\", which `bitnet experiment` times",
                path.display(),
                task.name()
            );
        }
        run_folder::note_of_export(&run)?;
        Ok(Self::Run(run))
    }
}

/// Weights 0 in packed layers: a product takes as long as with any others.
fn random(
    model: &ModelConfig,
    quant: &QuantConfig,
    device: &Device,
) -> anyhow::Result<Transformer> {
    Ok(match model.linear {
        LinearKind::Ternary => Transformer::new_packed(model, quant, device)?,
        LinearKind::Float => Transformer::new(model, quant, 1, device)?,
    })
}

/// The shape of `--arch`, with `--linear`.
fn arch(args: &BenchArgs) -> anyhow::Result<(ModelConfig, QuantConfig)> {
    let overrides = ConfigArgs {
        set: args.set.clone(),
        seed: None,
        print_config: false,
        dry_run: false,
    };
    let mut config = configuration::load(args.arch.as_deref(), &overrides, None)?;
    match args.linear {
        Some(Linear::Ternary) => config.model.linear = LinearKind::Ternary,
        Some(Linear::Float) => config.model.linear = LinearKind::Float,
        None => {}
    }
    if config.model.vocab_size == 0 {
        bail!("model.vocab_size is missing; a shape without data must name it");
    }
    let ternary = config.model.linear == LinearKind::Ternary;
    bitnet_train::check_running(&config.model, ternary, args.backend)?;
    Ok((config.model, config.quant))
}

fn check(longest: usize, context: usize) -> anyhow::Result<()> {
    if longest > context {
        bail!(
            "the longest test takes {longest} tokens, the model's context holds {context} (model.max_position_embeddings)"
        );
    }
    Ok(())
}

/// Tokens a second of each repetition, which `after` sees as well.
fn measure<R: Runner>(
    model: &mut R,
    test: Test,
    capacity: usize,
    repetitions: u32,
    mut after: impl FnMut(&mut R, f64),
) -> anyhow::Result<Vec<f64>> {
    let vocab = model.vocab_size() as u32;
    let tokens = |count: usize| {
        (0..count as u32)
            .map(|i| i.wrapping_mul(7919) % vocab)
            .collect::<Vec<_>>()
    };
    let (before, prompt, written) = (
        tokens(test.depth),
        tokens(test.prompt),
        tokens(test.generate),
    );
    let mut samples = Vec::new();
    for repetition in 0..=repetitions {
        model.start(capacity)?;
        if !before.is_empty() {
            model.read(&before)?;
        }
        let start = Instant::now();
        if !prompt.is_empty() {
            model.read(&prompt)?;
        }
        for &token in &written {
            model.read(&[token])?;
        }
        let seconds = start.elapsed().as_secs_f64();
        if repetition > 0 {
            let speed = (test.prompt + test.generate) as f64 / seconds;
            after(model, speed);
            samples.push(speed);
        }
    }
    Ok(samples)
}

impl Row {
    fn of(test: Test, args: &BenchArgs, linear: LinearKind, samples: Vec<f64>) -> Row {
        let mut name = match test.generate {
            0 => format!("pp{}", test.prompt),
            generate => format!("tg{generate}"),
        };
        if test.depth > 0 {
            name += &format!(" @ d{}", test.depth);
        }
        Row {
            test: name,
            n_prompt: test.prompt,
            n_gen: test.generate,
            n_depth: test.depth,
            threads: 0,
            backend: args.backend.to_string(),
            linear,
            engine: None,
            avg_ts: mean(&samples).unwrap_or(f64::NAN),
            stddev_ts: sample_sd(&samples).unwrap_or(0.0),
            samples_ts: samples,
            model_bytes: 0,
            read_bytes_per_token: None,
            cache_bytes: None,
            peak_rss_bytes: peak_rss_bytes(),
            fraction_of_limit: None,
        }
    }
}

fn table(rows: &[Row]) -> Table {
    let header = [
        "test",
        "linear",
        "backend",
        "engine",
        "threads",
        "model",
        "tokens/s",
        "±",
        "of the limit",
        "peak memory",
    ];
    let mega = |bytes: f64| Cell::number(format!("{:.0} MB", bytes / 1e6), bytes);
    let none = || Cell::text("–");
    let line = |row: &Row| {
        vec![
            Cell::text(&row.test),
            Cell::text(match row.linear {
                LinearKind::Ternary => "ternary",
                LinearKind::Float => "float",
            }),
            Cell::text(&row.backend),
            row.engine.as_ref().map_or_else(none, Cell::text),
            Cell::number(row.threads.to_string(), row.threads as f64),
            mega(row.model_bytes as f64),
            Cell::number(format!("{:.1}", row.avg_ts), row.avg_ts),
            Cell::number(format!("{:.1}", row.stddev_ts), row.stddev_ts),
            row.fraction_of_limit.map_or_else(none, |f| {
                let of = if row.n_gen > 0 {
                    "bandwidth"
                } else {
                    "dot peak"
                };
                Cell::number(format!("{:.0} % {of}", 100.0 * f), f)
            }),
            row.peak_rss_bytes
                .map_or_else(none, |bytes| mega(bytes as f64)),
        ]
    };
    Table {
        header: header.map(String::from).to_vec(),
        sections: vec![Section {
            title: String::new(),
            rows: rows.iter().map(line).collect(),
        }],
    }
}

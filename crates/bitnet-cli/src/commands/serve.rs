//! `bitnet serve MODEL…`: an OpenAI-compatible server, and a chat page.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use bitnet_generate::Batch;
use bitnet_serve::{LoadedModel, ModelSource, Server, Settings};

use super::Outcome;
use crate::args::{EngineArgs, ServeArgs};
use crate::{device, interrupt, model, output};

/// A key that is not in a file.
const KEY: &str = "BITNET_API_KEY";

pub fn run(args: ServeArgs) -> anyhow::Result<Outcome> {
    device::set_threads(args.threads)?;
    let template = match &args.chat_template {
        Some(path) => {
            let text = fs::read_to_string(path);
            Some(text.with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => None,
    };
    let models: Vec<ModelSource> = args
        .models
        .iter()
        .map(|model| source(model, &args, template.clone()))
        .collect::<Result<_, _>>()?;
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let aliases: Vec<(String, String)> = args
        .alias
        .iter()
        .map(|alias| split(alias).with_context(|| format!("--alias {alias}: expected NAME=MODEL")))
        .collect::<Result<_, _>>()?;
    let settings = Settings {
        address: (args.host, args.port).into(),
        api_keys: keys(args.api_key_file.as_deref())?,
        cors: args.cors.clone(),
        allowed_hosts: args.allow_host.clone(),
        limits: args.limits.limits(),
        log_text: args.log_text,
    };
    let (open, has_key) = (!args.host.is_loopback(), !settings.api_keys.is_empty());
    allow_files();
    let quiet = args.quiet;
    let log = move |line: &str| {
        if !quiet {
            output::say(line);
        }
    };
    let server = Server::bind(settings, models, &aliases, Box::new(log))?;
    let stopper = server.stopper();
    interrupt::watch_server(move || {
        output::say(
            "ending: answers that are being written have a moment; once more to stop at once",
        );
        stopper.stop();
    })?;
    let address = server.address();
    output::say(format_args!("loading {}", names.join(", ")));
    if open {
        let who = match has_key {
            true => "whoever reaches it and has a key can use it",
            false => "whoever reaches it can use it: there is no key (--api-key-file)",
        };
        output::say(format_args!(
            "note: {address} is not loopback: {who}; it speaks HTTP without TLS, which is for a proxy in front"
        ));
    }
    server.run(|| {
        output::say(format_args!(
            "ready at http://{address} with {}",
            names.join(", ")
        ));
    })?;
    Ok(Outcome::Done)
}

/// `NAME=MODEL`, or a model that is called as its file.
fn source(
    argument: &str,
    args: &ServeArgs,
    template: Option<String>,
) -> anyhow::Result<ModelSource> {
    let (name, path) = match split(argument) {
        // A path may hold the sign too.
        Some(parts) if !Path::new(argument).exists() => parts,
        _ => {
            let path = Path::new(argument);
            let stem = match path.is_dir() {
                // `.` has no name of its own.
                true => path.canonicalize()?.file_name().map(|name| name.to_owned()),
                false => path.file_stem().map(|name| name.to_owned()),
            };
            let name = stem.with_context(|| format!("{argument} has no name; give NAME=MODEL"))?;
            (name.to_string_lossy().into_owned(), argument.to_owned())
        }
    };
    let (engine, threads): (EngineArgs, usize) = (args.engine.clone(), args.threads);
    let (options, pooling) = (args.batch.options(), args.pooling);
    let load = move || -> anyhow::Result<LoadedModel> {
        let what = "the server runs";
        let (engine, text) = model::open_engine(path.as_ref(), &engine, threads, what)?;
        let text = match template {
            Some(_) => text.with_template(template),
            None => text,
        };
        let batch = Batch::new(engine, options)?;
        let pooling = model::pooling(pooling, &text);
        Ok(LoadedModel {
            batch,
            text,
            pooling,
        })
    };
    Ok(ModelSource {
        name,
        load: Box::new(move || load().map_err(|error| format!("{error:#}").into())),
    })
}

fn split(text: &str) -> Option<(String, String)> {
    let (name, rest) = text.split_once('=')?;
    (!name.is_empty() && !rest.is_empty()).then(|| (name.to_owned(), rest.to_owned()))
}

/// The keys of the environment and of a file.
fn keys(file: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    match std::env::var(KEY) {
        Ok(key) if key.trim().is_empty() => bail!("{KEY} is empty; unset it to ask for no key"),
        Ok(key) => keys.push(key.trim().to_owned()),
        Err(std::env::VarError::NotPresent) => {}
        Err(error) => bail!("{KEY}: {error}"),
    }
    if let Some(path) = file {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let before = keys.len();
        keys.extend(lines.map(String::from));
        if keys.len() == before {
            bail!("{}: there is no key in it", path.display());
        }
    }
    Ok(keys)
}

/// Every connection is an open file: as many as the system lets this process have.
fn allow_files() {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
            && soft < hard
        {
            // With fewer it serves fewer.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
    }
}

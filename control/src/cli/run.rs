//! What each command does.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hyper::body::Bytes;

use super::args::{
    CaptureArgs, Cli, Command, ConnectArgs, CreateArgs, DaemonArgs, EndpointCommand, FdbCommand, FilterKey,
    Format, Global, ListArgs, NetworkCommand,
};
use super::{CliError, complain, docker, output, remark, table};
use crate::api::types::{EndpointRequest, NetworkInfo, NetworkRequest};
use crate::api::{CaptureStream, Client, ClientError};
use crate::config::Config;
use crate::daemon;
use crate::demo::{self, DemoOptions};
use crate::error::Code;
use crate::model::Id;

/// Runs a command to its end.
pub(super) fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let Cli { global, command } = cli;
    if let Command::Daemon(args) = command {
        return run_daemon(&args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let client = Client::new(&global.host);
    runtime.block_on(async {
        match command {
            Command::Demo => {
                return demo::run(DemoOptions { color: global.forced_color() }).await.map_err(CliError::Demo);
            }
            // Taken above.
            Command::Daemon(_) => {}
            Command::Status => output::print(global.format, &client.status().await?, table::status)?,
            Command::Doctor => return doctor(global.format, &client).await,
            Command::Stats => output::print(global.format, &client.stats().await?, table::stats)?,
            Command::Network(command) => return network(&global, &client, command).await,
            Command::Endpoint(command) => endpoint(&global, &client, command).await?,
            Command::Fdb(FdbCommand::Show { network }) => {
                let entries = client.fdb(network.as_deref()).await?;
                output::print(global.format, &entries, |entries| table::fdb(entries))?;
            }
            Command::Capture(args) => capture(&client, args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn run_daemon(args: &DaemonArgs) -> Result<ExitCode, CliError> {
    let environment = |key: &str| std::env::var(key).ok();
    let config = Config::load(args.config.as_deref(), environment, &args.set)?;
    daemon::run(&config)?;
    Ok(ExitCode::SUCCESS)
}

async fn doctor(format: Format, client: &Client) -> Result<ExitCode, CliError> {
    let findings = client.doctor().await?;
    output::print(format, &findings, |findings| table::findings(findings))?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Code::Failed.exit()) })
}

async fn network(global: &Global, client: &Client, command: NetworkCommand) -> Result<ExitCode, CliError> {
    match command {
        NetworkCommand::Create(args) => {
            let network = client.create_network(&request(args)).await?;
            output::print(global.format, &network, |network| format!("{}\n", network.id))?;
        }
        NetworkCommand::Ls(args) => list(global.format, client, &args).await?,
        NetworkCommand::Inspect { networks } => return inspect(global, client, &networks).await,
        NetworkCommand::Rm { networks } => return remove(global, client, &networks).await,
        NetworkCommand::Connect(args) => connect(global.format, client, args).await?,
        NetworkCommand::Disconnect { network, endpoint } => {
            let endpoint = client.disconnect(&network, &endpoint).await?;
            output::print(global.format, &endpoint, |endpoint| format!("{}\n", endpoint.name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn request(args: CreateArgs) -> NetworkRequest {
    NetworkRequest {
        name: args.name,
        driver: args.driver,
        subnets: args.subnet,
        gateways: args.gateway,
        ip_range: args.ip_range,
        vni: args.vni,
        mtu: args.mtu,
        internal: args.internal,
        ipv6: args.ipv6,
        labels: args.label.into_iter().collect(),
        options: args.opt.into_iter().collect(),
    }
}

async fn list(format: Format, client: &Client, args: &ListArgs) -> Result<(), CliError> {
    let mut networks = client.networks().await?;
    networks.retain(|network| fits(network, &args.filter));
    if args.quiet {
        let ids = networks
            .iter()
            .map(|network| format!("{}\n", &network.id[..Id::SHORT_LEN.min(network.id.len())]));
        return output::text(&ids.collect::<String>());
    }
    output::print(format, &networks, |networks| table::networks(networks))
}

/// Docker's rule: of several filters with one key one must fit, of each key.
fn fits(network: &NetworkInfo, filters: &[(FilterKey, String)]) -> bool {
    let fits_one = |key: FilterKey, value: &str| match key {
        FilterKey::Name => network.name.contains(value),
        FilterKey::Id => network.id.starts_with(value),
        FilterKey::Driver => network.driver.as_str() == value,
        FilterKey::Label => match value.split_once('=') {
            Some((key, value)) => network.labels.get(key).is_some_and(|v| v == value),
            None => network.labels.contains_key(value),
        },
    };
    filters.iter().all(|&(key, _)| filters.iter().any(|(k, value)| *k == key && fits_one(key, value)))
}

/// What was found is printed even if something was not.
async fn inspect(global: &Global, client: &Client, keys: &[String]) -> Result<ExitCode, CliError> {
    let mut found = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for key in keys {
        match client.network(key).await {
            Ok(network) => found.push(docker::Network::from(&network)),
            Err(error) => code = keep_going(global, error)?,
        }
    }
    output::json(&found)?;
    Ok(code)
}

/// What can be removed is removed even if something cannot.
async fn remove(global: &Global, client: &Client, keys: &[String]) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::SUCCESS;
    for key in keys {
        match client.remove_network(key).await {
            Ok(_) => output::line(key)?,
            Err(error) => code = keep_going(global, error)?,
        }
    }
    Ok(code)
}

/// Tells what is wrong with one of several things; gives the exit code. Without a daemon there is no next thing.
fn keep_going(global: &Global, error: ClientError) -> Result<ExitCode, CliError> {
    match error {
        ClientError::Refused(problem) => Ok(complain(&problem, global.wants_color())),
        error => Err(error.into()),
    }
}

async fn connect(format: Format, client: &Client, args: ConnectArgs) -> Result<(), CliError> {
    let request = EndpointRequest {
        netns: as_seen_by_daemon(&args.netns)?,
        name: args.name,
        ifname: args.ifname,
        ip: args.ip,
        ip6: args.ip6,
        mac: args.mac.map(|mac| mac.to_string()),
    };
    let connected = client.connect(&args.network, &request).await?;
    for warning in &connected.warnings {
        remark(warning);
    }
    output::print(format, &connected.endpoint, |endpoint| format!("{}\n", endpoint.name))
}

/// The path of a namespace for a process with another working directory and another `/proc/self`.
fn as_seen_by_daemon(netns: &Path) -> Result<PathBuf, CliError> {
    let absolute = std::path::absolute(netns)
        .map_err(|source| CliError::Path { path: netns.display().to_string(), source })?;
    Ok(match absolute.strip_prefix("/proc/self") {
        Ok(rest) => Path::new("/proc").join(std::process::id().to_string()).join(rest),
        Err(_) => absolute,
    })
}

async fn endpoint(global: &Global, client: &Client, command: EndpointCommand) -> Result<(), CliError> {
    match command {
        EndpointCommand::Ls => {
            let endpoints = client.endpoints().await?;
            output::print(global.format, &endpoints, |endpoints| table::endpoints(endpoints))
        }
        EndpointCommand::Inspect { endpoint } => output::json(&client.endpoint(&endpoint).await?),
    }
}

/// Writes a capture piece by piece, until it ends or Ctrl-C.
async fn capture(client: &Client, args: CaptureArgs) -> Result<(), CliError> {
    let mut stream = client.capture(args.network.as_deref(), args.endpoint.as_deref(), args.count).await?;
    let failed = |source| CliError::File { path: args.write.display().to_string(), source };
    let mut file = match args.write.as_os_str().as_encoded_bytes() {
        b"-" => None,
        _ => Some(File::create(&args.write).map_err(failed)?),
    };
    while let Some(piece) = next_piece(&mut stream).await? {
        match &mut file {
            Some(file) => file.write_all(&piece).map_err(failed)?,
            None => output::bytes(&piece)?,
        }
    }
    Ok(())
}

/// The next piece, or `None` at the end and at Ctrl-C.
async fn next_piece(stream: &mut CaptureStream) -> Result<Option<Bytes>, CliError> {
    tokio::select! {
        piece = stream.next() => Ok(piece?),
        _ = tokio::signal::ctrl_c() => Ok(None),
    }
}

//! What each command does.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;
use clap_complete::Shell;
use hyper::body::Bytes;

use super::args::{
    CaptureArgs, Cli, Command, DaemonArgs, DockerCommand, EndpointCommand, FdbCommand, Global, NatCommand,
    NodeCommand, PortCommand, SessionKey,
};
use super::{CliError, network, output, remark, table};
use crate::api::{CaptureStream, Client};
use crate::config::Config;
use crate::daemon::{self, AtEnd};
use crate::demo::{self, DemoOptions};
use crate::driver::docker::Install;
use crate::error::Code;
use crate::log::Log;
use crate::network::SESSIONS_TOLD;
use crate::packet;

/// Runs a command to its end.
pub(super) fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let Cli { global, command } = cli;
    let command = match command {
        Command::Daemon(args) => return run_daemon(&global, args),
        // Before there is any thread.
        Command::Dataplane => return packet::run().map(|()| ExitCode::SUCCESS).map_err(CliError::Packet),
        Command::Completion { shell } => return completion(shell),
        Command::Man { directory } => return man(&directory),
        Command::Docker(command) => return docker(&global, command),
        other => other,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(ask(&global, command))
}

/// Runs a command that asks a daemon, or makes some.
async fn ask(global: &Global, command: Command) -> Result<ExitCode, CliError> {
    let client = &Client::new(&global.host);
    match command {
        Command::Demo => {
            return demo::run(DemoOptions { color: global.forced_color() }).await.map_err(CliError::Demo);
        }
        // Taken before.
        Command::Daemon(_)
        | Command::Dataplane
        | Command::Completion { .. }
        | Command::Man { .. }
        | Command::Docker(_) => {}
        Command::Status => output::print(global.format, &client.status().await?, table::status)?,
        Command::Doctor => return doctor(global, client).await,
        Command::Stats => output::print(global.format, &client.stats().await?, table::stats)?,
        Command::Network(command) => return network::run(global, client, command).await,
        Command::Endpoint(command) => endpoint(global, client, command).await?,
        Command::Port(PortCommand::Ls) => {
            output::print(global.format, &client.ports().await?, |ports| table::ports(ports))?;
        }
        Command::Nat(NatCommand::Show { filter }) => nat(global, client, &filter).await?,
        Command::Node(NodeCommand::Ls) => {
            output::print(global.format, &client.nodes().await?, |nodes| table::nodes(nodes))?;
        }
        Command::Fdb(FdbCommand::Show { network }) => {
            let entries = client.fdb(network.as_deref()).await?;
            output::print(global.format, &entries, |entries| table::fdb(entries))?;
        }
        Command::Capture(args) => capture(client, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a shell must know of every command. Written whole, so that a reader that has left is noticed here.
fn completion(shell: Shell) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weft", &mut script);
    output::bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `weft.1`, `weft-network.1`, `weft-network-create.1` and so on into `directory`.
fn man(directory: &Path) -> Result<ExitCode, CliError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| CliError::File { path, source }
    };
    std::fs::create_dir_all(directory).map_err(failed(directory))?;
    let mut definition = Cli::command();
    definition.build();
    let mut written = String::new();
    let mut pages = vec![definition];
    while let Some(command) = pages.pop() {
        pages.extend(command.get_subcommands().cloned());
        let page = clap_mangen::Man::new(command).manual("Weft");
        let path = directory.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text).map_err(failed(&path))?;
        std::fs::write(&path, text).map_err(failed(&path))?;
        written.push_str(&format!("{}\n", path.display()));
    }
    output::text(&written)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was done, a file a line.
fn docker(global: &Global, command: DockerCommand) -> Result<ExitCode, CliError> {
    let (install, steps) = match command {
        DockerCommand::Install(args) => {
            let install = Install::new(args.root);
            (install.clone(), install.install()?)
        }
        DockerCommand::Uninstall(args) => {
            let install = Install::new(args.root);
            (install.clone(), install.uninstall()?)
        }
    };
    output::print(global.format, &steps, |steps| {
        steps.iter().map(|step| format!("{}: {}\n", step.path.display(), step.done)).collect()
    })?;
    if install.concerns_systemd(&steps) {
        remark("'systemctl daemon-reload' makes systemd read that");
    }
    Ok(ExitCode::SUCCESS)
}

fn run_daemon(global: &Global, args: DaemonArgs) -> Result<ExitCode, CliError> {
    let DaemonArgs { config: file, live_restore, set } = args;
    let at_end = if live_restore { AtEnd::LeaveForwarding } else { AtEnd::RemoveAll };
    let load = move || Config::load(file.as_deref(), |key: &str| std::env::var(key).ok(), &set);
    let config = load()?;
    let log = Log::start(&config.log, global.verbose, global.wants_color())?;
    daemon::run(&config, log, Arc::new(load), at_end)?;
    Ok(ExitCode::SUCCESS)
}

async fn doctor(global: &Global, client: &Client) -> Result<ExitCode, CliError> {
    let findings = client.doctor().await?;
    output::print(global.format, &findings, |findings| table::findings(findings))?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Code::Failed.exit()) })
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

async fn nat(global: &Global, client: &Client, filter: &[(SessionKey, String)]) -> Result<(), CliError> {
    let wanted = |key| filter.iter().rev().find(|(k, _)| *k == key).map(|(_, value)| value.as_str());
    let [network, endpoint, protocol] =
        [SessionKey::Network, SessionKey::Endpoint, SessionKey::Protocol].map(wanted);
    let sessions = client.nat(network, endpoint, protocol).await?;
    if sessions.len() == SESSIONS_TOLD {
        remark("there are more sessions than are printed: narrow it down with --filter");
    }
    output::print(global.format, &sessions, |sessions| table::nat(sessions))
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

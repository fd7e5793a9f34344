//! What `weft network ...` does.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{ConnectArgs, CreateArgs, FilterKey, Format, Global, ListArgs, NetworkCommand};
use super::{CliError, complain, docker, output, prompt, remark, table};
use crate::api::types::{EndpointRequest, NetworkInfo, NetworkRequest};
use crate::api::{Client, ClientError};
use crate::model::Id;
use crate::network::PREDEFINED;

/// Runs a command to its end.
pub(super) async fn run(
    global: &Global,
    client: &Client,
    command: NetworkCommand,
) -> Result<ExitCode, CliError> {
    match command {
        NetworkCommand::Create(args) => {
            let network = client.create_network(&request(args)).await?;
            output::print(global.format, &network, |network| format!("{}\n", network.id))?;
        }
        NetworkCommand::Ls(args) => list(global.format, client, &args).await?,
        NetworkCommand::Inspect { networks } => return inspect(global, client, &networks).await,
        NetworkCommand::Rm { networks } => return remove(global, client, &networks).await,
        NetworkCommand::Prune { force } => prune(global.format, client, force).await?,
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
        ip_ranges: args.ip_range.into_iter().collect(),
        auxiliary: BTreeMap::new(),
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
        // Without a cluster store no network is known beyond its host.
        FilterKey::Scope => value == "local",
        FilterKey::Type => (network.name.as_str() == PREDEFINED) == (value == "builtin"),
        FilterKey::Dangling => network.endpoints.is_empty() == matches!(value, "true" | "1"),
    };
    filters.iter().all(|&(key, _)| filters.iter().any(|(k, value)| *k == key && fits_one(key, value)))
}

/// What was found is printed even if something was not.
async fn inspect(global: &Global, client: &Client, keys: &[String]) -> Result<ExitCode, CliError> {
    let mut found = Vec::new();
    let mut worst = 0;
    for key in keys {
        match client.network(key).await {
            Ok(network) => found.push(docker::Network::from(&network)),
            Err(error) => worst = worst.max(keep_going(global, error)?),
        }
    }
    output::json(&found)?;
    Ok(worst.into())
}

/// What can be removed is removed even if something cannot.
async fn remove(global: &Global, client: &Client, keys: &[String]) -> Result<ExitCode, CliError> {
    let mut worst = 0;
    for key in keys {
        match client.remove_network(key).await {
            Ok(_) => output::line(key)?,
            Err(error) => worst = worst.max(keep_going(global, error)?),
        }
    }
    Ok(worst.into())
}

/// Tells what is wrong with one of several things; gives the exit code. Without a daemon there is no next thing.
fn keep_going(global: &Global, error: ClientError) -> Result<u8, CliError> {
    match error {
        ClientError::Refused(problem) => Ok(complain(&problem, global.wants_color())),
        error => Err(error.into()),
    }
}

async fn prune(format: Format, client: &Client, force: bool) -> Result<(), CliError> {
    if !force && !confirmed()? {
        remark("nothing is removed");
        return Ok(());
    }
    let pruned = client.prune_networks().await?;
    output::print(format, &pruned, |pruned| pruned.iter().map(|n| format!("{}\n", n.name)).collect())
}

/// Asks somebody at a terminal; only a word that begins with `y` is a yes.
fn confirmed() -> Result<bool, CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::NobodyToAsk);
    }
    prompt("This removes every network that has no endpoints. Continue? [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(CliError::Input)?;
    Ok(answer.trim_start().starts_with(['y', 'Y']))
}

async fn connect(format: Format, client: &Client, args: ConnectArgs) -> Result<(), CliError> {
    let request = EndpointRequest {
        netns: as_seen_by_daemon(&args.netns)?,
        name: args.name,
        ifname: args.ifname,
        ip: args.ip,
        ip6: args.ip6,
        mac: args.mac.map(|mac| mac.to_string()),
        publish: args.publish,
        aliases: args.alias,
        labels: Default::default(),
        routes: vec![],
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

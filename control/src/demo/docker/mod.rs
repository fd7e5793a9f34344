//! The part in which Docker Engine uses the product, where one runs on this machine: two of its containers on a network of
//! Weft's talk to each other.
//!
//! The plugin is this host's own daemon's if that runs. If not, a daemon of the demonstration's serves it as long as the
//! part takes; it has to be where the engine is, so an interface `weft0` comes and goes on this host. The network is
//! internal: nothing is routed or translated for it. The containers are of an image that the engine has, with a shell; if
//! it has none, of one that is made of `/bin/busybox` and removed again. Nothing is pulled.
//!
//! Skipped, with the reason: no engine, or none that could use the plugin here; networks of Weft's in the engine whose
//! daemon does not run, since another one would be asked about them; no image.
//!
//! Limits: every call of the engine's has [`guests::LIMIT`], at most [`IMAGES_MAX`] images are tried.

mod guests;
mod image;

use std::os::unix::net::UnixStream;
use std::path::Path;

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bulk::{Way, bulk, transfer};
use super::daemon::Daemon;
use super::error::DemoError;
use super::lab::Lab;
use super::parts::PINGS;
use super::ping::ping;
use crate::driver::docker::{ENGINE, Engine, EngineError, Question, SOCKET};
use crate::sandbox::Netns;
pub(super) use guests::Guests;
use guests::{Guest, not_done};

/// The smallest images that are tried for a shell.
const IMAGES_MAX: usize = 5;

/// What the host's leg on the predefined network is called: the sign of a daemon on this host.
const LEG: &str = "/sys/class/net/weft0";

/// The ICMP identifier of the pings.
const PING: u16 = 7;

/// The label of the daemon that serves the plugin.
const LABEL: &str = "docker";

/// Why there is nothing to tell.
pub(super) enum Unplayed {
    /// It cannot be played here.
    Skipped(String),
    /// It did not work.
    Failed(DemoError),
}

impl<E: Into<DemoError>> From<E> for Unplayed {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn skipped<T>(reason: impl Into<String>) -> Result<T, Unplayed> {
    Err(Unplayed::Skipped(reason.into()))
}

/// Plays it. What is made is in the lab before it is made, and removed at the end of this, or of the lab.
pub(super) async fn show(lab: &mut Lab) -> Result<String, Unplayed> {
    if !is_beside_us()? {
        return skipped("Docker Engine is in another network namespace");
    }
    let engine = Engine::new(ENGINE);
    let version: Version = match get(&engine, "/version").await {
        Ok(version) => version,
        Err(error) => return skipped(format!("Docker Engine does not answer: {error}")),
    };
    let served_by = if is_served() {
        "this host's daemon"
    } else {
        serve(lab, &engine).await?;
        "a daemon of its own"
    };
    let guests = lab.guests.insert(Guests::new(engine));
    let played = play(guests).await;
    let removed = guests.remove().await;
    let told = played?;
    removed?;
    lab.guests = None;
    Ok(format!("{} with {served_by}, 2 containers of {told}; all removed", version.version))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
}

/// An image that the engine has.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    size: u64,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

/// Whether the engine is in this network namespace.
fn is_beside_us() -> Result<bool, Unplayed> {
    let Ok(stream) = UnixStream::connect(ENGINE) else {
        return skipped(format!("no Docker Engine at {ENGINE}"));
    };
    let peer = rustix::net::sockopt::socket_peercred(&stream);
    // Who listens is whoever made the socket; one that cannot be looked at is taken for one of this host's.
    let its =
        peer.ok().and_then(|peer| Netns::open(format!("/proc/{}/ns/net", peer.pid.as_raw_nonzero())).ok());
    let own = Netns::current()?;
    Ok(its.is_none_or(|its| its.id() == own.id()))
}

fn is_served() -> bool {
    UnixStream::connect(SOCKET).is_ok()
}

/// Starts a daemon that serves the plugin until the end of the show.
async fn serve(lab: &mut Lab, engine: &Engine) -> Result<(), Unplayed> {
    let of_ours = r#"/networks?filters={"driver":["weft"]}"#.replace('"', "%22");
    let networks: Vec<serde_json::Value> =
        get(engine, &of_ours).await.map_err(not_done("list its networks"))?;
    if !networks.is_empty() {
        return skipped("Docker has networks of Weft's, whose daemon does not run; start it first");
    }
    if Path::new(LEG).exists() {
        return skipped("the Weft of this host does not serve Docker (docker.plugin is false)");
    }
    let directory = lab.directory()?.to_owned();
    lab.daemons.push(Daemon::start_here(LABEL, &directory)?);
    if let Some(daemon) = lab.daemons.last_mut() {
        daemon.ready().await?;
    }
    if is_served() { Ok(()) } else { skipped(format!("{SOCKET} cannot be had")) }
}

/// Creates the network, starts the containers and lets them talk; what there is to tell of it.
async fn play(guests: &mut Guests) -> Result<String, Unplayed> {
    guests.network().await?;
    let (image, first) = first_of_an_image(guests).await?;
    let Some(second) = guests.start(&image, "2").await? else {
        return skipped(format!("a second container of {image} ends at once"));
    };
    let [from, to] = [&first, &second].map(|guest| Netns::open(format!("/proc/{}/ns/net", guest.pid)));
    let (from, to) = (from?, to?);
    let times = ping(&from, second.ip, PING, PINGS).await?;
    let median = times.median().as_secs_f64() * 1e3;
    let transfer = transfer(Way::direct(&from, &to, second.ip), bulk).await?;
    Ok(format!(
        "{image}: {} of {PINGS} pings {} -> {} answered, median {median:.3} ms; {transfer}",
        times.count(),
        first.ip,
        second.ip
    ))
}

/// Starts a container of the smallest image that has a shell.
async fn first_of_an_image(guests: &mut Guests) -> Result<(String, Guest), Unplayed> {
    let mut images: Vec<Image> =
        get(guests.engine(), "/images/json").await.map_err(not_done("list its images"))?;
    images.sort_by_key(|image| image.size);
    let tags = images.into_iter().filter_map(|image| image.repo_tags?.into_iter().next());
    for tag in tags.filter(|tag| !tag.starts_with('<')).take(IMAGES_MAX) {
        if let Some(guest) = guests.start(&tag, "1").await? {
            return Ok((tag, guest));
        }
    }
    let Some(archive) = image::archive() else {
        return skipped(format!(
            "no image of Docker's has a shell, and there is no {} for one",
            image::BUSYBOX
        ));
    };
    let made = guests.import(archive).await?;
    match guests.start(&made, "1").await? {
        Some(guest) => Ok((made, guest)),
        None => skipped(format!("no image of Docker's has a shell, and {} needs libraries", image::BUSYBOX)),
    }
}

/// What the engine tells.
async fn get<T: DeserializeOwned>(engine: &Engine, path: &str) -> Result<T, EngineError> {
    let body = engine.ask(Question::of(Method::GET, path)).await?;
    serde_json::from_slice(&body).map_err(|error| EngineError::Strange(error.to_string()))
}

//! One network namespace, opened by path.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use super::{Link, SandboxError};

/// A text that is another after every start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// File system magic of nsfs, the file system of the namespace files (`statfs(2)`).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Which namespace it is, whatever path it was reached by. Unique among the namespaces alive at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsId {
    /// The device number of nsfs.
    pub dev: u64,
    /// The namespace's number, as in `net:[4026531840]`.
    pub ino: u64,
}

impl NetnsId {
    /// That of the namespace whose file this is about.
    pub(super) fn of(meta: &Metadata) -> Self {
        Self { dev: meta.dev(), ino: meta.ino() }
    }
}

/// Which namespace it is among all there ever were: the number of a dead one is given to another, its birth is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Birth {
    /// The boot of the machine it was born in, `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The kernel's cookie for it, unique within a boot; 0 before Linux 5.14, which has none.
    pub cookie: u64,
}

impl Birth {
    /// Whether `socket` was made in this namespace, since the machine was started.
    ///
    /// # Errors
    /// The kernel's.
    pub fn is_of(&self, socket: impl AsFd) -> io::Result<bool> {
        Ok(cookie_of(socket)? == self.cookie)
    }
}

/// The cookie of the namespace that `socket` was made in, or 0 where there is none.
fn cookie_of(socket: impl AsFd) -> io::Result<u64> {
    match weft_dataplane::io::netns::cookie(socket) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOPROTOOPT) => Ok(0),
        other => other,
    }
}

/// An open network namespace. Keeps the namespace alive: do not hold it longer than the work takes.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    file: File,
    id: NetnsId,
}

impl Netns {
    /// Opens the namespace at `path`, for example `/run/netns/c1` or `/proc/4711/ns/net`.
    ///
    /// # Errors
    /// [`SandboxError::NotFound`], [`SandboxError::NotNetns`], or [`SandboxError::Open`] for want of permission.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SandboxError> {
        let path = path.as_ref();
        // Only the type of file is asked first: opening a FIFO or a device by mistake could block or do something.
        let meta = std::fs::metadata(path).map_err(|e| Self::open_error(path, e))?;
        if !meta.is_file() {
            return Err(SandboxError::NotNetns { path: path.to_owned() });
        }
        let file = File::open(path).map_err(|e| Self::open_error(path, e))?;
        if !is_netns(&file).map_err(|e| Self::open_error(path, e))? {
            return Err(SandboxError::NotNetns { path: path.to_owned() });
        }
        let meta = file.metadata().map_err(|e| Self::open_error(path, e))?;
        Ok(Self { path: path.to_owned(), file, id: NetnsId::of(&meta) })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// [`SandboxError::Open`] when `/proc` is not mounted.
    pub fn current() -> Result<Self, SandboxError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// A new, empty namespace without a name, which ends with the last thing in it: nothing of it can be left behind. Its
    /// loopback is down.
    ///
    /// # Errors
    /// [`SandboxError::Enter`] when the process may not make namespaces, or has too many.
    pub fn nameless() -> Result<Self, SandboxError> {
        let path = PathBuf::from("(a nameless namespace)");
        let failed = |source| SandboxError::Enter { path: path.clone(), source };
        let inside = || {
            weft_dataplane::io::netns::unshare_thread().map_err(failed)?;
            Self::current()
        };
        std::thread::scope(|scope| {
            match std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, inside) {
                Ok(handle) => handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(source) => Err(failed(source)),
            }
        })
    }

    /// The namespace behind a descriptor, whose path nobody knows.
    ///
    /// # Errors
    /// [`SandboxError::Open`].
    pub fn from_descriptor(descriptor: OwnedFd) -> Result<Self, SandboxError> {
        let (path, file) = (PathBuf::from("(a namespace by descriptor)"), File::from(descriptor));
        let meta = file.metadata().map_err(|e| Self::open_error(&path, e))?;
        Ok(Self { path, file, id: NetnsId::of(&meta) })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which namespace it is: equal for two paths to the same one.
    #[must_use]
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// What tells it from every other namespace, dead ones included.
    ///
    /// # Errors
    /// [`SandboxError::Enter`], or [`SandboxError::Open`] when `/proc` or a descriptor cannot be had.
    pub fn birth(&self) -> Result<Birth, SandboxError> {
        let failed = |source| SandboxError::Open { path: self.path.clone(), source };
        let cookie = self.run(|| cookie_of(UnixDatagram::unbound()?))?;
        let boot = std::fs::read_to_string(BOOT_ID).map_err(failed)?;
        Ok(Birth { boot: boot.trim().to_owned(), cookie: cookie.map_err(failed)? })
    }

    /// Runs `f` inside the namespace, on a thread that ends afterwards, and waits for it. A panic of `f` is passed on.
    ///
    /// Sockets, processes and descriptors that `f` makes belong to this namespace and stay there. Blocks the caller: from
    /// async code keep `f` short.
    ///
    /// # Errors
    /// [`SandboxError::Enter`] when the thread may not enter, or cannot be started.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, SandboxError> {
        let inside = || {
            self.enter_thread()?;
            Ok(f())
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into());
            match thread.spawn_scoped(scope, inside) {
                Ok(handle) => handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(source) => Err(SandboxError::Enter { path: self.path.clone(), source }),
            }
        })
    }

    /// Opens a netlink socket inside and spawns its driver on the current tokio runtime.
    ///
    /// # Errors
    /// [`SandboxError::Enter`], or [`SandboxError::Netlink`] when no socket can be had.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn link(&self) -> Result<Link, SandboxError> {
        let runtime = tokio::runtime::Handle::current();
        self.run(|| {
            let _inside = runtime.enter();
            Link::in_current_thread(self.to_string())
        })?
    }

    /// Moves the calling thread into the namespace, for good. The network type is always named, because systemd's
    /// RestrictNamespaces= refuses a `setns` that leaves it open.
    fn enter_thread(&self) -> Result<(), SandboxError> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| SandboxError::Enter { path: self.path.clone(), source: e.into() })
    }

    fn open_error(path: &Path, source: io::Error) -> SandboxError {
        let path = path.to_owned();
        match source.kind() {
            // ESRCH: the process of /proc/PID has gone between two steps.
            _ if source.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => SandboxError::NotFound { path },
            io::ErrorKind::NotFound => SandboxError::NotFound { path },
            io::ErrorKind::NotADirectory => SandboxError::NotFound { path },
            _ => SandboxError::Open { path, source },
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

fn is_netns(file: &File) -> io::Result<bool> {
    let on_nsfs = rustix::fs::fstatfs(file)?.f_type as i64 == NSFS_MAGIC;
    Ok(on_nsfs && weft_dataplane::io::netns::is_network(file)?)
}

//! The core that a thread runs on: keeping it, and how long it is waited for.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// What the calling thread has had of the cores since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// How long it has run.
    pub(crate) run: Duration,
    /// How long it has waited for a core although it could have run.
    pub(crate) wait: Duration,
}

impl Share {
    /// That of the calling thread; `None` where the kernel does not say (`CONFIG_SCHED_INFO`).
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/thread-self/schedstat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut nanos = text.split_ascii_whitespace().map(|word| word.parse().map(Duration::from_nanos));
        Some(Self { run: nanos.next()?.ok()?, wait: nanos.next()?.ok()? })
    }
}

/// A core that the calling thread keeps to, although others are allowed.
#[derive(Debug)]
pub(crate) struct Kept {
    one: CpuSet,
    allowed: CpuSet,
}

impl Kept {
    /// The calling thread stays on the core on which it is; `None` when it may use that one only, or the kernel refuses.
    pub(crate) fn here() -> Option<Self> {
        let allowed = sched_getaffinity(None).ok().filter(|allowed| allowed.count() > 1)?;
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one).ok()?;
        Some(Self { one, allowed })
    }

    /// It may use the others again, unless somebody else has changed meanwhile what it may use.
    pub(crate) fn release(self) {
        if sched_getaffinity(None).is_ok_and(|now| now == self.one) {
            // A refusal leaves it where it is, which is a core that it may use.
            let _ = sched_setaffinity(None, &self.allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_core_is_kept_until_it_is_released() {
        let before = sched_getaffinity(None).unwrap();
        if before.count() == 1 {
            assert!(Kept::here().is_none(), "there is no choice");
            return;
        }
        let kept = Kept::here().unwrap();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        assert!(Kept::here().is_none());
        kept.release();
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        // Somebody else's wish stands.
        let kept = Kept::here().unwrap();
        sched_setaffinity(None, &before).unwrap();
        kept.release();
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }

    #[test]
    fn the_share_is_the_kernels() {
        let nanos = Duration::from_nanos;
        assert_eq!(Share::parse("12 34 5\n"), Some(Share { run: nanos(12), wait: nanos(34) }));
        for nonsense in ["", "12", "12 x 5"] {
            assert_eq!(Share::parse(nonsense), None, "{nonsense:?}");
        }
        // What has run is accounted for when the clock ticks.
        let Some(before) = Share::now() else { return };
        let end = Instant::now() + Duration::from_secs(10);
        while Share::now().is_none_or(|share| share.run == before.run) {
            assert!(Instant::now() < end, "this thread runs and its share does not grow");
        }
    }
}

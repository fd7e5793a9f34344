//! What a requirement comes to, and the table of what all of them came to.

use crate::lab::Kind;
use harness::netns::workspace;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Why a requirement was not seen to hold.
#[derive(Debug)]
pub(crate) enum Miss {
    /// It does not, and this is what was seen instead.
    Breaks(String),
    /// It asks for what the subject does not have.
    NotApplicable(&'static str),
}

/// `Ok`: the requirement holds.
pub(crate) type Outcome<T = ()> = Result<T, Miss>;

/// One requirement: a name that starts with its id, and what finds out.
#[derive(Clone, Copy)]
pub(crate) struct Requirement {
    pub(crate) name: &'static str,
    pub(crate) check: fn(Kind) -> Outcome,
}

/// Leaves a requirement as broken unless the condition is true.
macro_rules! hold {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::outcome::Miss::Breaks(format!($($why)+)));
        }
    };
}
pub(crate) use hold;

/// Turns what is missing or failed into a broken requirement.
pub(crate) trait OrBreaks<T> {
    fn or_breaks(self, why: impl Display) -> Outcome<T>;
}

impl<T> OrBreaks<T> for Option<T> {
    fn or_breaks(self, why: impl Display) -> Outcome<T> {
        self.ok_or_else(|| Miss::Breaks(why.to_string()))
    }
}

impl<T, E: Display> OrBreaks<T> for Result<T, E> {
    fn or_breaks(self, why: impl Display) -> Outcome<T> {
        self.map_err(|error| Miss::Breaks(format!("{why}: {error}")))
    }
}

/// What each subject came to: one line for each requirement, one column for each kind.
static BOARD: Mutex<BTreeMap<&'static str, BTreeMap<Kind, String>>> = Mutex::new(BTreeMap::new());

/// The product meets the requirement.
#[track_caller]
pub(crate) fn weft_holds(requirement: Requirement) {
    harness::need!(Root, Tun);
    match catch_unwind(AssertUnwindSafe(|| (requirement.check)(Kind::Weft))) {
        Ok(outcome) => {
            record(requirement, Kind::Weft, &outcome);
            if let Err(Miss::Breaks(why)) = outcome
                && declined(requirement.name).is_none()
            {
                panic!("{}: {why}\n{}", title(requirement.name), crate::lab::last_words());
            }
        }
        Err(panic) => {
            record(requirement, Kind::Weft, &Err(Miss::Breaks("the test did not get through".into())));
            std::panic::resume_unwind(panic);
        }
    }
}

/// Writes down what the kernel makes of a requirement; nothing is asked of it.
pub(crate) fn try_kernel(requirement: Requirement) {
    let tried = catch_unwind(AssertUnwindSafe(|| (requirement.check)(Kind::Kernel)));
    let outcome = tried.unwrap_or_else(|_| Err(Miss::Breaks("the test did not get through".into())));
    record(requirement, Kind::Kernel, &outcome);
}

/// Why the product does not meet this recommendation; `None` for what it has to meet.
fn declined(name: &str) -> Option<&'static str> {
    crate::DECLINED.iter().find(|(declined, _)| *declined == name).map(|(_, reason)| *reason)
}

fn record(requirement: Requirement, kind: Kind, outcome: &Outcome) {
    let cell = match outcome {
        Ok(()) => "holds".into(),
        Err(Miss::Breaks(why)) => {
            let reason = declined(requirement.name).filter(|_| kind == Kind::Weft);
            let declined = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("**breaks**{declined}: {}", why.replace('\n', " ").replace('|', "/"))
        }
        Err(Miss::NotApplicable(why)) => format!("n/a: {why}"),
    };
    let mut board = BOARD.lock().expect("nobody panics with it");
    board.entry(requirement.name).or_default().insert(kind, cell);
    // Whoever comes last leaves the whole table; the order in which tests run is nobody's.
    let path = workspace().join("target/nat-conformance.md");
    fs::write(path, render(&board)).expect("the target directory can be written");
}

/// The table as it stands.
pub(crate) fn table() -> String {
    render(&BOARD.lock().expect("nobody panics with it"))
}

fn render(board: &BTreeMap<&'static str, BTreeMap<Kind, String>>) -> String {
    let mut text = String::from("| requirement | Weft | kernel (bridge, nft) |\n|---|---|---|\n");
    for (name, cells) in board {
        let [weft, kernel] =
            [Kind::Weft, Kind::Kernel].map(|kind| cells.get(&kind).map_or("not run", String::as_str));
        text += &format!("| {} | {weft} | {kernel} |\n", title(name));
    }
    text + crate::NOT_HERE
}

/// `u_9a_external_source` reads "U-9a external source", and `gateway_answers_pings` "gateway: answers pings".
fn title(name: &str) -> String {
    let words: Vec<&str> = name.split('_').collect();
    match words.as_slice() {
        [list, number, rest @ ..] if list.len() == 1 => {
            format!("{}-{number} {}", list.to_uppercase(), rest.join(" "))
        }
        [theme, rest @ ..] => format!("{theme}: {}", rest.join(" ")),
        [] => String::new(),
    }
}

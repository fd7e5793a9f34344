//! The lab's end of an agent.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::GRACE;
use super::protocol::{Answer, Task};
use crate::error::LabError;
use crate::interrupt;
use crate::stage::netns::Namespace;

/// How often to look for Ctrl-C while an answer is awaited.
const LOOK: Duration = Duration::from_millis(50);

/// An agent in a namespace. Dropping it ends it.
pub(crate) struct Agent {
    child: Child,
    tasks: ChildStdin,
    answers: Receiver<String>,
    /// Where it stands, for messages.
    place: String,
}

impl Agent {
    /// Starts one: this executable, in `namespace`.
    pub(crate) fn start(namespace: &Namespace) -> Result<Self, LabError> {
        let failed = || LabError::io("start an agent");
        let own = std::env::current_exe().map_err(failed())?;
        let mut command = Command::new(own);
        command.arg("agent").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = namespace.spawn(command)?;
        let (Some(tasks), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LabError::Traffic("an agent has no pipes".into()));
        };
        let (send, answers) = mpsc::channel();
        let forward = move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            // The handle has gone when nobody receives.
            lines.map(|line| send.send(line)).take_while(Result::is_ok).for_each(drop);
        };
        thread::Builder::new().name("agent".into()).spawn(forward).map_err(failed())?;
        Ok(Self { child, tasks, answers, place: namespace.name().into() })
    }

    /// Gives it something to do.
    pub(crate) fn tell(&mut self, task: &Task) -> Result<(), LabError> {
        let line = serde_json::to_string(task).map_err(|error| LabError::Traffic(error.to_string()))?;
        writeln!(self.tasks, "{line}").map_err(LabError::io(format!("reach the agent in {}", self.place)))
    }

    /// Waits for its next answer, at most `time` and a grace.
    ///
    /// # Errors
    /// [`LabError::Traffic`] with what it says when it cannot do it, [`LabError::TooLong`], [`LabError::Interrupted`].
    pub(crate) fn answer(&mut self, time: Duration) -> Result<Answer, LabError> {
        let what = format!("the agent in {} answers", self.place);
        let line =
            interrupt::wait_until(&what, time + 2 * GRACE, || match self.answers.recv_timeout(LOOK) {
                Ok(line) => Ok(Some(line)),
                Err(RecvTimeoutError::Timeout) => Ok(None),
                Err(RecvTimeoutError::Disconnected) => {
                    Err(LabError::Traffic(format!("the agent in {} has ended", self.place)))
                }
            })?;
        match serde_json::from_str(&line) {
            Ok(Answer::Failed(why)) => Err(LabError::Traffic(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(LabError::Traffic(format!("{error} in {line}"))),
        }
    }

    /// Both at once, for tasks with one answer.
    pub(crate) fn ask(&mut self, task: &Task, time: Duration) -> Result<Answer, LabError> {
        self.tell(task)?;
        self.answer(time)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

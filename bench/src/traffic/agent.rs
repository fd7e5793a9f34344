//! The agent's own loop.

use std::io::{self, BufRead, Write};
use std::net::SocketAddrV4;
use std::process::ExitCode;

use super::protocol::{Answer, Task};
use super::{connections, rr, tcp, udp};

/// Reads tasks until standard input ends.
pub(crate) fn serve() -> ExitCode {
    // What a task leaves for the next ones.
    let (mut counter, mut server) = (None, None);
    for line in io::stdin().lock().lines() {
        let answer = match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(task)) => {
                perform(task, &mut counter, &mut server).unwrap_or_else(|e| Answer::Failed(e.to_string()))
            }
            Ok(Err(error)) => Answer::Failed(format!("not a task: {error}")),
            Err(_) => return ExitCode::FAILURE,
        };
        // Nobody listens any more: the lab has gone.
        if say(&answer).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn perform(
    task: Task,
    counter: &mut Option<udp::Counter>,
    server: &mut Option<SocketAddrV4>,
) -> io::Result<Answer> {
    let ready = |address| say(&Answer::Ready(address));
    match task {
        Task::TcpReceive { end, streams, warm_up, enough, patience, daemons } => {
            let streams = tcp::meet(end, streams, ready)?;
            tcp::receive(streams, warm_up, enough, patience, &daemons)
        }
        Task::TcpSend { end, streams, limit } => {
            let streams = tcp::meet(end, streams, ready)?;
            tcp::send(streams, limit).map(|()| Answer::Done)
        }
        Task::Serve { on } => {
            let address = server.map_or_else(|| connections::serve(on), Ok)?;
            *server = Some(address);
            Ok(Answer::Ready(address))
        }
        Task::Connect { to, concurrent, warm_up, measure, daemons } => {
            connections::connect(to, concurrent, warm_up, measure, &daemons)
        }
        Task::UdpReceive { on } => {
            let made = udp::Counter::start(on)?;
            let address = made.address();
            *counter = Some(made);
            Ok(Answer::Ready(address))
        }
        Task::UdpSend { to, payload, rate, time, mark } => udp::send(to, payload, rate, time, mark),
        Task::UdpCount { mark, sent } => match counter {
            Some(counter) => Ok(counter.count(mark, sent)),
            None => Err(io::Error::other("nothing was listening")),
        },
        Task::Echo { on } => rr::echo(on).map(Answer::Ready),
        Task::RequestResponse { to, warm_up, measure } => rr::request(to, warm_up, measure),
    }
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}

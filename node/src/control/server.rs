//! The node's side: one thread accepts, one thread runs each command.

use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{collections::BTreeMap, fs};

use super::address;
use super::error::ControlError;
use super::frame::Type;
use super::protocol::{SESSIONS_MAX, SOCKET_NAME, STATUS_CANCELLED};
use super::request::Request;
use super::session::{Session, listening};

/// Runs one command; the result is its exit status.
pub type Handler = Arc<dyn Fn(Request, &Session) -> i32 + Send + Sync>;

/// A node runs only commands of its own release.
const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// How long stopping waits for running commands.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The socket, served until this is stopped or dropped.
pub struct Server {
    path: PathBuf,
    dir: PathBuf,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    sessions: Mutex<BTreeMap<u64, UnixStream>>,
    ended: Condvar,
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u64, UnixStream>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Makes the socket in the data directory `dir` and serves it. The caller holds the store's
    /// lock, so a socket that is there and does not answer belongs to a dead process and is
    /// replaced.
    ///
    /// # Errors
    /// [`ControlError::InUse`] if somebody answers; [`ControlError::Bind`].
    pub fn start(dir: &Path, handler: Handler) -> Result<Self, ControlError> {
        let path = dir.join(SOCKET_NAME);
        if address::connect(dir).is_ok() {
            return Err(ControlError::InUse { path });
        }
        let listener = address::bind(dir).map_err(|source| ControlError::Bind {
            path: path.clone(),
            source,
        })?;
        let shared = Arc::new(Shared::default());
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &handler, &for_acceptor))
            .map_err(|source| ControlError::Bind {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            path,
            dir: dir.to_owned(),
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Takes no more commands, hangs up on those that run, waits for them a few seconds, and
    /// removes the socket.
    pub fn stop(self) {
        drop(self);
    }

    fn shut(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Whoever connects wakes the acceptor; if nobody can, it is gone already.
        if address::connect(&self.dir).is_ok() {
            drop(acceptor.join());
        }
        drop(fs::remove_file(&self.path));
        let sessions = self.shared.sessions();
        sessions
            .values()
            .for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        drop(
            self.shared
                .ended
                .wait_timeout_while(sessions, STOP_TIMEOUT, |sessions| !sessions.is_empty()),
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut();
    }
}

fn accept(listener: &UnixListener, handler: &Handler, shared: &Arc<Shared>) {
    for (number, stream) in (0..).zip(listener.incoming()) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (handler, shared) = (Arc::clone(handler), Arc::clone(shared));
        // Where no thread can be had, the client sees its connection close.
        drop(
            thread::Builder::new()
                .name("command".to_owned())
                .spawn(move || {
                    run(number, stream, &handler, &shared);
                }),
        );
    }
}

fn run(number: u64, stream: UnixStream, handler: &Handler, shared: &Shared) {
    let Ok(for_stopping) = stream.try_clone() else {
        return;
    };
    let Ok((session, mut ear)) = Session::new(stream) else {
        return;
    };
    {
        let mut sessions = shared.sessions();
        if sessions.len() >= SESSIONS_MAX {
            drop(sessions);
            // A client that is still sending its request would not hear the refusal.
            drop(ear.request());
            refuse(&session, "");
            return;
        }
        sessions.insert(number, for_stopping);
    }
    let _ended = Ended { number, shared };
    let Ok(request) = ear.request() else { return };
    if request.release != RELEASE {
        refuse(&session, RELEASE);
        return;
    }
    ear.catch_up();
    let status = if session.cancel().is_cancelled() {
        STATUS_CANCELLED
    } else {
        listening(&session, ear, || handler(request, &session))
    };
    // A client that is gone cannot be told anything: what fails here concerns nobody.
    drop(session.send(Type::Exit, &status.to_le_bytes()));
}

/// Does not take the command: because of the node's release, or, if that is empty, because there
/// are too many.
fn refuse(session: &Session, release: &str) {
    drop(session.send(Type::Refused, release.as_bytes()));
}

/// Takes the session off the list, even if its command panics.
struct Ended<'a> {
    number: u64,
    shared: &'a Shared,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.shared.sessions().remove(&self.number);
        self.shared.ended.notify_all();
    }
}

//! The owner's end of a running shell.

use tokio::sync::mpsc;

use super::command::NetCommand;
use super::config::NetConfig;
use super::driver::Driver;
use super::error::NetError;
use super::event::NetEvent;
use super::limits::ANNOUNCEMENT_LEN_MAX;
use super::{behaviour, codec};

/// Commands that may wait for the swarm task.
const COMMANDS_MAX: usize = 256;

/// Events that may wait for the owner; few, because an answer may carry megabytes.
const EVENTS_MAX: usize = 8;

/// Why a command was not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// An announcement is no place for a body.
    #[error("announcement of {len} bytes exceeds the bound of {len_max} bytes")]
    AnnouncementTooLarge {
        /// Bytes offered.
        len: usize,
        /// [`ANNOUNCEMENT_LEN_MAX`].
        len_max: usize,
    },
    /// The body of a request or response is too long.
    #[error("frame of {len} bytes exceeds the bound of {len_max} bytes")]
    FrameTooLarge {
        /// Bytes offered.
        len: usize,
        /// [`NetConfig::question_len_max`](super::NetConfig::question_len_max), or
        /// [`NetConfig::frame_len_max`](super::NetConfig::frame_len_max) for an answer.
        len_max: u32,
    },
    /// The shell has ended, or is about to.
    #[error("the network has stopped")]
    Stopped,
    /// Only from [`NetHandle::try_send`]: as many commands wait already as may.
    #[error("{waiting} network commands are waiting already")]
    Busy {
        /// The number of commands that may wait.
        waiting: usize,
    },
}

/// The owner's end of a running shell. When the last clone is dropped, the shell ends as by
/// [`NetCommand::Shutdown`].
#[derive(Debug, Clone)]
pub struct NetHandle {
    commands: mpsc::Sender<NetCommand>,
    question_len_max: u32,
    frame_len_max: u32,
}

impl NetHandle {
    /// Hands over a command, waiting while too many are queued.
    ///
    /// # Errors
    /// The body is too long, or the shell has ended; the command has had no effect.
    pub async fn send(&self, command: NetCommand) -> Result<(), CommandError> {
        self.check(&command)?;
        self.commands
            .send(command)
            .await
            .map_err(|_| CommandError::Stopped)
    }

    /// Hands over a command at once.
    ///
    /// # Errors
    /// The body is too long, the queue is full, or the shell has ended; the command has had no
    /// effect.
    pub fn try_send(&self, command: NetCommand) -> Result<(), CommandError> {
        self.check(&command)?;
        self.commands
            .try_send(command)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => CommandError::Busy {
                    waiting: COMMANDS_MAX,
                },
                mpsc::error::TrySendError::Closed(_) => CommandError::Stopped,
            })
    }

    fn check(&self, command: &NetCommand) -> Result<(), CommandError> {
        match command {
            NetCommand::Announce(body) if body.len() > ANNOUNCEMENT_LEN_MAX => {
                Err(CommandError::AnnouncementTooLarge {
                    len: body.len(),
                    len_max: ANNOUNCEMENT_LEN_MAX,
                })
            }
            NetCommand::Request { body, .. } => fits(body.len(), self.question_len_max),
            NetCommand::Respond { body, .. } => fits(body.len(), self.frame_len_max),
            _ => Ok(()),
        }
    }
}

fn fits(len: usize, len_max: u32) -> Result<(), CommandError> {
    if codec::fits(len, len_max) {
        Ok(())
    } else {
        Err(CommandError::FrameTooLarge { len, len_max })
    }
}

/// Starts a shell on the current tokio runtime and returns the two ends its owner holds.
///
/// Dropping the receiver ends the shell.
///
/// # Errors
/// There is no runtime, the parameters are refused, or an address cannot be listened on.
pub fn spawn(config: NetConfig) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
    let runtime = tokio::runtime::Handle::try_current()?;
    let swarm = behaviour::swarm(&config)?;
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let (events_out, events) = mpsc::channel(EVENTS_MAX);
    let (question_len_max, frame_len_max) = (config.question_len_max, config.frame_len_max);
    let handle = NetHandle {
        commands,
        question_len_max,
        frame_len_max,
    };
    runtime.spawn(Driver::new(swarm).run(commands_in, events_out));
    Ok((handle, events))
}

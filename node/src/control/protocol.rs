//! What client and node agree on.

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Longest body of a frame, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 20;

/// Most commands that run at the same time; more are refused.
pub const SESSIONS_MAX: usize = 64;

/// How long a node may say nothing before it is said to be silent, in seconds.
pub const SILENCE_S: u64 = 5;

/// The exit status of a command that was cancelled before it began.
pub const STATUS_CANCELLED: i32 = 130;

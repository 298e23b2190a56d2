//! Things on their way in: files and directories, and snapshots of ZFS file systems.
//!
//! To be read in this order: `own_key` (what never gets in), `add`, `import`.

pub(super) mod add;
pub(super) mod import;
mod own_key;

pub use self::add::{
    AddError, AddEvent, AddOptions, Added, ExcludeError, Excludes, Fate, LeftOut, Obstacle,
    Planned, Progress, Source,
};
pub use self::import::{
    ImportError, ImportOptions, ImportProgress, ImportRefusal, ImportReport, Imported,
};

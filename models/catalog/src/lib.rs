//! Published models: the list of them, fetching with resume and checksums, and what of it is present.
//!
//! [`Catalog`] is the list, a file in this repository. A [`Store`] is the folder where pulled models lie; [`pull`] fills
//! it over HTTP, from a mirror, or from a folder. A checksum is its publisher's, named with the place where he states it;
//! where he states none, the first pull records what came, and every later one must agree.

mod checksum;
mod fetch;
mod list;
mod lock;
mod present;
mod pull;
mod store;
mod unpack;

pub use checksum::Checksum;
pub use fetch::{FetchError, Mirror, MirrorError};
pub use list::{Catalog, File, ListError, Model, Stated, Task};
pub use lock::{Lock, LockError, Locked};
pub use present::{Present, Wanted};
pub use pull::{PullError, Pulled, Source, Watch, pull};
pub use store::{State, Store, StoreError, Verdict, Verified};

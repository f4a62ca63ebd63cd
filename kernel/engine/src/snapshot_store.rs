//! Where earlier states of trainings are kept: in memory as far as that goes, the rest in temporary files.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::temporary_file;
use crate::training_state::Snapshot;

/// Bytes that all trainings of the process may use together.
const LIMITS: Room = Room { memory: 128 << 20, disk: 16 << 30 };

/// A limited store of snapshots.
pub(crate) struct SnapshotStore {
    left: Mutex<Room>,
}

/// Bytes in memory and on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Room {
    pub memory: usize,
    pub disk: usize,
}

/// A snapshot in a store. When it is dropped, the store has its room again.
pub(crate) struct Stored {
    kept: Mutex<Kept>,
    bytes: usize,
    store: Arc<SnapshotStore>,
}

enum Kept {
    Memory(Snapshot),
    /// Its values are in the file, one tensor after the other; `outline` is the rest of it.
    Disk {
        file: File,
        outline: Snapshot,
    },
}

impl SnapshotStore {
    /// That of the process.
    pub(crate) fn of_process() -> Arc<Self> {
        static STORE: LazyLock<Arc<SnapshotStore>> = LazyLock::new(|| SnapshotStore::new(LIMITS));
        Arc::clone(&STORE)
    }

    pub(crate) fn new(limits: Room) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(limits) })
    }

    /// What may still be used.
    pub(crate) fn left(&self) -> Room {
        *self.room()
    }

    /// Keeps a snapshot in memory, or else on the disk; none where neither has room.
    pub(crate) fn put(self: &Arc<Self>, mut snapshot: Snapshot) -> Option<Arc<Stored>> {
        let bytes = snapshot.bytes();
        let kept = if self.take(bytes, |room| &mut room.memory) {
            Kept::Memory(snapshot)
        } else {
            let file = self.write(&snapshot, bytes)?;
            clear(&mut snapshot);
            Kept::Disk { file, outline: snapshot }
        };
        Some(Arc::new(Stored { kept: Mutex::new(kept), bytes, store: Arc::clone(self) }))
    }

    /// A file with the values of a snapshot; none where the disk has no room.
    fn write(&self, snapshot: &Snapshot, bytes: usize) -> Option<File> {
        if !self.take(bytes, |room| &mut room.disk) {
            return None;
        }
        let written = temporary_file::open().and_then(|mut file| {
            snapshot.floats().try_for_each(|floats| file.write_all(bytemuck::cast_slice(&floats.values)))?;
            Ok(file)
        });
        if written.is_err() {
            self.room().disk += bytes;
        }
        written.ok()
    }

    fn take(&self, bytes: usize, of: impl Fn(&mut Room) -> &mut usize) -> bool {
        let mut room = self.room();
        let left = of(&mut room);
        let has_room = bytes <= *left;
        if has_room {
            *left -= bytes;
        }
        has_room
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn get(&self) -> io::Result<Snapshot> {
        match &mut *self.kept() {
            Kept::Memory(snapshot) => Ok(snapshot.clone()),
            Kept::Disk { file, outline } => {
                let mut snapshot = outline.clone();
                file.rewind()?;
                for floats in snapshot.floats_mut() {
                    let mut values = vec![0f32; floats.dims.iter().product()];
                    file.read_exact(bytemuck::cast_slice_mut(&mut values))?;
                    floats.values = values.into();
                }
                Ok(snapshot)
            }
        }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(*self.kept(), Kept::Memory(_))
    }

    /// Moves it from memory to the disk; whether there is room for it.
    pub(crate) fn spill(&self) -> bool {
        let mut kept = self.kept();
        let Kept::Memory(snapshot) = &mut *kept else { return false };
        let Some(file) = self.store.write(snapshot, self.bytes) else { return false };
        clear(snapshot);
        let outline = snapshot.clone();
        *kept = Kept::Disk { file, outline };
        self.store.room().memory += self.bytes;
        true
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let is_in_memory = self.is_in_memory();
        let mut room = self.store.room();
        *(if is_in_memory { &mut room.memory } else { &mut room.disk }) += self.bytes;
    }
}

fn clear(snapshot: &mut Snapshot) {
    snapshot.floats_mut().for_each(|floats| floats.values = Vec::new().into());
}

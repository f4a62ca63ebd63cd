//! Ranks under real implementations of MPI. The program that they start is this one: as a rank it runs [`rank`] alone.

// `unwrap` is for tests, and all of this crate is tests.
#![allow(clippy::unwrap_used)]
// What ranks say goes to their launcher.
#![allow(clippy::print_stdout)]

#[path = "../../../tests/venv.rs"]
mod venv;

#[path = "../../../tests/mpi/mod.rs"]
mod implementations;

use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use std::time::Instant;

use implementations::Implementation;
use implementations::implementations;
use tunebook_mpi::Hosts;
use tunebook_mpi::Kind;
use tunebook_mpi::Launch;
use tunebook_mpi::Launcher;
use tunebook_mpi::Mpi;
use tunebook_mpi::OpenError;

/// How many ranks there should be, in a process that is a rank.
const RANKS: &str = "TUNEBOOK_TEST_RANKS";
/// The launcher whose library a rank opens.
const BESIDE: &str = "TUNEBOOK_TEST_BESIDE";

/// Set in a rank that measures.
const FIGURES: &str = "TUNEBOOK_TEST_FIGURES";

/// More values than go in one message, and than are gathered at once.
const LONG: usize = (1 << 24) + 5;
const GATHERED: usize = (1 << 21) + 17;

#[test]
fn mpi_of_every_kind_broadcasts_and_sums() {
    for implementation in implementations() {
        for ranks in [1, 2, 4] {
            succeeds(&implementation, local(ranks), &[]);
        }
    }
}

/// What data takes to the ranks and back, on this machine or, as `tests/mpi/two_hosts.sh` has it, on others.
#[test]
#[ignore = "measures; tests/mpi/two_hosts.sh runs it"]
fn mpi_is_measured() {
    let of = |name| std::env::var(name).ok();
    let hosts: Option<Hosts> = of("TUNEBOOK_TEST_HOSTS").map(|hosts| hosts.parse().unwrap());
    let ranks = of("TUNEBOOK_TEST_NUMBER").map_or(2, |ranks| ranks.parse().unwrap());
    let launch = Launch { hosts: hosts.as_ref(), ..local(ranks) };
    for implementation in implementations() {
        let said = succeeds(&implementation, launch, &[(FIGURES, OsStr::new("1"))]);
        println!("{}:", implementation.name);
        said.lines().filter(|line| line.contains(" MB: ")).for_each(|line| println!("  {line}"));
    }
}

/// The library that a machine has by its own name is often not that of the launcher in use.
#[test]
fn mpi_of_another_launcher_is_refused() {
    let found = implementations();
    let (mpich, open_mpi) = (&found[0], &found[1]);
    for (started, opened) in [(mpich, open_mpi), (open_mpi, mpich)] {
        let output = start(started, &opened.launcher, local(2), &[]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.matches("does not see the 2 ranks").count(), 2, "{started:?} with {opened:?}: {output:?}");
    }
}

/// The interface of MPICH comes with all its versions, that of MPI 5 with the newest only, where it is preferred.
#[cfg(target_os = "linux")]
#[test]
fn mpi_of_older_kinds_of_mpich_works() {
    let mpich = &implementations()[0];
    let folder = tempfile::tempdir().unwrap();
    for name in ["bin", "lib"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let library = mpich.launcher.ancestors().nth(2).unwrap().join("lib/libmpi.so.12");
    std::os::unix::fs::symlink(library, folder.path().join("lib/libmpi.so.12")).unwrap();
    let output = start(mpich, &folder.path().join("bin"), local(2), &[]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn mpi_launchers_are_known_by_their_kind() {
    let found = implementations();
    let kind = |at: usize| Launcher::find(found[at].launcher.to_str()).unwrap().kind();
    assert_eq!(kind(0), Kind::Hydra);
    assert_eq!(kind(1), Kind::OpenMpi);
}

/// So many ranks on this machine; the program is still to be said.
fn local<'a>(ranks: usize) -> Launch<'a> {
    Launch { ranks, hosts: None, env: &[], program: Path::new(""), arguments: &[] }
}

/// What ranks that must all come to their end say.
fn succeeds(implementation: &Implementation, launch: Launch, env: &[(&str, &OsStr)]) -> String {
    let output = start(implementation, &implementation.launcher, launch, env);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{implementation:?}, {launch:?}: {output:?}");
    for rank in 0..launch.ranks {
        let done = format!("rank {rank} of {} is done", launch.ranks);
        assert!(said.contains(&done), "{implementation:?}, {launch:?}: {output:?}");
    }
    said.into_owned()
}

/// This program, as ranks.
fn start(implementation: &Implementation, beside: &Path, launch: Launch, env: &[(&str, &OsStr)]) -> Output {
    let launcher = Launcher::find(implementation.launcher.to_str()).unwrap();
    let ranks = launch.ranks.to_string();
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "rank", "--nocapture", "--test-threads=1"].map(OsString::from);
    let env = [&[(RANKS, OsStr::new(&ranks)), (BESIDE, beside.as_os_str())], env].concat();
    let launch = Launch { env: &env, program: &program, arguments: &arguments, ..launch };
    launcher.command(&launch).unwrap().output().unwrap()
}

/// What a rank does. In a process that no launcher started, nothing.
#[test]
fn rank() {
    let Some(ranks) = std::env::var(RANKS).ok().and_then(|ranks| ranks.parse().ok()) else { return };
    let beside = std::env::var_os(BESIDE);
    let before = handler();
    match Mpi::open(beside.as_deref().map(Path::new), ranks) {
        Ok(mpi) => {
            assert_eq!(handler(), before, "what handles SIGBUS is the program's own affair");
            if std::env::var_os(FIGURES).is_some() {
                figures(&mpi);
            } else {
                broadcasts(&mpi);
                sums(&mpi);
                sums_in_order(&mpi);
            }
            println!("\nrank {} of {} is done with {}", mpi.rank(), mpi.size(), mpi.version());
            mpi.finalize().unwrap();
        }
        Err(error @ OpenError::NotTogether { .. }) => println!("\n{error}"),
        Err(error) => panic!("{error}"),
    }
}

/// What handles SIGBUS.
fn handler() -> libc::sighandler_t {
    // SAFETY: a `sigaction` of zeros is one, and it is only written.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut action), 0);
        action.sa_sigaction
    }
}

fn broadcasts(mpi: &Mpi) {
    for length in [0, 1, LONG] {
        let mut values: Vec<_> = (0..length).map(|at| if mpi.rank() == 0 { at as f32 } else { -1.0 }).collect();
        mpi.broadcast(&mut values).unwrap();
        assert!(values.iter().enumerate().all(|(at, value)| *value == at as f32));
    }
}

fn sums(mpi: &Mpi) {
    for length in [0, 1, LONG] {
        // Whole numbers, so that all orders have the same sum.
        let mut values: Vec<_> = (0..length).map(|at| (at % 1000 + mpi.rank()) as f32).collect();
        mpi.sum(&mut values).unwrap();
        let ranks = mpi.size() * (mpi.size() - 1) / 2;
        let sum = |at: usize| (at % 1000 * mpi.size() + ranks) as f32;
        assert!(mpi.rank() != 0 || values.iter().enumerate().all(|(at, value)| *value == sum(at)));
    }
}

fn sums_in_order(mpi: &Mpi) {
    for length in [0, 1, GATHERED] {
        let mut values: Vec<_> = (0..length).map(|at| awkward(at, mpi.rank())).collect();
        mpi.sum_in_order(&mut values).unwrap();
        if mpi.rank() == 0 {
            let sum = |at| (1..mpi.size()).fold(awkward(at, 0), |sum, rank| sum + awkward(at, rank));
            assert!(values.iter().enumerate().all(|(at, value)| value.to_bits() == sum(at).to_bits()));
            // With these values, the order matters.
            let backwards = |at| (0..mpi.size()).rev().fold(0.0, |sum, rank| sum + awkward(at, rank));
            let differ = |at: usize| backwards(at).to_bits() != sum(at).to_bits();
            assert!(mpi.size() < 3 || length < GATHERED || (0..length).any(differ));
        }
    }
}

/// A value of any bits and magnitudes from 2⁻⁸ to 2⁸ that each rank has of its own.
fn awkward(at: usize, rank: usize) -> f32 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(rank as u64 * 0x632b_e59b_d9b4_e019);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = mixed ^ (mixed >> 32);
    let exponent = 119 + (mixed >> 40) as u32 % 17;
    f32::from_bits((mixed as u32 & 0x807f_ffff) | exponent << 23)
}

/// The shortest times of several, of each function alone, until rank 0 knows that all ranks have got through.
fn figures(mpi: &Mpi) {
    for megabytes in [4, 16, 60] {
        let mut values = vec![mpi.rank() as f32; megabytes << 18];
        let mut best = |call: &dyn Fn(&mut [f32])| {
            let times = (0..5).map(|_| {
                mpi.sum(&mut [0.0]).unwrap();
                let begun = Instant::now();
                call(&mut values);
                mpi.sum(&mut [0.0]).unwrap();
                begun.elapsed()
            });
            times.min().unwrap_or(Duration::MAX)
        };
        let broadcast = best(&|values| mpi.broadcast(values).unwrap());
        let sum = best(&|values| mpi.sum(values).unwrap());
        let in_order = best(&|values| mpi.sum_in_order(values).unwrap());
        if mpi.rank() == 0 {
            println!("{megabytes} MB: broadcast {broadcast:.1?}, sum {sum:.1?}, in order {in_order:.1?}");
        }
    }
}

//! The memory that a container leaves to its processes (Linux's control groups, versions 1 and 2).

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Bytes that can be allocated before a limit of this process's groups is reached; none without a limit. The page cache
/// counts as free, since it can be dropped.
pub(crate) fn available_bytes() -> Option<u64> {
    available(Path::new("/sys/fs/cgroup"), &fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The same with the groups' files below `root`, for a process of the groups that `membership` lists.
fn available(root: &Path, membership: &str) -> Option<u64> {
    membership.lines().filter_map(|line| group(root, line)).flat_map(|group| group.levels()).min()
}

/// The names that a version has for a group's files.
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`, what files have in memory.
    files: [&'static str; 2],
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    files: ["total_active_file", "total_inactive_file"],
};
const VERSION_2: Names =
    Names { limit: "memory.max", usage: "memory.current", files: ["active_file", "inactive_file"] };

struct Group {
    /// Of the hierarchy, in which each folder is a group within the one above.
    root: PathBuf,
    folder: PathBuf,
    names: Names,
}

/// The group that a line of `/proc/self/cgroup` names, `ID:CONTROLLERS:PATH`, if it may limit memory.
fn group(root: &Path, line: &str) -> Option<Group> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let (root, names) = match controllers {
        "" => (root.to_path_buf(), VERSION_2),
        _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), VERSION_1),
        _ => return None,
    };
    // Within a container the path may be that of the host, and the group the root.
    let folder = root.join(path);
    Some(Group { folder: if folder.is_dir() { folder } else { root.clone() }, root, names })
}

impl Group {
    /// What is left within the limit of the group and of each that it is in.
    fn levels(&self) -> Vec<u64> {
        let folders = self.folder.ancestors().take_while(|folder| folder.starts_with(&self.root));
        folders.filter_map(|folder| self.left(folder)).collect()
    }

    fn left(&self, folder: &Path) -> Option<u64> {
        // Without a limit, version 2 says `max`, and version 1 a number that no machine has.
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let limit = number(self.names.limit).filter(|limit| *limit < 1 << 60)?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let files: u64 = self.names.files.iter().filter_map(|key| value(&stat, key)).sum();
        Some(limit.saturating_sub(number(self.names.usage)?.saturating_sub(files)))
    }
}

fn value(stat: &str, key: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    }

    #[test]
    fn the_tightest_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let (outer, inner) = (root.path().join("outer"), root.path().join("outer/inner"));
        write(
            &outer,
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "700\n"),
                ("memory.stat", "anon 300\nactive_file 100\ninactive_file 300\n"),
            ],
        );
        write(&inner, &[("memory.max", "max\n"), ("memory.current", "650\n")]);
        assert_eq!(available(root.path(), "0::/outer/inner\n"), Some(700));
        write(&inner, &[("memory.max", "800\n")]);
        assert_eq!(available(root.path(), "0::/outer/inner\n"), Some(150));
        // A limit below what is in use already.
        write(&inner, &[("memory.max", "600\n")]);
        assert_eq!(available(root.path(), "0::/outer/inner\n"), Some(0));
    }

    #[test]
    fn version_1_has_a_hierarchy_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let unlimited = "9223372036854771712\n";
        write(
            &root.path().join("memory"),
            &[
                ("memory.limit_in_bytes", "500\n"),
                ("memory.usage_in_bytes", "300\n"),
                ("memory.stat", "total_active_file 50\n"),
            ],
        );
        write(
            &root.path().join("memory/job"),
            &[("memory.limit_in_bytes", unlimited), ("memory.usage_in_bytes", "1\n")],
        );
        assert_eq!(available(root.path(), "5:cpu:/job\n4:memory:/job\n0::/\n"), Some(250));
        // The path is that of the host.
        assert_eq!(available(root.path(), "4:memory:/docker/123\n"), Some(250));
    }

    #[test]
    fn without_groups_there_is_no_limit() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(available(root.path(), "0::/\n"), None);
        assert_eq!(available(root.path(), ""), None);
    }
}

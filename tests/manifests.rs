//! The crates as crates.io wants them: each can be packed alone, and says what it is.

use std::process::Command;

use serde_json::Value;

use crate::fixtures::tests_folder;

#[test]
fn every_crate_can_be_published() {
    let cargo = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(cargo).current_dir(tests_folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() >= 14, "{}", packages.len());
    for package in packages {
        let name = &package["name"];
        // A registry would refuse it, whatever the README says.
        assert_eq!(package["publish"], Value::Null, "{name}");
        for key in ["description", "license", "rust_version"] {
            assert!(package[key].is_string(), "{name} has no {key}");
        }
        for dependency in package["dependencies"].as_array().unwrap().iter().filter(|d| d["path"].is_string()) {
            assert_ne!(dependency["req"], "*", "{name} needs a version of {} beside its path", dependency["name"]);
        }
        // What a package includes lies in it. Only what its tests read may lie elsewhere.
        let manifest = std::path::Path::new(package["manifest_path"].as_str().unwrap());
        let is_embedded = |target: &&Value| target["kind"] != serde_json::json!(["test"]);
        for target in package["targets"].as_array().unwrap().iter().filter(is_embedded) {
            assert!(
                target["src_path"].as_str().unwrap().starts_with(manifest.parent().unwrap().to_str().unwrap()),
                "{target}"
            );
        }
    }
}

//! The scenes in `tests/scenes`: each is played, and must give the trace that stands in it.
//!
//! `UPDATE_SCENES=1 cargo test -p miso-tests --test scenes` writes the traces anew; what an `expect` says
//! it leaves alone. A scene's format is told in [`miso_tests::scene`].

use std::fs;
use std::path::Path;

use miso_tests::scene;

#[test]
fn every_scene_gives_its_trace() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes");
    let entries = fs::read_dir(&folder).expect("the scenes are there").flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    assert!(files.len() >= 25, "only {} scenes", files.len());
    let update = std::env::var_os("UPDATE_SCENES").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("readable");
        assert!(text.starts_with("# "), "{name} does not begin with what it teaches");
        match scene::play(&text) {
            Ok(played) if played == text => {}
            Ok(played) if update => fs::write(&file, played).expect("writable"),
            Ok(played) => {
                let lines = text.lines().zip(played.lines()).zip(1..);
                let differ = lines.into_iter().find(|((old, new), _)| old != new);
                wrong.push(match differ {
                    Some(((old, new), line)) => format!("{name}:{line}: `{old}` is now `{new}`"),
                    None => format!("{name}: the trace is longer or shorter than it was"),
                });
            }
            Err(error) => wrong.push(format!("{name}, {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}\n(UPDATE_SCENES=1 writes the traces anew)", wrong.join("\n"));
}

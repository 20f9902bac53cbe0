//! Files change on disk, as people and Kubernetes change them.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::time::timeout;

use super::*;

/// A folder of this test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("reload-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Notes each content that is used; `bad` is one that cannot be.
fn source(file: &Path) -> (Source, Arc<Mutex<Vec<String>>>) {
    let used = Arc::new(Mutex::new(Vec::new()));
    let (path, log) = (file.to_owned(), Arc::clone(&used));
    let apply = move || {
        let text = fs::read_to_string(&path)?;
        if text == "bad" {
            return Err("it is bad".into());
        }
        log.lock().unwrap().push(text);
        Ok(())
    };
    let files = vec![file.to_owned()];
    (Source::new(Reloaded::ServerIdentity, files, apply), used)
}

/// As the kubelet does: `..data` is swapped by a rename, the file's own link stays what it is.
fn publish(folder: &Path, version: &str, text: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("tls.crt"), text).unwrap();
    std::os::unix::fs::symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

/// In one step, as a file that is just being written is empty at first.
fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, file).unwrap();
}

#[test]
fn the_secret_that_kubernetes_swaps_is_noticed() {
    let folder = Folder::new("secret");
    publish(&folder.0, "..1", "one");
    let file = folder.0.join("tls.crt");
    std::os::unix::fs::symlink("..data/tls.crt", &file).unwrap();
    let (mut source, used) = source(&file);
    assert!(source.look(Why::Time).is_none(), "it is as it was");
    publish(&folder.0, "..2", "two");
    source.look(Why::Time).unwrap().unwrap();
    assert!(source.look(Why::Time).is_none(), "it is used once");
    assert_eq!(*used.lock().unwrap(), ["two"]);
}

#[test]
fn what_cannot_be_used_is_told_once_and_tried_again_when_it_changes_or_somebody_asks() {
    let folder = Folder::new("bad");
    let file = folder.0.join("file");
    fs::write(&file, "one").unwrap();
    let (mut source, used) = source(&file);
    fs::write(&file, "bad").unwrap();
    source.look(Why::Time).unwrap().unwrap_err();
    assert!(source.look(Why::Time).is_none());
    source.look(Why::Asked).unwrap().unwrap_err();
    fs::remove_file(&file).unwrap();
    source.look(Why::Time).unwrap().unwrap_err();
    fs::write(&file, "two").unwrap();
    source.look(Why::Time).unwrap().unwrap();
    assert!(source.look(Why::Asked).is_none());
    assert_eq!(*used.lock().unwrap(), ["two"]);
}

#[tokio::test]
async fn files_are_looked_at_when_time_comes_and_the_result_is_counted() {
    let folder = Folder::new("time");
    let file = folder.0.join("file");
    fs::write(&file, "one").unwrap();
    let (source, used) = source(&file);
    let metrics = Metrics::new("h");
    let period = Duration::from_millis(1);
    let (reload, task) = Reload::new(Vec::new(), Some(period), metrics.clone());
    let task = tokio::spawn(task);
    reload.watch(source).await;
    replace(&file, "two");
    let noticed = async {
        while used.lock().unwrap().is_empty() {
            tokio::time::sleep(period).await;
        }
    };
    timeout(Duration::from_secs(20), noticed).await.unwrap();
    replace(&file, "bad");
    let failed = r#"result="failed",what="server_identity"} "#;
    let told = async {
        while metrics.render().contains(&format!("{failed}0")) {
            tokio::time::sleep(period).await;
        }
    };
    timeout(Duration::from_secs(20), told).await.unwrap();
    reload.now().await;
    assert!(used.lock().unwrap().iter().all(|text| text == "two"));
    task.abort();
}

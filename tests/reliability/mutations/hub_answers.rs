//! What a hub, or whoever sits between, answers.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;

use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use super::Verdict;
use super::bytes;
use super::child::Started;
use super::dice::Dice;
use super::json;
use super::verdict;
use crate::fixtures::fixture;

/// A model or a data set of a hub whose listing or headers are changed.
pub(super) fn answers(dice: &mut Dice, folder: &Path) -> Verdict {
    let entry = json!({"set": {"hf_hub_url": "a/b", "ms_hub_url": "a/b", "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"}, "tags": {"role_tag": "role", "content_tag": "content",
        "user_tag": "user", "assistant_tag": "assistant"}}});
    fs::write(folder.join("dataset_info.json"), entry.to_string()).unwrap();
    let (place, command) = *dice.pick(&[("tiny", "load a/b"), ("train", "load tiny\ndata set dataset_dir=.")]);
    let (hub, listing) = match dice.once_in(2) {
        true => ("huggingface", hugging_face(place)),
        false => ("modelscope", model_scope(place)),
    };
    let changes_listing = !dice.once_in(3);
    let listing = match changes_listing {
        true => json::mutate(dice, &listing),
        false => listing.to_string().into_bytes(),
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nX-Error-Code: None\r\n";
    let head = if changes_listing { head.as_bytes().to_vec() } else { bytes::mutate_text(dice, head) };
    let server = Server::start(move |what| answer(&head, &listing, &fixture(place), what));
    let script = format!("set hub={hub}\n{command}\n");
    let environment = [("HF_ENDPOINT", &*server.endpoint), ("MODELSCOPE_ENDPOINT", &*server.endpoint)];
    verdict::of(&Started { environment: &environment, ..Started::script(folder, &script) }.ended())
}

fn answer(head: &[u8], listing: &[u8], place: &Path, what: &str) -> Vec<u8> {
    let name = what.rsplit(['/', '=']).next().unwrap_or_default();
    let is_file = name.contains('.') && !what.contains("/revision/");
    let body = if is_file { fs::read(place.join(name)).unwrap_or_default() } else { listing.to_vec() };
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    [head, length.as_bytes(), &body].concat()
}

fn files(place: &str) -> Vec<(String, usize, String)> {
    let file = |entry: fs::DirEntry| {
        let content = fs::read(entry.path()).unwrap();
        let hash = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        (entry.file_name().into_string().unwrap(), content.len(), hash)
    };
    let mut files: Vec<_> = fs::read_dir(fixture(place))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file())
        .map(file)
        .collect();
    files.sort();
    files
}

fn hugging_face(place: &str) -> Value {
    let file = |(name, size, hash): (String, usize, String)| {
        let lfs = json!({"sha256": hash, "size": size, "pointerSize": 134});
        json!({"rfilename": name, "size": size, "blobId": hash[..40], "lfs": lfs})
    };
    let files: Vec<_> = files(place).into_iter().map(file).collect();
    json!({"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": files})
}

fn model_scope(place: &str) -> Value {
    let file = |(name, size, hash): (String, usize, String)| {
        let path = name.clone();
        json!({"Name": name, "Path": path, "Type": "blob", "Size": size, "Sha256": hash})
    };
    let files: Vec<_> = files(place).into_iter().map(file).collect();
    json!({"Code": 200, "Success": true, "Message": "success", "Data": {"Files": files}})
}

/// Answers every request until it goes.
struct Server {
    endpoint: String,
    is_over: Arc<AtomicBool>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away in the middle is no failure of ours.
                drop(reply(stream, &answer));
            }
        });
        Self { endpoint, is_over }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Nothing is said, but it wakes.
        drop(TcpStream::connect(self.endpoint.trim_start_matches("http://")));
    }
}

fn reply(mut stream: TcpStream, answer: &impl Fn(&str) -> Vec<u8>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    stream.write_all(&answer(first.split(' ').nth(1).unwrap_or_default()))
}

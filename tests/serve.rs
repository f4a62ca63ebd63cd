//! The live session as a server: asked by OpenAI's own client, by many at once, and while it trains.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use crate::binary::tunebook;
use crate::fixtures::tests_folder;
use crate::venv::venv;

const KEY: &str = "secret";
const QUESTION: &str = "Describe this creature.";

/// A session that takes lines from a pipe and answers over HTTP.
struct Server {
    folder: TempDir,
    process: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Server {
    /// With these lines before it serves.
    fn start(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = tunebook();
        command.current_dir(&folder).env("HOME", folder.path()).env("XDG_CACHE_HOME", folder.path().join("cache"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { folder, process, output, address: String::new() };
        server.send(&format!("{lines}\nserve port=0 api_key={KEY}"));
        let said = server.until("serving at ");
        server.address = said.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_string();
        server
    }

    fn send(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that contains `text`.
    fn until(&mut self, text: &str) -> String {
        let line = self.output.by_ref().lines().map(Result::unwrap).find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("it ended before it said {text:?}"))
    }

    /// The answer to a request, and its status.
    fn ask(&self, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = body.to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// What a model says about a picture.
    fn describe(&self, model: &str, picture: &Path) -> String {
        let (status, answer) = self.ask(&json!({"model": model, "messages": [question(picture)]}));
        assert_eq!(status, 200, "{answer}");
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_string()
    }

    /// A picture of the demo.
    fn picture(&self, name: &str) -> PathBuf {
        let cache = fs::read_dir(self.folder.path().join("cache/tunebook")).unwrap();
        let folders = cache.map(|entry| entry.unwrap().path().join("creatures/images"));
        folders.map(|folder| folder.join(name)).find(|path| path.is_file()).unwrap()
    }

    /// Has a script of `tests/serve` ask.
    fn run(&self, script: &str, more: &[&str]) {
        let environment = venv("serve-tests", &tests_folder().join("serve/requirements.txt"));
        let output = Command::new(environment.join("bin/python"))
            .arg(tests_folder().join("serve").join(script))
            .arg(format!("http://{}/v1", self.address))
            .args(["--api-key", KEY, "--model", "model", "--model", "default", "--picture"])
            .arg(self.picture("creatures_held_out_0001.png"))
            .args(more)
            .output()
            .unwrap();
        let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{script}:\n{errors}\n{said}");
        println!("{said}");
    }

    /// Ends it as a pipe that ends does, but for the server, which goes on by itself.
    fn end(mut self) -> TempDir {
        self.send("serve off");
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn question(picture: &Path) -> Value {
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(fs::read(picture).unwrap()));
    let parts = json!([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]);
    json!({"role": "user", "content": parts})
}

#[test]
fn the_client_of_openai_finds_all_it_asks_for() {
    let server = Server::start("demo\nlora\ntrain 40");
    // More words than the model has positions.
    server.run("client.py", &["--prompt", QUESTION, "--too-long", "5000"]);
    server.end();
}

#[test]
fn sixty_four_clients_are_served_and_none_is_lost() {
    let server = Server::start("demo\nlora");
    server.run("load.py", &[]);
    server.end();
}

#[test]
fn answers_are_those_of_chat_for_the_base_model_and_for_each_adapter() {
    let mut server = Server::start("demo\nlora first\ntrain 40\nlora second");
    let name = "creatures_held_out_0001.png";
    let picture = server.picture(name);
    let said = |server: &mut Server, line: &str| {
        server.send(&format!("{line}\nchat image=images/{name} {QUESTION}\nchat clear"));
        let answer = server.until("This is ");
        server.until("cleared");
        answer
    };
    let second = said(&mut server, "status");
    let first = said(&mut server, "adapter use first");
    let base = said(&mut server, "adapter off");
    assert_ne!(first, base);
    for (model, answer) in [("first", &first), ("second", &second), ("model", &base)] {
        assert_eq!(server.describe(model, &picture), *answer, "{model}");
    }
    let (status, error) = server.ask(&json!({"model": "third", "messages": [question(&picture)]}));
    assert_eq!((status, &error["error"]["code"]), (404, &json!("model_not_found")), "{error}");
    server.end();
}

#[test]
fn a_training_that_is_asked_over_http_has_the_bits_of_one_that_is_not() {
    let train = "demo\nlora\nset output_dir=saves lora_dropout=0.1 max_steps=60";
    let mut server = Server::start(train);
    let pictures: Vec<_> = (1..=8).map(|n| server.picture(&format!("creatures_held_out_{n:04}.png"))).collect();
    server.send("train &");
    server.until("training");
    let answered = std::thread::scope(|scope| {
        let server = &server;
        let ask = |picture: &PathBuf| {
            let picture = picture.clone();
            scope.spawn(move || ["model", "default"].map(|model| server.describe(model, &picture)))
        };
        let answers: Vec<_> = pictures.iter().map(ask).collect();
        answers.into_iter().map(|answer| answer.join().unwrap()).collect::<Vec<_>>()
    });
    server.send("jobs");
    // Asking so little takes less time than the training.
    server.until("step");
    assert!(answered.iter().flatten().all(|answer| !answer.is_empty()), "{answered:?}");
    server.send("wait");
    server.until("finished");
    let asked = server.end();

    let mut alone = Server::start(train);
    alone.send("train");
    alone.until("finished");
    let alone = alone.end();
    let [asked, alone] =
        [&asked, &alone].map(|folder| fs::read(folder.path().join("saves/adapter_model.safetensors")).unwrap());
    assert!(asked == alone);
}

#[test]
fn a_script_that_ends_with_serve_goes_on_until_it_is_interrupted() {
    let mut server = Server::start("demo");
    drop(server.process.stdin.take());
    let picture = server.picture("creatures_held_out_0001.png");
    assert!(server.describe("model", &picture).contains("creature"));
    let process = rustix::process::Pid::from_child(&server.process);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    assert_eq!(server.process.wait().unwrap().code(), Some(130));
}

#[test]
fn other_machines_need_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script.tune");
    fs::write(&file, "serve host=0.0.0.0").unwrap();
    let output = tunebook().arg("run").arg(&file).env_remove("API_KEY").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("api_key"), "{said}");
}

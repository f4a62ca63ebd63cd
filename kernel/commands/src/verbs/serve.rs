//! `serve`: answers others over HTTP, as OpenAI's server does.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use tunebook_engine::Session;
use tunebook_quote::quote;

use crate::error::Result;
use crate::lang::localized;
use crate::localized;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::CommandContext;
use crate::verb::Complete;
use crate::verb::Takes;
use crate::verb::Verb;
use crate::verb::VerbOption;

/// LLaMA-Factory's.
const PORT: u16 = 8000;
/// The variable that holds the key, as LLaMA-Factory has it.
const API_KEY: &str = "API_KEY";

pub(super) static VERB: Verb = Verb {
    name: "serve",
    aliases: &[],
    usage: "serve [port=8000] [host=127.0.0.1] [api_key=] [urls=true] | off",
    help: localized("answer other programs, as OpenAI's server does", "像 OpenAI 的服务器一样回答其他程序"),
    details: localized(
        "Programs that speak OpenAI's protocol ask this session: `model` is the base model or any of its adapters, \
         messages may have images. Their requests are answered together, also while a training runs, which then has half \
         of the time; the conversation of `chat` is not touched. Only this machine can ask, unless host= names another \
         address, such as 0.0.0.0; then a key is needed, api_key= or the variable API_KEY. There is no encryption: put a \
         proxy with HTTPS in front of it where others can listen. `serve` alone shows the address, `serve off` ends it. A \
         script that ends with `serve` goes on until Ctrl-C.",
        "使用 OpenAI 协议的程序可以向本会话提问：`model` 是基座模型或任意一个适配器，消息可带图片。请求合在一起回答，训练\
         运行时也能回答，这时训练占一半时间；不影响 `chat` 的对话。默认只有本机能访问；host= 指定其他地址（如 0.0.0.0）时\
         必须有密钥：api_key= 或环境变量 API_KEY。通信不加密：别人能监听的地方，请在前面放一个 HTTPS 代理。单独的 `serve` \
         显示地址，`serve off` 结束。以 `serve` 结尾的脚本会一直运行到 Ctrl-C。",
    ),
    examples: &[
        ("serve", localized("at http://127.0.0.1:8000/v1, for this machine", "在 http://127.0.0.1:8000/v1，仅限本机")),
        (
            "serve port=8080 host=0.0.0.0 api_key=secret",
            localized("for the network, with a key", "对网络开放，需要密钥"),
        ),
        ("serve off", localized("ends it", "结束服务")),
    ],
    takes: Takes::Words(0, 1),
    options: &[
        VerbOption {
            name: "port",
            help: localized("Port; 0 takes any that is free.", "端口；0 表示任意一个空闲端口。"),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "host",
            help: localized("Address to listen at: 0.0.0.0 is every one.", "监听的地址：0.0.0.0 表示所有地址。"),
            repeats: false,
            complete: Complete::Words(&["127.0.0.1", "0.0.0.0"]),
        },
        VerbOption {
            name: "api_key",
            help: localized("Key that requests must bring.", "请求必须携带的密钥。"),
            repeats: false,
            complete: Complete::Nothing,
        },
        VerbOption {
            name: "urls",
            help: localized(
                "Whether images may be given as http(s) addresses, which are downloaded: true or false (default).",
                "图片是否可以用 http(s) 地址给出（会被下载）：true 或 false（默认）。",
            ),
            repeats: false,
            complete: Complete::Words(&["true", "false"]),
        },
    ],
    settings: &[],
    complete: |_| Complete::Words(&["off"]),
    run,
};

fn run(_: &mut Session, args: &Args, cx: &CommandContext) -> Result<Output> {
    match args.word(0) {
        Some("off") if args.options.is_empty() => drop(cx.serving.stop()),
        Some(other) => {
            let other = quote(other);
            return Err(VERB.usage_error(localized!("`{other}` is not `off`", "`{other}` 不是 `off`")));
        }
        None if args.options.is_empty() && cx.serving.is_running() => {}
        None => start(args, cx)?,
    }
    Ok(Output::Serving(cx.serving.report()))
}

fn start(args: &Args, cx: &CommandContext) -> Result<()> {
    let text = |name: &str| args.options(name).next();
    let port = match text("port") {
        None => PORT,
        Some(port) => port.parse().map_err(|_| {
            let port = quote(port);
            VERB.usage_error(localized!(
                "`{port}` is no port, which is a number from 0 to 65535",
                "`{port}` 不是端口：端口是 0 到 65535 的整数"
            ))
        })?,
    };
    let host: IpAddr = match text("host") {
        None | Some("localhost") => Ipv4Addr::LOCALHOST.into(),
        Some(host) => host.parse().map_err(|_| {
            let host = quote(host);
            VERB.usage_error(localized!(
                "`{host}` is no IP address such as 127.0.0.1 or 0.0.0.0",
                "`{host}` 不是 127.0.0.1、0.0.0.0 这样的 IP 地址"
            ))
        })?,
    };
    let of_environment = || std::env::var(API_KEY).ok();
    let api_key = text("api_key").map(str::to_string).or_else(of_environment).filter(|key| !key.is_empty());
    let urls = args.switch("urls", &VERB)?.unwrap_or(false);
    Ok(cx.serving.start(host, port, api_key, urls)?)
}

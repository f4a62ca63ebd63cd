//! Reads the JSON of a request for a chat completion, and checks it.
//!
//! Fields that this server does not know are ignored, as other servers of this API do, since clients send many that make no
//! difference. Those that ask for something that it does not do are refused.

mod fields;
mod messages;
mod options;
mod shape;

use serde_json::Value;

use crate::AskedOptions;
use crate::Message;
use crate::error::ApiError;
use crate::error::Result;
use crate::request::fields::Fields;

/// A request as it was read; pictures on other servers are yet to be fetched.
#[derive(Debug)]
pub(crate) struct Request {
    pub model: String,
    pub messages: Vec<Message>,
    pub pictures: Vec<Remote>,
    pub tools: Vec<Value>,
    pub options: AskedOptions,
    pub stops: Vec<String>,
    pub stream: bool,
    pub include_usage: bool,
}

/// A picture on another server. Its part of the message is an empty image so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub url: String,
    pub message: usize,
    pub part: usize,
}

impl Request {
    /// `allow_urls`: whether pictures may be on other servers.
    ///
    /// # Errors
    /// It is no JSON, or does not ask for something that this server does.
    pub(crate) fn read(body: &[u8], allow_urls: bool) -> Result<Self> {
        shape::check(body)?;
        let json = serde_json::from_slice(body);
        let json = json.map_err(|error| {
            ApiError::bad_request(format!("We could not parse the JSON body of your request: {}", shape::said(&error)))
        })?;
        let Value::Object(map) = json else { return Err(ApiError::bad_request("The body must be a JSON object.")) };
        let mut fields = Fields::new(map, String::new());
        options::refuse_unsupported(&mut fields)?;
        let model = fields.string("model")?.ok_or_else(|| fields.missing("model"))?;
        let (messages, pictures) = messages::read(&mut fields, allow_urls)?;
        let tools = options::tools(&mut fields)?;
        let stops = options::stops(&mut fields)?;
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let include_usage = options::include_usage(&mut fields, stream)?;
        let options = options::read(&mut fields)?;
        Ok(Self { model, messages, pictures, tools, options, stops, stream, include_usage })
    }
}

//! Serves answers that no model gives, for trying clients: `echo [PORT [API_KEY]]`. It says where, on standard output, and ends
//! when standard input does.

mod answerer;

use std::io;
use std::io::Write;

use tunebook_serve::Options;

use answerer::Echo;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let options = Options { host: [127, 0, 0, 1].into(), port, api_key: arguments.next(), allow_urls: false };
    let echo = Echo::start(options)?;
    writeln!(io::stdout(), "http://{}/v1", echo.server().address())?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

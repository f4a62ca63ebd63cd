//! The panel in a browser.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;

use tunebook_commands::Host;
use tunebook_commands::localized;
use tunebook_panel::Panel;
use tunebook_panel::Server;
use tunebook_rust_cells::RustCells;

use crate::screen::Screen;

/// The page of a session; its server is started when somebody wants it.
pub(crate) struct Page {
    host: Arc<Host>,
    rust: Arc<RustCells>,
    server: OnceLock<Server>,
}

impl Page {
    pub(crate) fn new(host: Arc<Host>, rust: Arc<RustCells>) -> Self {
        Self { host, rust, server: OnceLock::new() }
    }

    /// Says where it is.
    ///
    /// # Errors
    /// The port cannot be had, or standard output not be written.
    pub(crate) fn show(&self, port: u16, screen: &Screen) -> io::Result<()> {
        let server = match self.server.get() {
            Some(server) => server,
            None => {
                let rust = Arc::clone(&self.rust);
                let panel = Panel::new(Arc::clone(&self.host), Box::new(move |line| rust.carry_out(line)))?;
                let server = Server::start(panel, port)?;
                self.server.get_or_init(|| server)
            }
        };
        let url = server.url();
        screen.line(&localized!(screen.lang(), "panel: {url}", "面板：{url}"))
    }

    /// Whether somebody may be looking at it.
    pub(crate) fn is_served(&self) -> bool {
        self.server.get().is_some()
    }
}

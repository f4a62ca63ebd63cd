//! Panels in cells: widgets as Jupyter's frontends draw them (messaging of ipywidgets 2.1), without Python.
//!
//! A widget is a model that frontends have a copy of. That of a panel is anywidget's `AnyModel`, whose state carries the
//! page as a module of JavaScript; what page and panel say to each other are its custom messages. A frontend that is opened
//! anew asks for the states of all models, and so has its panels again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_panel::Connection;
use tunebook_panel::Panel;
use tunebook_panel::SCRIPT;
use tunebook_panel::STYLES;
use uuid::Uuid;

use crate::iopub::IoPub;
use crate::kernel::Kernel;
use crate::wire::Origin;

const TARGET: &str = "jupyter.widget";
/// By which a frontend asks for the states of all models at once.
const CONTROL: &str = "jupyter.widget.control";
/// Of the messages of widgets.
const VERSION: &str = "2.1.0";
const BASE: &str = "@jupyter-widgets/base";
const BASE_VERSION: &str = "2.0.0";
/// What anywidget's package for frontends calls itself; any version of it draws this.
const ANYWIDGET_VERSION: &str = "*";

/// The widgets of a kernel.
#[derive(Default)]
pub(crate) struct Widgets(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// What they share, from the first one on.
    panel: Option<Arc<Panel>>,
    /// By their comms.
    models: BTreeMap<String, Model>,
}

struct Model {
    state: Value,
    /// To the panel; a layout has none.
    connection: Option<Connection>,
}

/// What a frontend says over a comm.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CommMessage {
    pub comm_id: String,
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    method: String,
    content: Value,
    state: Map<String, Value>,
}

impl Widgets {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a panel for the cell `origin`; what is to be displayed of it.
    ///
    /// # Errors
    /// The system has no thread.
    pub(crate) fn open_panel(&self, kernel: &Kernel, origin: &Origin) -> io::Result<Value> {
        let mut open = self.open();
        let panel = match &open.panel {
            Some(panel) => Arc::clone(panel),
            None => {
                let rust = Arc::clone(&kernel.rust);
                let carry_out = Box::new(move |line: &str| rust.carry_out(line));
                Arc::clone(open.panel.insert(Panel::new(Arc::clone(&kernel.host), carry_out)?))
            }
        };
        let [layout, id] = [0, 1].map(|_| Uuid::new_v4().simple().to_string());
        let layout_state = json!({
            "_model_module": BASE, "_model_module_version": BASE_VERSION, "_model_name": "LayoutModel",
            "_view_module": BASE, "_view_module_version": BASE_VERSION, "_view_name": "LayoutView",
        });
        let state = json!({
            "_model_module": "anywidget", "_model_module_version": ANYWIDGET_VERSION, "_model_name": "AnyModel",
            "_view_module": "anywidget", "_view_module_version": ANYWIDGET_VERSION, "_view_name": "AnyView",
            "_view_count": null, "_dom_classes": [], "layout": format!("IPY_MODEL_{layout}"),
            "tabbable": null, "tooltip": null,
            "_anywidget_id": "tunebook.Panel", "_esm": SCRIPT, "_css": STYLES,
            "snapshot": panel.snapshot(),
        });
        let (iopub, to, account) = (kernel.iopub.clone(), id.clone(), origin.clone());
        let send = move |message: &Value| {
            iopub.comm(&account, &to, json!({"method": "custom", "content": message}));
            true
        };
        let connection = Connection::open(panel, Arc::new(send))?;
        for (id, state, connection) in [(layout, layout_state, None), (id.clone(), state, Some(connection))] {
            let data = json!({"state": state, "buffer_paths": []});
            let content = json!({"comm_id": id, "target_name": TARGET, "data": data});
            kernel.iopub.send_with(origin, "comm_open", content, json!({"version": VERSION}));
            open.models.insert(id, Model { state, connection });
        }
        Ok(json!({"version_major": 2, "version_minor": 0, "model_id": id}))
    }

    /// The open comms.
    pub(crate) fn list(&self) -> Value {
        let comms = self.open().models.keys().map(|id| (id.clone(), json!({"target_name": TARGET}))).collect();
        Value::Object(comms)
    }

    /// Whether a frontend may open a comm of this target.
    pub(crate) fn takes(target: &str) -> bool {
        target == CONTROL
    }

    /// Hears what a frontend says.
    pub(crate) fn hear(&self, iopub: &IoPub, origin: &Origin, message: CommMessage) {
        let mut open = self.open();
        let CommMessage { comm_id, data: Data { method, content, state } } = message;
        match (method.as_str(), open.models.get_mut(&comm_id)) {
            ("request_states", _) => {
                let model = |(id, Model { state, .. }): (&String, &Model)| {
                    let [module, version, name] =
                        ["_model_module", "_model_module_version", "_model_name"].map(|key| state[key].clone());
                    let model = json!({
                        "model_module": module, "model_module_version": version, "model_name": name, "state": state,
                    });
                    (id.clone(), model)
                };
                let states: Map<_, _> = open.models.iter().map(model).collect();
                iopub.comm(origin, &comm_id, json!({"method": "update_states", "states": states, "buffer_paths": []}));
            }
            ("request_state", Some(model)) => {
                let update = json!({"method": "update", "state": model.state, "buffer_paths": []});
                iopub.comm(origin, &comm_id, update);
            }
            ("update", Some(model)) => {
                if let Some(known) = model.state.as_object_mut() {
                    known.extend(state);
                }
            }
            ("custom", Some(Model { connection: Some(connection), .. })) => connection.hear(content),
            _ => {}
        }
    }

    /// A frontend has no use for a model any more.
    pub(crate) fn close(&self, comm_id: &str) {
        self.open().models.remove(comm_id);
    }
}

//! The names of roles.

use tunebook_quote::quote;

use crate::{Role, SkipReason, Tags};

impl Tags {
    /// The role of that name, which turn `turn` has.
    pub(super) fn role(&self, turn: usize, name: &str) -> Result<Role, SkipReason> {
        let named = [
            (&self.user_tag, Role::User),
            (&self.assistant_tag, Role::Assistant),
            (&self.observation_tag, Role::Observation),
            (&self.function_tag, Role::Function),
        ];
        let known = named.iter().find(|(tag, _)| tag.as_deref() == Some(name));
        known.map(|(_, role)| *role).ok_or_else(|| match (name, self.system_tag.as_deref()) {
            (name, Some(tag)) if name == tag => SkipReason::SystemInside { turn },
            ("system", None) => SkipReason::NoSystemTag { turn },
            _ => {
                let known: Vec<_> =
                    named.iter().filter_map(|(tag, _)| tag.as_deref()).chain(self.system_tag.as_deref()).collect();
                SkipReason::UnknownRole { turn, role: quote(name), known: quote(&known.join(", ")) }
            }
        })
    }
}

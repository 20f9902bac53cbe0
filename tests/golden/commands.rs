//! The commands of a case: sent when they were in the recording, and what became of them.

use std::time::Duration;

use acceptance::golden::{Case, differences};
use sandbox::northbound::{Application, Message, Sender, recorded_command, recorded_outcome};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

/// Commands that are still to be sent, or on their way.
pub(crate) struct Commands {
    address: String,
    sender: Option<Sender>,
    waiting: Vec<Message>,
    sent: JoinSet<(usize, Value)>,
}

impl Commands {
    pub(crate) fn new(case: &Case, application: Option<&Application>) -> Result<Self, String> {
        let tenant = &case.setup.tenant;
        let recorded = case
            .commands
            .iter()
            .map(|command| recorded_command(tenant, &command["command"]));
        Ok(Self {
            address: format!("command/{tenant}"),
            sender: application.map(Application::sender),
            waiting: recorded.collect::<Result<_, _>>()?,
            sent: JoinSet::new(),
        })
    }

    /// To be called when a message has arrived: commands follow the first one, in their order.
    pub(crate) fn follow(&mut self) {
        let Some(sender) = &self.sender else {
            return;
        };
        for (place, command) in self.waiting.drain(..).enumerate() {
            let (sender, address) = (sender.clone(), self.address.clone());
            let before = u32::try_from(place).unwrap_or(u32::MAX);
            let pause = AFTER_THE_MESSAGE + BETWEEN_COMMANDS.saturating_mul(before);
            self.sent.spawn(async move {
                sleep(pause).await;
                let outcome = match sender.send(&address, &command, SETTLED_WITHIN).await {
                    Ok(outcome) => {
                        let (outcome, condition, description) = recorded_outcome(outcome.as_ref());
                        json!({"outcome": outcome, "condition": condition, "description": description})
                    }
                    Err(error) => json!({"not sent": error.to_string()}),
                };
                (place, outcome)
            });
        }
    }

    /// Waits for all outcomes and compares them.
    pub(crate) async fn differences(self, case: &Case) -> Vec<String> {
        let mut came = self.sent.join_all().await;
        came.sort_by_key(|(place, _)| *place);
        let came: Vec<Value> = came.into_iter().map(|(_, outcome)| outcome).collect();
        let recorded: Vec<Value> = case
            .commands
            .iter()
            .map(|command| {
                let [outcome, condition, description] =
                    ["outcome", "condition", "description"].map(|member| command[member].clone());
                json!({"outcome": outcome, "condition": condition, "description": description})
            })
            .collect();
        differences(&json!({"commands": recorded}), &json!({"commands": came}))
    }
}

const AFTER_THE_MESSAGE: Duration = Duration::from_millis(150);
const BETWEEN_COMMANDS: Duration = Duration::from_millis(5);
/// After this, a command counts as not settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);

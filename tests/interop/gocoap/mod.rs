//! A device on go-coap, whose block numbers are those of its own size of blocks, whatever the server
//! asks for.

use acceptance::stand::Stand;
use libtest_mimic::Trial;
use sandbox::world::World;
use tokio::process::Command;

use crate::{Outcome, Runner, mbedtls::application, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    for preferred in ["64", "512", "1024"] {
        let name = format!("go_coap_uploads_where_blocks_of_{preferred}_are_preferred");
        let trial = move || uploads_of_go_coap_arrive_whole(preferred);
        trials.push(runner.trial(Tool::GoCoap, &name, trial));
    }
}

/// Symptom: 4.08 for each body of more than one block. Cause: the server asked for smaller blocks, and
/// took the number of the next one as that of a smaller block.
async fn uploads_of_go_coap_arrive_whole(preferred: &str) -> Outcome {
    let settings = [("HONO_COAP_PREFERREDBLOCKSIZE", preferred)];
    let stand = Stand::start(World::default(), &settings)
        .await
        .map_err(|error| error.to_string())?;
    let mut application = application(&stand).await?;
    for length in [1000, 1025, 1100, 2000, 2048] {
        let mut command = Command::new(Tool::GoCoap.program());
        command.args([&stand.coap().to_string(), "/telemetry/DEFAULT_TENANT/4711"]);
        command.arg(length.to_string());
        let said = Program::start(command)?.rest(3 * SOON).await?;
        if said.trim() != "2.04" {
            return Err(format!("{length} bytes: {said}"));
        }
        let message = application.receive(SOON).await.ok_or("nothing arrived")?;
        if message.payload != vec![b'g'; length] {
            let arrived = message.payload.len();
            return Err(format!("{arrived} bytes of {length} arrived"));
        }
    }
    application.detach().await;
    stand.stop().await;
    Ok(())
}

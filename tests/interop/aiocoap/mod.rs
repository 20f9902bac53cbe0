//! A device on aiocoap, over UDP without security.

use acceptance::stand::Stand;
use libtest_mimic::Trial;
use sandbox::world::World;
use tokio::process::Command;

use crate::{Outcome, Runner, mbedtls::application, process::Program, proton::SOON, tool::Tool};

pub(crate) fn add(runner: &Runner, trials: &mut Vec<Trial>) {
    let name = "aiocoap_filters_the_links_of_discovery";
    let trial = aiocoap_filters_the_links_of_discovery;
    trials.push(runner.trial(Tool::Aiocoap, name, trial));
    for (acknowledged, name) in [
        (false, "aiocoap_gets_the_unwanted_response_as_from_hono"),
        (
            true,
            "aiocoap_gets_no_unwanted_response_where_it_is_acknowledged",
        ),
    ] {
        let trial = move || aiocoap_wants_no_response(acknowledged);
        trials.push(runner.trial(Tool::Aiocoap, name, trial));
    }
    let name = "aiocoap_uploads_in_blocks";
    trials.push(runner.trial(Tool::Aiocoap, name, aiocoap_uploads_in_blocks));
}

/// The query of discovery was ignored (RFC 6690 §4.1).
async fn aiocoap_filters_the_links_of_discovery() -> Outcome {
    let stand = stand(&[]).await?;
    let queries = ["rt=core.rd", "href=/t*", "href=/event", "if=x"];
    let server = stand.coap().to_string();
    let words = [&["discover", &server][..], &queries].concat();
    let said = client(&words).await?;
    let wanted = [
        "rt=core.rd 2.05",
        "href=/t* 2.05 </t>,</telemetry>",
        "href=/event 2.05 </event>",
        "if=x 2.05",
    ];
    expect(&said, &wanted)?;
    stand.stop().await;
    Ok(())
}

/// With Hono's wire form a suppressed response is sent as CON, which aiocoap takes; with
/// `noResponseAck` there is an empty acknowledgement only.
async fn aiocoap_wants_no_response(acknowledged: bool) -> Outcome {
    let setting = [("HONO_COAP_NORESPONSEACK", "true")];
    let stand = stand(if acknowledged { &setting } else { &[] }).await?;
    let mut application = application(&stand).await?;
    let said = client(&["no-response", &stand.coap().to_string(), PATH]).await?;
    let unwanted = if acknowledged {
        "no response"
    } else {
        "a response"
    };
    expect(&said, &[unwanted, "2.04"])?;
    for body in ["unwanted", "wanted"] {
        let message = application.receive(SOON).await.ok_or("nothing arrived")?;
        if message.payload != body.as_bytes() {
            return Err(format!("another message arrived: {}", message.sections));
        }
    }
    application.detach().await;
    stand.stop().await;
    Ok(())
}

async fn aiocoap_uploads_in_blocks() -> Outcome {
    let stand = stand(&[]).await?;
    let mut application = application(&stand).await?;
    for length in [1024, 1025, 1900, 2048] {
        let words = [
            "upload",
            &stand.coap().to_string(),
            PATH,
            &length.to_string(),
        ];
        expect(&client(&words).await?, &["2.04"])?;
        let message = application.receive(SOON).await.ok_or("nothing arrived")?;
        if message.payload != vec![b'p'; length] {
            let arrived = message.payload.len();
            return Err(format!("{arrived} bytes of {length} arrived"));
        }
    }
    application.detach().await;
    stand.stop().await;
    Ok(())
}

async fn stand(settings: &[(&str, &str)]) -> Result<Stand, String> {
    let started = Stand::start(World::default(), settings).await;
    started.map_err(|error| error.to_string())
}

async fn client(words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(Tool::Aiocoap.program());
    command.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/interop/aiocoap/client.py"
    ));
    command.args(words);
    Program::start(command)?.rest(4 * SOON).await
}

fn expect(said: &str, wanted: &[&str]) -> Outcome {
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    if lines == wanted {
        Ok(())
    } else {
        Err(format!("{wanted:?} is not what the client says:\n{said}"))
    }
}

const PATH: &str = "telemetry/DEFAULT_TENANT/4711";

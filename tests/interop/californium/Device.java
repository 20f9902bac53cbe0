// A device on Californium and Scandium with a connection id: each line it reads is an event; what came of it, and since when its DTLS session
// lives, is a line it writes. Argument: the port.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;

import org.eclipse.californium.core.CoapClient;
import org.eclipse.californium.core.CoapResponse;
import org.eclipse.californium.core.coap.MediaTypeRegistry;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.elements.DtlsEndpointContext;
import org.eclipse.californium.elements.EndpointContext;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedSinglePskStore;

public class Device {
    public static void main(String[] arguments) throws Exception {
        CoapConfig.register();
        DtlsConfig.register();
        Configuration settings = Configuration.createStandardWithoutFile();
        settings.set(DtlsConfig.DTLS_ROLE, DtlsRole.CLIENT_ONLY);
        settings.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, 4);
        DtlsConnectorConfig.Builder builder = DtlsConnectorConfig.builder(settings);
        builder.setAdvancedPskStore(
            new AdvancedSinglePskStore("sensor1@DEFAULT_TENANT", "hono-secret".getBytes(StandardCharsets.UTF_8)));
        CoapEndpoint endpoint = CoapEndpoint.builder()
            .setConfiguration(settings)
            .setConnector(new DTLSConnector(builder.build()))
            .build();
        CoapClient client = new CoapClient("coaps://127.0.0.1:" + arguments[0] + "/event");
        client.setEndpoint(endpoint);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            CoapResponse response = client.post(line, MediaTypeRegistry.TEXT_PLAIN);
            if (response == null) {
                System.out.println("answer none");
                continue;
            }
            EndpointContext context = response.advanced().getSourceContext();
            System.out.println("answer " + response.getCode()
                + " write-cid " + context.get(DtlsEndpointContext.KEY_WRITE_CONNECTION_ID)
                + " since " + context.get(DtlsEndpointContext.KEY_HANDSHAKE_TIMESTAMP));
        }
        client.shutdown();
    }
}

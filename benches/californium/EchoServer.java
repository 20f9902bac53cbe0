// A CoAP server on Californium that answers 2.04 to every telemetry message of the load generator's devices, and does nothing with it.
// Arguments: port, most connections.

import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import javax.crypto.SecretKey;
import org.eclipse.californium.core.CoapResource;
import org.eclipse.californium.core.CoapServer;
import org.eclipse.californium.core.coap.CoAP.ResponseCode;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.server.resources.CoapExchange;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.ConnectionId;
import org.eclipse.californium.scandium.dtls.HandshakeResultHandler;
import org.eclipse.californium.scandium.dtls.PskPublicInformation;
import org.eclipse.californium.scandium.dtls.PskSecretResult;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedPskStore;
import org.eclipse.californium.scandium.util.SecretUtil;
import org.eclipse.californium.scandium.util.ServerNames;

public class EchoServer {
    public static void main(String[] arguments) {
        CoapConfig.register();
        DtlsConfig.register();
        int connections = Integer.parseInt(arguments[1]);
        Configuration settings = Configuration.createStandardWithoutFile();
        settings.set(CoapConfig.MAX_ACTIVE_PEERS, connections);
        settings.set(DtlsConfig.DTLS_ROLE, DtlsRole.SERVER_ONLY);
        settings.set(DtlsConfig.DTLS_MAX_CONNECTIONS, connections);
        settings.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
        settings.setAsList(DtlsConfig.DTLS_CIPHER_SUITES, CipherSuite.TLS_PSK_WITH_AES_128_CCM_8);
        DtlsConnectorConfig config = DtlsConnectorConfig.builder(settings)
            .setAddress(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])))
            .setAdvancedPskStore(new Keys())
            .build();
        CoapServer server = new CoapServer(settings);
        server.addEndpoint(CoapEndpoint.builder()
            .setConfiguration(settings)
            .setConnector(new DTLSConnector(config))
            .build());
        server.add(new Answering("t"), new Answering("e"));
        server.start();
        System.out.println("ready");
    }

    private static class Answering extends CoapResource {
        Answering(String name) {
            super(name);
        }

        @Override
        public void handlePOST(CoapExchange exchange) {
            exchange.respond(ResponseCode.CHANGED);
        }
    }

    /** The key of "d-00007@LOAD" is "load-key-00007". */
    private static class Keys implements AdvancedPskStore {
        @Override
        public boolean hasEcdhePskSupported() {
            return true;
        }

        @Override
        public PskSecretResult requestPskSecretResult(ConnectionId cid, ServerNames serverName,
                PskPublicInformation identity, String hmacAlgorithm, SecretKey otherSecret, byte[] seed,
                boolean useExtendedMasterSecret) {
            String name = identity.getPublicInfoAsString();
            int end = name.indexOf('@');
            if (!name.startsWith("d-") || end < 0) {
                return new PskSecretResult(cid, identity, null);
            }
            byte[] key = ("load-key-" + name.substring(2, end)).getBytes(StandardCharsets.UTF_8);
            return new PskSecretResult(cid, identity, SecretUtil.create(key, "PSK"));
        }

        @Override
        public PskPublicInformation getIdentity(InetSocketAddress peerAddress, ServerNames virtualHost) {
            return null;
        }

        @Override
        public void setResultHandler(HandshakeResultHandler resultHandler) {
        }
    }
}

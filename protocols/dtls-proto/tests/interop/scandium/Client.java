// A DTLS client on Scandium, steered by lines: what it reads it sends, what it receives it prints behind "< ".
// Arguments: port, code of the suite, length of its connection id ("-" for none), PEM file with key and certificate ("-" for a pre-shared key).
// The line "RESUME" makes the next line go out on a resumed session.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Collections;

import org.eclipse.californium.elements.AddressEndpointContext;
import org.eclipse.californium.elements.DtlsEndpointContext;
import org.eclipse.californium.elements.RawData;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.elements.util.SslContextUtil;
import org.eclipse.californium.scandium.DTLSConnector;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.californium.scandium.config.DtlsConfig.DtlsRole;
import org.eclipse.californium.scandium.config.DtlsConnectorConfig;
import org.eclipse.californium.scandium.dtls.CertificateType;
import org.eclipse.californium.scandium.dtls.cipher.CipherSuite;
import org.eclipse.californium.scandium.dtls.pskstore.AdvancedSinglePskStore;
import org.eclipse.californium.scandium.dtls.x509.SingleCertificateProvider;
import org.eclipse.californium.scandium.dtls.x509.StaticNewAdvancedCertificateVerifier;

public class Client {
    public static void main(String[] arguments) throws Exception {
        InetSocketAddress server = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
        CipherSuite suite = CipherSuite.getTypeByCode(Integer.parseInt(arguments[1]));
        Configuration settings = new Configuration();
        settings.set(DtlsConfig.DTLS_ROLE, DtlsRole.CLIENT_ONLY);
        settings.set(DtlsConfig.DTLS_RECOMMENDED_CIPHER_SUITES_ONLY, false);
        settings.set(DtlsConfig.DTLS_CIPHER_SUITES, Collections.singletonList(suite));
        settings.set(DtlsConfig.DTLS_VERIFY_SERVER_CERTIFICATES_SUBJECT, false);
        if (!arguments[2].equals("-")) {
            settings.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, Integer.parseInt(arguments[2]));
        }
        DtlsConnectorConfig.Builder builder = DtlsConnectorConfig.builder(settings);
        if (arguments[3].equals("-")) {
            builder.setAdvancedPskStore(
                new AdvancedSinglePskStore("sensor1@DEFAULT_TENANT", "secret1".getBytes(StandardCharsets.UTF_8)));
        } else {
            SslContextUtil.Credentials own = SslContextUtil.loadCredentials(arguments[3], null, null, null);
            builder.setCertificateIdentityProvider(
                new SingleCertificateProvider(own.getPrivateKey(), own.getCertificateChain(), CertificateType.X_509));
            builder.setAdvancedCertificateVerifier(
                StaticNewAdvancedCertificateVerifier.builder().setTrustAllCertificates().build());
        }
        DTLSConnector connector = new DTLSConnector(builder.build());
        connector.setRawDataReceiver(raw -> {
            System.out.println("cipher " + raw.getEndpointContext().get(DtlsEndpointContext.KEY_CIPHER)
                + " session " + raw.getEndpointContext().get(DtlsEndpointContext.KEY_SESSION_ID)
                + " write-cid " + raw.getEndpointContext().get(DtlsEndpointContext.KEY_WRITE_CONNECTION_ID));
            System.out.println("< " + new String(raw.getBytes(), StandardCharsets.UTF_8));
        });
        connector.start();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (line.equals("RESUME")) {
                connector.forceResumeAllSessions();
                System.out.println("will resume");
                continue;
            }
            byte[] data = line.getBytes(StandardCharsets.UTF_8);
            connector.send(RawData.outbound(data, new AddressEndpointContext(server), null, false));
        }
        connector.destroy();
    }
}
